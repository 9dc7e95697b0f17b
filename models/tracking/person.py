"""Fits the person: one head shape and one face at rest, from a few frames of all the person's films.

They are solved together with the frames' unknowns, which are eliminated frame by frame (Schur complement). The part of
the face at rest that the head shape cannot explain becomes an offset of each landmark, so that no expression has to
compensate for it.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from models.tracking import solver
from models.tracking.embedding import CORNERS, EYES_APART, MIDDLE, column
from models.tracking.sequence import bounded, fit_sequence, normal_equations, single_costs
from models.tracking.solver import Frames, Linearised, Person, Problem

STEPS = 12
EFFECTIVE = 6.0  # weight of all keyframes together, in frames, against the prior of the head shape
OFFSET = (1.5, 1.5, 0.7)  # mm, standard deviation: right, up, forward
REST_LINEAR = 8.0  # factor of the cost of expressions in frames at rest
REST_JAW = 30.0  # the same for the jaw
STIFF = 100.0
N_REST, N_VARIED = 16, 16
SHUT = 1.0  # ruler mm above the smallest openings up to which lips count as closed
FLOOR = (0.1, 1.2)  # range of the distance of closed lips' landmarks, mm
FLOOR_SHARE = 0.05  # of the frames, surely closed
CLOSED_SHARE = 0.75  # of the closed lips' openings, below the one that counts as theirs
USUAL_FLOOR = 0.45


def ruler(points: Tensor) -> Tensor:
    """(..., P, 2 or 3) landmarks of a picture or head -> opening (...) in ruler mm."""
    middle, corners = ((points[..., column(a), :2] - points[..., column(b), :2]) for a, b in (MIDDLE, CORNERS))
    return EYES_APART * middle.norm(dim=-1) / corners.norm(dim=-1)


def shut_gap(openings: Tensor) -> float:
    """Opening of this person's closed lips in ruler mm, with most of its noise; the usual value if they never close."""
    openings = openings[openings.isfinite()]
    low = float(openings.quantile(FLOOR_SHARE)) if len(openings) else USUAL_FLOOR
    if low > FLOOR[1]:
        return USUAL_FLOOR
    closed = openings[openings <= low + SHUT]
    return min(max(float(closed.quantile(CLOSED_SHARE)) if len(closed) else low, FLOOR[0]), FLOOR[1])


def features(points: Tensor) -> Tensor:
    """(N, P, 2) -> (N, 8) distances of a face in ruler mm, which do not depend on its position."""
    unit = (points[:, column(CORNERS[0])] - points[:, column(CORNERS[1])]).norm(dim=-1)
    pairs = (MIDDLE, (61, 291), (159, 145), (386, 374), (105, 33), (334, 263), (0, 1), (17, 152))
    return torch.stack([EYES_APART * (points[:, column(a)] - points[:, column(b)]).norm(dim=-1) / unit
                        for a, b in pairs], dim=1)  # fmt: skip


def choose_keyframes(points: Tensor, allowed: Tensor | None = None) -> tuple[Tensor, int]:
    """Rows of frames at rest (lips closed, eyes open, everything else as usual), then of frames that differ as much as
    possible; and how many are at rest.

    Args:
        points: (N, P, 2) pixels, NaN where there is no face.
        allowed: (N,) bool, frames in which the face may be at rest; None: all.
    """
    seen = torch.nonzero(points.isfinite().all(dim=2).all(dim=1))[:, 0]
    measures = features(points[seen])
    middle = measures.median(dim=0).values
    spread = (measures - middle).abs().median(dim=0).values.clamp(min=0.3)
    openings = measures[:, 0]
    least = openings.quantile(FLOOR_SHARE)
    lids = measures[:, 2:4].sum(dim=1)
    resting = (openings <= least + SHUT) & (lids > 0.85 * lids.median())
    given = resting.new_ones(len(seen)) if allowed is None else allowed[seen]
    resting = resting & given if (resting & given).any() else given if given.any() else resting
    odd = ((measures - middle) / spread)[:, 1:].square().sum(dim=1)
    odd = torch.where(resting, odd, torch.inf)
    rest = odd.argsort()[: min(N_REST, int(resting.sum()) or 1)]
    varied = _far_apart((measures - middle) / spread, N_VARIED)
    return seen[torch.cat([rest, varied])], len(rest)


def _far_apart(points: Tensor, n: int) -> Tensor:
    """Rows of points (N, D), each as far as possible from those before."""
    points = points.clamp(-8, 8)
    chosen = [int(points.square().sum(1).argmin())]
    distance = (points - points[chosen[0]]).square().sum(1)
    while len(chosen) < min(n, len(points)):
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (points - points[chosen[-1]]).square().sum(1))
    return points.new_tensor(chosen, dtype=torch.long)


def unknown_person(problem: Problem) -> Person:
    """The average head."""
    seen = problem.seen
    return Person(seen.new_zeros(problem.head.n_shape), seen.new_zeros(seen.shape[1], 3))


