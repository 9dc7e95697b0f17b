"""A look at a pickle before it is loaded: Python's unpickler takes memory for whatever sizes a file declares.

Ten bytes can make it reserve gigabytes (a memo index, or a byte string's length); both are checked here against what
the file really has. CPython does so itself only in recent versions.
"""

from __future__ import annotations

import pickletools

from utils.errors import UserError

_MEMO = {"PUT", "BINPUT", "LONG_BINPUT"}
MAX_OPCODES = 2_000_000


def scan_pickle(data: bytes, source: str) -> None:
    """Check the declared sizes of a pickle of any protocol.

    Raises:
        UserError: damaged, a size beyond the file's end, a memo index no object can have, or too many steps.
    """
    count, end = 0, len(data)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            count += 1
            if count > MAX_OPCODES or (opcode.name in _MEMO and not 0 <= int(argument) <= end):
                raise UserError(f"{source}: not accepted as data (oversized pickle); get the file again")
    except UserError:
        raise
    except Exception as error:  # genops raises many kinds for damage; it never calls anything that the pickle names
        raise UserError(f"{source}: not accepted as data (damaged pickle: {error}); get the file again") from error
