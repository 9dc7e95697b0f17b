"""Opening, width and protrusion of the average head's mouth, in millimetres of the landmarks' ruler."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from models.tracking.embedding import CORNERS, EYES_APART, MIDDLE, LandmarkHead, column
from scripts_for_dataset.synthetic import arkit
from scripts_for_dataset.synthetic.visemes import CHANNELS

CORNERS_OF_MOUTH, LIPS_MIDDLE = (61, 291), (0, 17)
_DEGREE = 3  # of the polynomial in the jaw's angle


class Levers:
    """Opening, width and protrusion of the average head's mouth: linear in the channels, cubic in the jaw's angle."""

    def __init__(self, head: LandmarkHead) -> None:
        jaws = torch.linspace(0, 0.3, 7, dtype=torch.float64)
        bend = torch.stack([jaws**k for k in range(_DEGREE + 1)], 1)
        probes = torch.zeros(len(CHANNELS) + 1, head.head.expdirs.shape[-1], dtype=torch.float64)
        for row, name in enumerate((*CHANNELS[1:], "mouthClose"), 1):
            one = np.zeros((1, probes.shape[1]), np.float32)
            arkit.add(one, name, 1.0)
            probes[row] = torch.from_numpy(one[0])
        seen = torch.stack([lip_tracks(head, probes, jaw.expand(len(probes))) for jaw in jaws])  # (J, 1 + M, 3)
        seen[:, 1:] -= seen[:, :1].clone()
        self.table = torch.linalg.lstsq(bend, seen.flatten(1)).solution.unflatten(1, seen.shape[1:]).float()

    def __call__(self, channels: Tensor, jaw: Tensor, close: Tensor) -> Tensor:
        """channels (..., len(CHANNELS)) of which the first, jawOpen, is not read; jaw (...), radians; mouthClose (...)
        -> (..., 3) mm."""
        ones = torch.ones_like(close)
        linear = torch.cat([ones[..., None], channels[..., 1:], close[..., None]], -1)
        powers = torch.stack([jaw**k for k in range(_DEGREE + 1)], -1)
        return torch.einsum("...j,...m,jmk->...k", powers, linear, self.table)


def lip_tracks(head: LandmarkHead, exp: Tensor, jaw: Tensor) -> Tensor:
    """(T, 3) opening, width and protrusion of the average head's mouth, mm of the ruler; exp (T, E), jaw (T,)."""
    none = exp.new_zeros(1, head.n_shape)[0]
    points = head(none, exp.new_zeros(1, 3), exp, jaw)
    rest = head(none, exp.new_zeros(1, 3), 0 * exp[:1], 0 * jaw[:1])[0]

    def at(landmark: int, axis: int) -> Tensor:
        return points[:, column(landmark), axis]

    apart = (rest[column(CORNERS[0])] - rest[column(CORNERS[1])]).norm()
    opening = at(MIDDLE[0], 1) - at(MIDDLE[1], 1)
    width = (at(CORNERS_OF_MOUTH[0], 0) - at(CORNERS_OF_MOUTH[1], 0)).abs()
    forward = (at(LIPS_MIDDLE[0], 2) + at(LIPS_MIDDLE[1], 2)) / 2
    return torch.stack([opening, width, forward], -1) * EYES_APART / apart
