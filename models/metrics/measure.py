"""Coefficients -> the tracks that metrics need, from vertices that are decoded piece by piece."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import reduce
from itertools import chain, repeat

import numpy as np
import torch
from torch import Tensor

from models.heads.decode import decode, frames_per_piece, vertex_pieces
from models.heads.flame import Flame
from models.metrics.lips import acceleration, largest_distance
from models.metrics.regions import Regions
from models.metrics.upper_face import dynamics

_BEFORE = 2  # frames that accelerations reach back


@dataclass(frozen=True)
class Sampled:
    """S motions of one clip as raw coefficients, on the device of the head."""

    exp: Tensor  # (S, T, 50)
    pose: Tensor  # (S, T, 6)

    @property
    def n_frames(self) -> int:
        return self.exp.shape[1]

    def cut(self, n_frames: int) -> Sampled:
        """The first `n_frames` frames."""
        return Sampled(self.exp[:, :n_frames], self.pose[:, :n_frames])


@dataclass(frozen=True)
class Tracks:
    """Measurements of S motions of one clip; arrays on the CPU."""

    opening_mm: np.ndarray  # (S, T)
    lid_aperture: np.ndarray | None  # (S, T) metres
    jitter: np.ndarray  # (S,) mean acceleration of lip vertices, metres per frame^2
    dynamics: np.ndarray  # (S,) upper face, m^2
    lip_distance: np.ndarray | None  # (S, T) metres, to the truth
    mean_distance: np.ndarray | None  # (S,) metres, to the truth, all vertices
    diversity: float | None  # metres, between samples, all vertices; None for one sample


class HeadMeasure:
    """A head with its measured regions."""

    def __init__(self, flame: Flame, regions: Regions) -> None:
        """`flame` must be on the device that computes the measurements."""
        self.flame, self.regions = flame, regions
        self.device: torch.device = flame.template.device
        lids = np.zeros((0, 2), np.int64) if regions.lids is None else regions.lids
        parts = [regions.lips, regions.upper_face, [regions.upper_lip, regions.lower_lip], lids.ravel()]
        self.kept = np.unique(np.concatenate([np.asarray(part, np.int64) for part in parts]))
        self.part = restricted(flame, torch.from_numpy(self.kept).to(self.device))

    def __call__(self, motion: Sampled, shape: Tensor, truth: Sampled | None = None, whole: bool = True) -> Tracks:
        """Measure S motions of one head.

        Args:
            shape: (100,) raw.
            truth: one motion of at least as many frames to compare with, or None.
            whole: also compute the measures over all vertices, which takes several times as long.
        """
        flame = self.flame if whole else self.part
        frames = frames_per_piece(flame, len(motion.exp) + 1)
        sums = _Sums(self, flame, shape, motion.n_frames)
        pieces = lambda m: vertex_pieces(flame, m, shape, False, frames, _BEFORE)  # noqa: E731
        true_pieces = repeat(None) if truth is None else pieces(truth.cut(motion.n_frames))
        for moved, true, before in zip(pieces(motion), true_pieces, chain([0], repeat(_BEFORE))):
            sums.add(moved, None if true is None else true[0], before)
        return sums.tracks()

    def ids(self, flame: Flame, which: np.ndarray) -> Tensor:
        """Vertex numbers of the whole head -> those in `flame`, which is the whole head or `self.part`."""
        ids = which if flame is self.flame else np.searchsorted(self.kept, which)
        return torch.from_numpy(np.asarray(ids, np.int64)).to(self.device)


class _Sums:
    """Tracks and running sums of one clip."""

    def __init__(self, head: HeadMeasure, flame: Flame, shape: Tensor, n_frames: int) -> None:
        regions, self.n_frames, self.whole = head.regions, n_frames, flame is head.flame
        self.lips, self.upper_face = head.ids(flame, regions.lips), head.ids(flame, regions.upper_face)
        self.opening = head.ids(flame, np.array([regions.upper_lip, regions.lower_lip]))
        self.lids = None if regions.lids is None else head.ids(flame, regions.lids)
        neutral = Sampled(shape.new_zeros(1, 1, flame.n_exp), shape.new_zeros(1, 1, 6))
        self.neutral = decode(flame, neutral, shape, global_rotation=False)[0, 0, self.upper_face]
        self.lists: dict[str, list[Tensor]] = {"opening": [], "lids": [], "lip": [], "acceleration": []}
        self.square = self.fourth = self.distance = self.neutral.new_zeros((), dtype=torch.float64)
        self.spread: Tensor | None = None  # for several samples only

    def add(self, moved: Tensor, true: Tensor | None, n_before: int) -> None:
        """Add moved (S, t, V, 3) and true (t, V, 3) or None, whose first `n_before` frames repeat those before."""
        lips = moved[:, :, self.lips]
        self.lists["acceleration"].append(acceleration(lips))
        new, count = moved[:, n_before:], moved.shape[1] - n_before
        self.lists["opening"].append(new[:, :, self.opening[0], 1] - new[:, :, self.opening[1], 1])
        if self.lids is not None:
            gap = new[:, :, self.lids[:, 0]] - new[:, :, self.lids[:, 1]]
            self.lists["lids"].append(torch.linalg.vector_norm(gap, dim=-1).mean(-1))
        square = (new[:, :, self.upper_face] - self.neutral).square().sum(-1).double()
        self.square, self.fourth = self.square + square.sum(1), self.fourth + square.square().sum(1)
        if true is not None:
            self.lists["lip"].append(largest_distance(lips[:, n_before:], true[n_before:, self.lips]))
            if self.whole:
                distance = torch.linalg.vector_norm(new - true[n_before:], dim=-1).mean((1, 2)).double()  # (S,)
                self.distance = self.distance + distance * count
        if self.whole and len(moved) > 1:
            spread = mean_spread(new) * count
            self.spread = spread if self.spread is None else self.spread + spread

    def tracks(self) -> Tracks:
        joined = {k: torch.cat(v, dim=1).cpu().numpy() for k, v in self.lists.items() if v}
        compared = "lip" in joined
        acceleration = joined["acceleration"]
        return Tracks(
            opening_mm=1000 * joined["opening"],
            lid_aperture=joined.get("lids"),
            jitter=acceleration.mean(1) if acceleration.shape[1] else np.full(len(acceleration), np.nan),
            dynamics=dynamics(self.square, self.fourth, self.n_frames).cpu().numpy(),
            lip_distance=joined.get("lip"),
            mean_distance=(self.distance / self.n_frames).cpu().numpy() if compared and self.whole else None,
            diversity=None if self.spread is None else float(self.spread / self.n_frames),
        )


def mean_spread(moved: Tensor) -> Tensor:
    """Mean L2 distance over all pairs of samples, frames and vertices: (S, t, V, 3), S > 1 -> scalar, float64."""
    sums = (
        torch.linalg.vector_norm(moved[k:] - moved[:-k], dim=-1).mean((1, 2)).double().sum()
        for k in range(1, len(moved))
    )
    return reduce(torch.add, sums) / (len(moved) * (len(moved) - 1) / 2)


def restricted(flame: Flame, ids: Tensor) -> Flame:
    """The head with the vertices `ids` (n,) alone, in increasing order. Its joints are those of the whole head."""
    part = copy.copy(flame)
    part._buffers = dict(flame._buffers)
    pick = lambda flat: flat.unflatten(-1, (-1, 3))[..., ids, :].flatten(-2).contiguous()  # noqa: E731
    part._buffers["template"], part._buffers["directions"] = pick(flame.template), pick(flame.directions)
    part._buffers["weights"] = flame.weights[:, ids].contiguous()
    part.n_vertices = len(ids)
    return part
