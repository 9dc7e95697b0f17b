"""The least-squares problem of one window of frames, and its solution: Levenberg-Marquardt with a block-banded system.

A frame's unknowns are M expressions within bounds, the jaw, and the head's rotation and position. Neighbouring frames
are coupled by a diagonal only, so that the normal equations are block tridiagonal; they are solved exactly, all windows
of a batch at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from models.heads.lbs import rotation_matrix
from models.tracking.embedding import LandmarkHead

RIGID = 6  # rotation and place
MM, GONE = 1e-3, 1e9  # metres in a millimetre; penalty that holds an unknown where it is
ROUNDNESS = 0.25  # mm^2 below which the robust error is a square, above which it is a distance


@dataclass(frozen=True)
class Camera:
    """A pinhole camera, in pixels."""

    focal: float
    centre: tuple[float, float]  # x, y

    @classmethod
    def of(cls, size: tuple[int, int], fov: float) -> Camera:
        """The camera of pictures (height, width) whose longer side spans `fov` degrees."""
        focal = max(size) / 2 / torch.tan(torch.deg2rad(torch.tensor(fov / 2.0))).item()
        return cls(focal, (size[1] / 2, size[0] / 2))


@dataclass(frozen=True)
class Person:
    """The unknowns that all frames share."""

    shape: Tensor  # (S,)
    offset: Tensor  # (P, 3) metres: the part of the face at rest that the shape does not explain


@dataclass(frozen=True)
class Frames:
    """The unknowns of N frames."""

    exp: Tensor  # (N, E); expressions that are not fitted stay 0
    jaw: Tensor  # (N,)
    rotation: Tensor  # (N, 3, 3)
    place: Tensor  # (N, 3) metres, the root joint relative to the camera, which looks along -z

    def __getitem__(self, rows) -> Frames:
        return Frames(self.exp[rows], self.jaw[rows], self.rotation[rows], self.place[rows])

    @classmethod
    def join(cls, parts: Sequence[Frames]) -> Frames:
        """All parts in one."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))


@dataclass(frozen=True)
class Prior:
    """Costs in weighted mm^2; vectors (E + 1,) are for the expressions and the jaw."""

    rest: Tensor  # values that cost nothing
    linear: Tensor
    square: Tensor  # of squared differences from the values at rest
    steady: Tensor  # of squared changes per 1/25 s
    jump: Tensor  # change beyond which its cost grows linearly, so that blinks and closures stay sharp
    steady_rigid: Tensor  # (6,)
    pairs: Tensor  # (E + 1, E + 1) cost of squared differences between left and right
    least: Tensor  # bounds
    most: Tensor
    person: Tensor  # () factor of the costs of head shape and face at rest
    at_rest: Tensor  # share of the higher linear cost of frames at rest that their squares have as well

    def to(self, device: torch.device) -> Prior:
        """These costs on a device."""
        return Prior(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


@dataclass(frozen=True)
class Problem:
    """The head, the camera and the detected landmarks in B windows of T frames."""

    head: LandmarkHead
    camera: Camera
    seen: Tensor  # (B * T, P, 2) pixels, 0 for missing landmarks
    trust: Tensor  # (B * T, P) weights, 0 for missing landmarks
    shares: Tensor  # (B, T - 1): 1/25 s over the time between frames, 0 for unconnected frames
    fitted: Tensor  # (M,) indices of fitted expressions
    prior: Prior

    @property
    def n_windows(self) -> int:
        return len(self.shares)


@dataclass(frozen=True)
class Linearised:
    """Residuals and derivatives of N frames."""

    error: Tensor  # (N, P, 2) mm
    by_frame: Tensor  # (N, P, 2, M + 7)
    by_shape: Tensor | None  # (N, P, 2, S)
    by_offset: Tensor | None  # (N, P, 2, 3)


def project(head: LandmarkHead, camera: Camera, person: Person, frames: Frames) -> Tensor:
    """Landmarks (N, P, 2) of a fitted head, pixels."""
    points = head(person.shape, person.offset, frames.exp, frames.jaw)
    placed = points @ frames.rotation.transpose(1, 2) + frames.place[:, None]
    centre = placed.new_tensor(camera.centre)
    return centre + camera.focal * placed[..., :2] * placed.new_tensor([-1.0, 1.0]) / placed[..., 2:]


def linearise(problem: Problem, person: Person, frames: Frames, shared: bool = False) -> Linearised:
    """Residuals in mm at the face's distance, with derivatives; those by the person only if `shared`."""
    points = problem.head.with_slopes(person.shape, person.offset, frames.exp, frames.jaw)
    turned = points.xyz @ frames.rotation.transpose(1, 2)
    placed = turned + frames.place[:, None]
    error, ratio, scale = _compared(problem, placed, frames)
    depth = -placed[..., 2]
    lens = placed.new_zeros(*placed.shape[:2], 2, 3)  # d ratio / d placed
    lens[..., 0, 0], lens[..., 1, 1] = 1 / depth, -1 / depth
    lens[..., 2] = ratio / depth[..., None]
    lens = lens * scale[:, None, None, None]
    seen_turned = lens @ frames.rotation[:, None]
    x, y, z = turned.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, z, -y, -z, zero, x, y, -x, zero], -1).unflatten(-1, (3, 3))
    spin = lens @ cross  # d (exp(w) turned) / d w = -[turned]x
    by_exp = problem.head.slopes(seen_turned, points.turn, problem.fitted)
    by_frame = torch.cat([by_exp, seen_turned @ points.by_jaw[..., None], spin, lens], dim=-1)
    if not shared:
        return Linearised(error, by_frame, None, None)
    by_shape, by_offset = problem.head.slopes(seen_turned, points.turn), problem.head.by_offset(points.turn)
    return Linearised(error, by_frame, by_shape, seen_turned @ by_offset)


