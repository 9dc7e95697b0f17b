"""The head at its landmarks: coefficients -> points and their derivatives, linear except for the jaw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.heads.lbs import rotation_matrix
from utils.heads.head_file import HeadFile
from utils.heads.joints import JAW, ROOT_JOINT
from utils.heads.landmark_file import read_landmark_places
from utils.runs.run_dir import ROOT as PROJECT
from utils.trackers.sightings import BROWS, EYES, IRISES, LIPS, NOSE, OVAL

EMBEDDING = PROJECT / "models" / "data" / "open_head_landmarks.npz"
INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 95, 88, 178, 87, 14, 317, 402, 318, 324)
LANDMARKS = tuple(sorted({*OVAL, *EYES, *IRISES, *BROWS, *LIPS, *NOSE}))  # the P landmarks that are fitted
RIDGE = (168, 6, 197, 195, 5)  # of the nose; the landmarks slide along it as the head nods
MIDDLE = (13, 14)  # inner lips at mid mouth: the opening
WEIGHTS = ((OVAL, 0.15), (BROWS, 2.0), (NOSE, 1.0), (RIDGE, 0.2), (EYES, 2.0), (IRISES, 1.0), (LIPS, 2.0),
           (INNER_LIPS, 3.0), (MIDDLE, 12.0))  # fmt: skip
CORNERS = (33, 263)  # outer corners of the eyes
EYES_APART = 90.0  # distance of these corners in ruler mm


def landmark_weights() -> Tensor:
    """(P,) weight of each landmark's squared error in mm^2."""
    weights = {landmark: weight for group, weight in WEIGHTS for landmark in group}
    return torch.tensor([weights[landmark] for landmark in LANDMARKS], dtype=torch.float64)


def column(landmark: int) -> int:
    """Index of a landmark among the P fitted ones."""
    return LANDMARKS.index(landmark)


@dataclass(frozen=True)
class Points:
    """P landmark points of N heads in the head's frame, metres, and their derivatives."""

    xyz: Tensor  # (N, P, 3)
    by_jaw: Tensor  # (N, P, 3)
    turn: Tensor  # (N, 3, 3), jaw rotation minus identity


