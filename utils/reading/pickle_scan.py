"""A check of pickles before they are loaded: Python's unpickler takes memory for whatever sizes a file declares.

Ten bytes can make it reserve gigabytes (a memo index, or a byte string's length); both are checked here against the
file's real size, which CPython does itself only in recent versions. Frames are checked because the unpickler, unlike
pickletools, drops the rest of a frame when an argument extends beyond its end, and then reads different opcodes.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Iterator
from typing import Any

from utils.errors import UserError

_MEMO = {"PUT", "BINPUT", "LONG_BINPUT"}
_FRAME_HEAD = 9  # bytes of the opcode and its length
MAX_OPCODES = 2_000_000


def scan_pickle(data: bytes, source: str, start: int = 0) -> int:
    """Check the declared sizes of a pickle of any protocol that begins at `start` -> where it ends.

    Raises:
        UserError: damaged, a size beyond the file's end, an impossible memo index, opcodes that extend beyond a
            frame, or too many opcodes.
    """
    end, frame, position = len(data), 0, 0
    file = io.BytesIO(data)
    file.seek(start)
    steps: Iterator[tuple[pickletools.OpcodeInfo, Any, Any]] = pickletools.genops(file)
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
    except Exception as error:  # damage raises many kinds of errors; genops never calls anything that a pickle names
        raise UserError(f"{source}: not accepted as data (damaged pickle: {error}); get the file again") from error
    return position + 1


def _left(frame: int, position: int) -> int:
    """0, which stands for no frame, if the frame ends where an opcode begins."""
    if position != frame:
        raise ValueError("an opcode extends beyond its frame")
    return 0
