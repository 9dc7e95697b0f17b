"""Coefficients -> vertices: for a few frames at once, or for a motion of any length in pieces of little memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from models.heads.flame import Flame
from utils.heads.tongue import tongue_weights
from utils.motion_file import Motion

FRAMES = 100  # per piece
_BUDGET = {"cpu": 96 << 20, "cuda": 2 << 30}  # bytes of vertices per piece; temporaries take several times as much


class Coefficients(Protocol):
    """Raw coefficients: a `Motion`, or several motions of one head in arrays or tensors with a leading axis."""

    @property
    def exp(self) -> np.ndarray | Tensor:
        """(..., T, 50)."""
        ...

    @property
    def pose(self) -> np.ndarray | Tensor:
        """(..., T, 6)."""
        ...


@torch.no_grad()
def decode(flame: Flame, motion: Coefficients, shape: np.ndarray | Tensor, global_rotation: bool = True) -> Tensor:
    """Vertices (..., T, V, 3) in metres, on the head's device; shape (100,), or (T, 100) for one motion.

    A dressed head's tongue moves if a `Motion` drives it.
    """
    exp, pose, shape = (torch.as_tensor(x, device=flame.template.device) for x in (motion.exp, motion.pose, shape))
    size = exp.shape[:-1]
    shapes = shape.expand(size.numel(), -1)
    tongue = _tongue(flame, motion) if isinstance(motion, Motion) else None
    driven = {} if tongue is None else {"tongue": tongue}
    found = flame(shapes, exp.flatten(0, -2), pose.flatten(0, -2), global_rotation=global_rotation, **driven)
    return found.unflatten(0, size)


def _tongue(flame: Flame, motion: Motion) -> Tensor | None:
    """(T, 2) weights of the tongue's blend shapes; None if the head has none, or the motion leaves the tongue alone."""
    if motion.tongue is None or not motion.tongue.any():
        return None
    names = flame.head.exp_names
    if flame.head.finish is None or names is None:
        return None
    weights = tongue_weights(motion.tongue, motion.pose[:, 3], motion.exp[:, names.index("mouthClose")])
    return torch.from_numpy(weights).to(flame.template.device)


def vertex_pieces(
    flame: Flame,
    motion: Coefficients,
    shape: np.ndarray | Tensor,
    global_rotation: bool = True,
    frames: int = FRAMES,
    before: int = 0,
) -> Iterator[Tensor]:
    """`decode` for `frames` frames at a time: pieces (..., t, V, 3).

    Every piece but the first begins with the last `before` frames of the piece before it, for differences over time.
    """
    for start in range(0, motion.exp.shape[-2], frames):
        piece = slice(max(start - before, 0), start + frames)
        if isinstance(motion, Motion):
            part: Coefficients = motion.cut(piece)
        else:
            part = _Part(motion.exp[..., piece, :], motion.pose[..., piece, :])
        yield decode(flame, part, shape, global_rotation)


def motion_vertices(flame: Flame, motion: Motion) -> Iterator[np.ndarray]:
    """Vertices (t, V, 3) in metres of a motion on its own head shape, or on the average one, piece by piece."""
    for piece in vertex_pieces(flame, motion, motion.shape_or_average):
        yield piece.cpu().numpy()


def frames_per_piece(flame: Flame, n_motions: int) -> int:
    """The number of frames of `n_motions` parallel motions that fit the memory of one piece on the head's device."""
    budget = _BUDGET.get(flame.template.device.type, _BUDGET["cpu"])
    return max(8, budget // (12 * flame.n_vertices * n_motions))


class _Part:
    def __init__(self, exp: np.ndarray | Tensor, pose: np.ndarray | Tensor) -> None:
        self.exp, self.pose = exp, pose