class LandmarkHead:
    """A head model reduced to its landmarks, double precision. The origin is the template's root joint.

    `trust` (P,) is each landmark's weight in a fit, 0 for those without a place on this head.
    """

    def __init__(self, head: HeadFile, embedding: Path = EMBEDDING, device: torch.device | str = "cpu") -> None:
        """Raises:
        UserError: the embedding is missing, or belongs to a head with other vertices.
        """
        places = read_landmark_places(embedding, head)
        corners, weights = places.vertices[list(LANDMARKS)], places.weights[list(LANDMARKS)]
        self.trust = landmark_weights() * torch.from_numpy(places.known[list(LANDMARKS)])
        if head.exp_names is None:  # no expression turns FLAME's eyes
            self.trust[[column(iris) for iris in IRISES]] = 0
        skin = head.weights[corners][..., JAW]
        regressor = head.j_regressor.astype(np.float64)

        def at(array: np.ndarray, factor: np.ndarray) -> Tensor:
            return torch.from_numpy(np.einsum("pc,pc...->p...", weights * factor, array[corners].astype(np.float64)))

        self.head, self.device, self.n_shape = head, torch.device(device), head.shapedirs.shape[-1]
        root = torch.from_numpy(regressor[ROOT_JOINT] @ head.v_template)
        whole = np.ones_like(skin)
        self._plain = [at(a, whole) for a in (head.v_template, head.shapedirs, head.expdirs)]
        self._hinged = [at(a, skin) for a in (head.v_template, head.shapedirs, head.expdirs)]
        self._hinge = [torch.from_numpy(np.tensordot(regressor[JAW], a.astype(np.float64), 1))
                       for a in (head.v_template, head.shapedirs, head.expdirs)]  # fmt: skip
        self.skin = torch.from_numpy((weights * skin).sum(1))
        self.correctives, self._hinged_correctives = (at(head.posedirs[..., 9:18], share) for share in (whole, skin))
        self._plain[0] = self._plain[0] - root
        self._hinged[0] = self._hinged[0] - self.skin[:, None] * root
        self._hinge[0] = self._hinge[0] - root
        for name, value in vars(self).copy().items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(self.device))
            elif isinstance(value, list):
                setattr(self, name, [tensor.to(self.device) for tensor in value])

    def __call__(self, shape: Tensor, offset: Tensor, exp: Tensor, jaw: Tensor) -> Tensor:
        """shape (S,), offset (P, 3) metres added to the face at rest, exp (N, E), jaw (N,) radians -> (N, P, 3)."""
        turn, _ = _about_x(jaw)
        return self._rest(shape, offset, exp) + self._arm(shape, offset, exp, turn) @ turn.transpose(1, 2) + (
            turn.flatten(1) @ self.correctives.flatten(0, 1).T).unflatten(1, (-1, 3))  # fmt: skip

    def with_slopes(self, shape: Tensor, offset: Tensor, exp: Tensor, jaw: Tensor) -> Points:
        """The points of `__call__` with their derivatives."""
        turn, slope = _about_x(jaw)
        arm = self._arm(shape, offset, exp, turn)
        bend = (turn.flatten(1) @ self.correctives.flatten(0, 1).T).unflatten(1, (-1, 3))
        bend_slope = (slope.flatten(1) @ self.correctives.flatten(0, 1).T).unflatten(1, (-1, 3))
        arm_slope = (slope.flatten(1) @ self._hinged_correctives.flatten(0, 1).T).unflatten(1, (-1, 3))
        return Points(
            self._rest(shape, offset, exp) + arm @ turn.transpose(1, 2) + bend,
            arm @ slope.transpose(1, 2) + arm_slope @ turn.transpose(1, 2) + bend_slope,
            turn,
        )

    def slopes(self, seen: Tensor, turn: Tensor, units: Tensor | None = None) -> Tensor:
        """Chain derivatives by the points, `seen` (N, P, 2, 3), to derivatives by expressions or by head shape.

        Returns:
            (N, P, 2, M) by the expressions `units` (M,), or (N, P, 2, S) by the shape if `units` is None.
        """
        if units is None:
            basis = torch.cat([self._plain[1], self._lever(1)], dim=1)
        else:
            basis = torch.cat([self._plain[2][..., units], self._lever(2)[..., units]], dim=1)
        rows = torch.cat([seen, seen @ turn[:, None]], dim=3).transpose(0, 1).flatten(1, 2)
        return (rows @ basis).unflatten(1, (-1, 2)).transpose(0, 1)

    def by_offset(self, turn: Tensor) -> Tensor:
        """Derivatives (N, P, 3, 3) by each point's position at rest."""
        return torch.eye(3, dtype=turn.dtype, device=turn.device) + self.skin[:, None, None] * turn[:, None]

    def _rest(self, shape: Tensor, offset: Tensor, exp: Tensor) -> Tensor:
        still, by_shape, by_exp = self._plain
        return (exp @ by_exp.flatten(0, 1).T).unflatten(1, (-1, 3)) + (still + offset + by_shape @ shape)

    def _arm(self, shape: Tensor, offset: Tensor, exp: Tensor, turn: Tensor) -> Tensor:
        """(N, P, 3): each point's jaw weight times its position relative to the hinge."""
        still = self._lever(0) + self.skin[:, None] * offset + self._lever(1) @ shape
        moving = exp @ self._lever(2).flatten(0, 1).T + turn.flatten(1) @ self._hinged_correctives.flatten(0, 1).T
        return still + moving.unflatten(1, (-1, 3))

    def _lever(self, k: int) -> Tensor:
        """(P, 3[, S or E]): template (k = 0), shape (1) or expressions (2), times jaw weight, relative to the hinge."""
        skin = self.skin.view(-1, *[1] * (self._hinged[k].dim() - 1))
        return self._hinged[k] - skin * self._hinge[k]


def _about_x(angle: Tensor) -> tuple[Tensor, Tensor]:
    """R - I (N, 3, 3) of rotations about x by angles (N,), and the derivative."""
    vectors = torch.stack([angle, torch.zeros_like(angle), torch.zeros_like(angle)], dim=1)
    turn = rotation_matrix(vectors) - torch.eye(3, dtype=angle.dtype, device=angle.device)
    slope = torch.zeros_like(turn)
    slope[:, 1, 1] = slope[:, 2, 2] = -angle.sin()
    slope[:, 2, 1] = angle.cos()
    slope[:, 1, 2] = -angle.cos()
    return turn, slope
