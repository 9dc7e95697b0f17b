"""Words of messages."""

from __future__ import annotations


def counted(n: int, one: str, many: str = "") -> str:
    """1 clip, 2 clips; many: a plural that has more than an s behind it, as in `counted(n, "clip is", "clips are")`."""
    return f"{n} {one}" if n == 1 else f"{n} {many or one + 's'}"
