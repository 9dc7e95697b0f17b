"""How a stretch of a long recording is given to an audio encoder that works on short windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """What streaming needs to know about such an encoder."""

    frames: int  # motion frames per window; windows are encoded independently
    surroundings: int  # samples on either side of a stretch that affect its features
    level: float  # RMS to which the speech of the whole recording is scaled
    encode: Callable[[Tensor, int], Tensor]
    """(B, surroundings + stretch + surroundings) samples, n windows -> (B, n * frames, hidden_size)."""
