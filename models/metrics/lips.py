"""Lips: vertex errors, closures, jitter. Vertices are always without head rotation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from utils.speech import BILABIALS, SILENCE, Phone


def largest_distance(predicted: Tensor, truth: Tensor) -> Tensor:
    """Vertices (..., T, V, 3) metres against (T, V, 3) -> the largest L2 distance of every frame (..., T), metres.

    LVE is its mean over frames; `lve_sq` (CodeTalker, and torchmetrics' LipVertexError) the mean of its square;
    `lve_rms` (ARTalk) the root of that.
    """
    return (predicted - truth).square().sum(-1).amax(-1).sqrt()


def acceleration(vertices: Tensor) -> Tensor:
    """Vertices (..., T, V, 3) -> |x[t+1] - 2 x[t] + x[t-1]|, mean over V: (..., T - 2)."""
    return torch.linalg.vector_norm(vertices.diff(n=2, dim=-3), dim=-1).mean(-1)


@dataclass(frozen=True)
class ClosureRule:
    """The rule for closed lips."""

    closed_mm: float = 1.0
    """Largest opening that counts as closed, mm."""
    tolerance: int = 1
    """Frames before and after the phone in which the closure may lie."""


@dataclass(frozen=True)
class Closures:
    """Closures of one clip."""

    found: int
    expected: int
    by_chance: float
    """Expected number that would be found at random times of speech."""


def closures(opening_mm: np.ndarray, phones: Sequence[Phone], rule: ClosureRule) -> Closures:
    """Count the p, b and m at which the lips close; opening (T,) mm. Phones beyond its end do not count.

    `by_chance` adds, for every such phone, the share of windows of its length (with the tolerance) that hold a closure,
    among the windows centred on a frame of speech. Pauses, in which the mouth rests closed, are left out.
    """
    shut, n = opening_mm <= rule.closed_mm, len(opening_mm)
    spoken = np.zeros(n, bool)
    for phone in phones:
        if phone.name != SILENCE:
            spoken[max(phone.frames().start, 0) : max(phone.frames().stop, 0)] = True
    found, expected, chance, shares = 0, 0, 0.0, {}
    for phone in phones:
        frames = phone.frames()
        start, stop = max(frames.start - rule.tolerance, 0), min(frames.stop + rule.tolerance, n)
        if phone.name not in BILABIALS or frames.start >= n or stop <= start:
            continue
        width = stop - start
        if width not in shares:
            shares[width] = _share_with_closure(shut, spoken, width)
        found, expected, chance = found + bool(shut[start:stop].any()), expected + 1, chance + shares[width]
    return Closures(found, expected, chance)


def _share_with_closure(shut: np.ndarray, spoken: np.ndarray, width: int) -> float:
    """Share of windows of `width` frames, centred on spoken frames, with at least one closed frame."""
    counts = np.concatenate([[0], np.cumsum(shut)])
    centres = np.flatnonzero(spoken)
    starts = np.clip(centres - width // 2, 0, max(len(shut) - width, 0))
    if not len(starts):
        return 0.0
    return float((counts[np.minimum(starts + width, len(shut))] > counts[starts]).mean())