def errors(problem: Problem, person: Person, frames: Frames) -> Tensor:
    """Errors (N, P, 2) in mm at the face's distance."""
    points = problem.head(person.shape, person.offset, frames.exp, frames.jaw)
    placed = points @ frames.rotation.transpose(1, 2) + frames.place[:, None]
    return _compared(problem, placed, frames)[0]


def _compared(problem: Problem, placed: Tensor, frames: Frames) -> tuple[Tensor, Tensor, Tensor]:
    """Errors in mm, x and y over depth (N, P, 2), and the mm of one over-depth unit (N,)."""
    scale = -frames.place[:, 2] / MM
    ratio = placed[..., :2] * placed.new_tensor([1.0, -1.0]) / -placed[..., 2:]
    wanted = (problem.seen - placed.new_tensor(problem.camera.centre)) / problem.camera.focal
    return (ratio - wanted) * scale[:, None, None], ratio, scale


def robust_weights(error: Tensor, trust: Tensor) -> Tensor:
    """Weights (N, P) of iteratively reweighted squares for sqrt(e^2 + r) - sqrt(r), scaled to 1 at 0 mm."""
    return trust * (ROUNDNESS / (error.square().sum(-1) + ROUNDNESS)).sqrt()


def robust_cost(error: Tensor, trust: Tensor) -> Tensor:
    """Robust cost of each frame (N,)."""
    root = ROUNDNESS**0.5
    return (trust * 2 * root * ((error.square().sum(-1) + ROUNDNESS).sqrt() - root)).sum(-1)


def unknowns(problem: Problem, frames: Frames) -> Tensor:
    """Fitted expressions and jaw (N, M + 1)."""
    return torch.cat([frames.exp[:, problem.fitted], frames.jaw[:, None]], dim=1)


def prior_columns(problem: Problem) -> Tensor:
    """Indices of the fitted unknowns in the prior's arrays."""
    jaw = problem.fitted.new_tensor([len(problem.prior.linear) - 1])
    return torch.cat([problem.fitted, jaw])


def moved(problem: Problem, frames: Frames, step: Tensor) -> Frames:
    """Frames after a step (N, M + 7), inside the bounds."""
    n, at = len(problem.fitted), prior_columns(problem)
    values = (unknowns(problem, frames) + step[:, : n + 1]).clamp(problem.prior.least[at], problem.prior.most[at])
    exp = frames.exp.clone()
    exp[:, problem.fitted] = values[:, :n]
    rotation = rotation_matrix(step[:, n + 1 : n + 4]) @ frames.rotation
    return Frames(exp, values[:, n], rotation, frames.place + step[:, n + 4 :])


def prior_terms(problem: Problem, values: Tensor, factor: Tensor | float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Cost (N,), half gradient (N, M + 1) and half curvature (N, M + 1, M + 1) of the priors of single frames."""
    at = prior_columns(problem)
    prior = problem.prior
    square = (prior.square[at] * (1 + prior.at_rest[at] * (factor - 1))).expand(len(values), -1)
    away = values - prior.rest[at]
    pull = away * square + away @ prior.pairs[at][:, at]
    cost = (away * pull).sum(1) + (values * prior.linear[at] * factor).sum(1)
    return cost, pull + 0.5 * prior.linear[at] * factor, torch.diag_embed(square) + prior.pairs[at][:, at]


def solve_banded(blocks: Tensor, coupling: Tensor, right: Tensor) -> Tensor:
    """Solve block tridiagonal systems: blocks (B, T, n, n), off-diagonal blocks -diag(coupling (B, T - 1, n)), right
    (B, T, n) -> (B, T, n)."""
    n_frames = blocks.shape[1]
    factors, partial = [], []
    for t in range(n_frames):
        block, side = blocks[:, t], right[:, t]
        if t:
            c = coupling[:, t - 1]
            inverse = torch.cholesky_inverse(factors[-1])
            block = block - c[:, :, None] * inverse * c[:, None, :]
            side = side + c * (inverse @ partial[-1][..., None])[..., 0]
        factors.append(torch.linalg.cholesky(block))
        partial.append(side)
    answers = [torch.cholesky_solve(partial[-1][..., None], factors[-1])[..., 0]]
    for t in range(n_frames - 2, -1, -1):
        side = partial[t] + coupling[:, t] * answers[-1]
        answers.append(torch.cholesky_solve(side[..., None], factors[t])[..., 0])
    return torch.stack(answers[::-1], dim=1)
