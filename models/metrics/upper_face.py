"""Upper face: dynamics deviation (FDD) and blinks."""

from __future__ import annotations

import numpy as np
from torch import Tensor

BLINK, RELEASE = 0.5, 0.25  # a blink begins above the first and ends below the second (1: lids closed)


def dynamics(square_sum: Tensor, fourth_sum: Tensor, n_frames: int) -> Tensor:
    """Mean over vertices of the standard deviation over time of the squared displacement from neutral, m^2.

    Args:
        square_sum: (..., V) sum over frames of |v - neutral|^2.
        fourth_sum: (..., V) sum over frames of |v - neutral|^4.
        n_frames: how many frames were summed.

    Returns:
        (...,). FDD is the value of the truth minus that of the prediction (CodeTalker; population standard deviation).
    """
    mean = square_sum / n_frames
    return (fourth_sum / n_frames - mean.square()).clamp(min=0).sqrt().mean(-1)


def count_blinks(closed: np.ndarray) -> int:
    """Number of blinks in a track (T,) of lid closing, 0 (open) to 1 (closed).

    A blink begins where the track rises above 0.5 and ends where it falls below 0.25. A blink that has begun before the
    first frame does not count.
    """
    count, shut = 0, bool(len(closed)) and bool(closed[0] > BLINK)
    for value in closed:
        if not shut and value > BLINK:
            count, shut = count + 1, True
        elif shut and value < RELEASE:
            shut = False
    return count


def runs(flags: np.ndarray) -> list[slice]:
    """The stretches of frames in which flags (T,) are true."""
    edges = np.flatnonzero(np.diff(np.r_[False, flags, False].astype(int)))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2])]


def lids_shut(aperture: np.ndarray) -> np.ndarray:
    """Lid distances (T,) in any unit -> lid closing, 0 to 1, relative to the clip's 90th percentile."""
    wide = np.percentile(aperture, 90)
    return np.clip(1 - aperture / wide, 0, 1) if wide > 0 else np.zeros_like(aperture)