def fit_person(problem: Problem, frames: Frames, n_rest: int, steps: int = STEPS) -> tuple[Person, float]:
    """Fit the person to keyframes; returns the person and the remaining cost. `problem` has windows of one frame."""
    person = unknown_person(problem)
    stiff = replace(
        problem, prior=replace(problem.prior, linear=STIFF * problem.prior.linear, square=STIFF * problem.prior.square)
    )
    frames = fit_sequence(stiff, person, frames, 8)  # pose alone, so that a long chin does not start as an open jaw
    linear = _rest_costs(problem, n_rest)
    damping, cost = 1e-2, _cost(problem, person, frames, linear)
    for _ in range(steps):
        new_person, new_frames = _step(problem, person, frames, linear, damping)
        new_cost = _cost(problem, new_person, new_frames, linear)
        if new_cost < cost:
            gain, cost, person, frames = cost - new_cost, new_cost, new_person, new_frames
            damping = max(damping / 5, 1e-6)
            if gain < 3e-4 * cost:
                break
        else:
            damping *= 6
    return person, cost


def _rest_costs(problem: Problem, n_rest: int) -> Tensor:
    """Factors (K, M + 1) of the linear costs of the keyframes' priors."""
    factor = problem.seen.new_ones(len(problem.seen), len(problem.fitted) + 1)
    factor[:n_rest] = REST_LINEAR
    factor[:n_rest, -1] = REST_JAW
    return factor


def _cost(problem: Problem, person: Person, frames: Frames, linear: Tensor) -> float:
    single = single_costs(problem, person, frames, linear)
    offset = person.offset / person.offset.new_tensor(OFFSET) * 1000
    own = problem.prior.person * (person.shape.square().sum() + offset.square().sum())
    return float(_share(frames) * single.sum() + own)


def _share(frames: Frames) -> float:
    """Weight of each keyframe."""
    return EFFECTIVE / len(frames.jaw)


def _step(problem: Problem, person: Person, frames: Frames, linear: Tensor, damping: float) -> tuple[Person, Frames]:
    seen = solver.linearise(problem, person, frames, shared=True)
    weights = _share(frames) * solver.robust_weights(seen.error, problem.trust)
    own, pull = normal_equations(problem, frames, seen, weights, linear, _share(frames))
    diagonal = own.diagonal(dim1=1, dim2=2)
    diagonal += damping * diagonal + 1e-9
    shared, shared_pull, mixed = _shared_equations(seen, weights, person, problem.prior.person)
    shared.diagonal().mul_(1 + damping)

    def solve(stiff: Tensor, more: Tensor) -> tuple[Tensor, Tensor]:
        factor = torch.linalg.cholesky(own + torch.diag_embed(stiff))
        sides = torch.cat([mixed, (pull - more)[..., None]], dim=2)
        half = torch.linalg.solve_triangular(factor, sides, upper=False)
        rows = half.flatten(0, 1)
        known = rows.T @ rows  # the frames' share of the person's equations
        reduced, side = shared - known[:-1, :-1], known[:-1, -1:] - shared_pull[:, None]
        step = torch.cholesky_solve(side, torch.linalg.cholesky(reduced))
        back = torch.linalg.solve_triangular(factor.mT, half[..., -1:] + half[..., :-1] @ step, upper=True)
        return -back[..., 0], step[:, 0]

    frame_step, step = bounded(problem, frames, -pull, solve)
    n_shape = len(person.shape)
    moved_person = Person(person.shape + step[:n_shape], person.offset + step[n_shape:].view(-1, 3))
    return moved_person, solver.moved(problem, frames, frame_step)


def _shared_equations(
    seen: Linearised, weights: Tensor, person: Person, stiff: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Half normal equations of shape and offsets (Q, Q), half gradient (Q,), and the frames' part (K, n, Q); `stiff` is
    the factor of their prior."""
    root = weights.sqrt()[..., None, None]
    assert seen.by_shape is not None and seen.by_offset is not None
    shape, offset, frame, error = (
        x * root for x in (seen.by_shape, seen.by_offset, seen.by_frame, seen.error[..., None])
    )
    n_shape, n_points = shape.shape[-1], shape.shape[1]
    matrix = shape.new_zeros(n_shape + 3 * n_points, n_shape + 3 * n_points)
    flat_shape, flat_offset, flat_error = (x.permute(1, 0, 2, 3).flatten(1, 2) for x in (shape, offset, error))
    rows = flat_shape.flatten(0, 1)
    matrix[:n_shape, :n_shape] = rows.T @ rows + stiff * torch.eye(n_shape, dtype=rows.dtype, device=rows.device)
    cross = (flat_shape.transpose(1, 2) @ flat_offset).permute(1, 0, 2).flatten(1)  # (S, 3P)
    matrix[:n_shape, n_shape:], matrix[n_shape:, :n_shape] = cross, cross.T
    looseness = stiff * 1e6 / person.offset.new_tensor(OFFSET).square()
    blocks = flat_offset.transpose(1, 2) @ flat_offset + torch.diag(looseness)
    matrix[n_shape:, n_shape:] = torch.block_diag(*blocks)
    pull = torch.cat([(rows * flat_error.flatten(0, 1)).sum(0) + stiff * person.shape,
                      ((flat_offset * flat_error).sum(1) + looseness * person.offset).flatten()])  # fmt: skip
    by_shape = frame.flatten(1, 2).transpose(1, 2) @ shape.flatten(1, 2)
    by_offset = (frame.transpose(2, 3) @ offset).permute(0, 2, 1, 3).flatten(2)
    return matrix, pull, torch.cat([by_shape, by_offset], dim=2)
