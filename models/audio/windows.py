"""How an audio encoder that looks at short windows only is given a stretch of a longer recording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """What streaming needs to know of such an encoder."""

    frames: int  # motion frames of a window, encoded on their own
    surroundings: int  # samples on either side of a stretch that its features depend on
    level: float  # RMS that the speech of the whole recording is scaled to
    encode: Callable[[Tensor, int], Tensor]
    """(B, surroundings + stretch + surroundings) samples, n windows -> (B, n * frames, hidden_size)."""
