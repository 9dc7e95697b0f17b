"""A look at a pickle before it is loaded: Python's unpickler takes memory for whatever sizes a file declares.

Ten bytes can make it reserve gigabytes (a memo index, or a byte string's length); both are checked here against what
the file really has. CPython does so itself only in recent versions. Frames are checked because the unpickler, unlike
pickletools, drops what is left of a frame when an argument reaches over its end, and so reads other opcodes than these.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from typing import Any

from utils.errors import UserError

_MEMO = {"PUT", "BINPUT", "LONG_BINPUT"}
_FRAME_HEAD = 9  # bytes of the opcode and its length
MAX_OPCODES = 2_000_000


def scan_pickle(data: bytes, source: str) -> None:
    """Check the declared sizes of a pickle of any protocol.

    Raises:
        UserError: damaged, a size beyond the file's end, a memo index no object can have, frames that opcodes do not
            keep to, or too many steps.
    """
    end, frame = len(data), 0
    steps: Iterator[tuple[pickletools.OpcodeInfo, Any, Any]] = pickletools.genops(data)
    try:
        for count, (opcode, argument, position) in enumerate(steps):
            if count > MAX_OPCODES or (opcode.name in _MEMO and not 0 <= int(argument) <= end):
                raise UserError(f"{source}: not accepted as data (oversized pickle); get the file again")
            if position >= frame > 0:
                frame = _left(frame, position)
            if opcode.name == "FRAME":
                if frame:
                    raise ValueError("a frame in a frame")
                frame = position + _FRAME_HEAD + argument
        if not frame <= position + 1:
            raise ValueError("a frame without end")
    except UserError:
        raise
    except Exception as error:  # genops raises many kinds for damage; it never calls anything that the pickle names
        raise UserError(f"{source}: not accepted as data (damaged pickle: {error}); get the file again") from error


def _left(frame: int, position: int) -> int:
    """0, for no frame, once one ends where an opcode begins."""
    if position != frame:
        raise ValueError("an opcode reaches over its frame's end")
    return 0
