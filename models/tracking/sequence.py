"""Pose, jaw, expressions and gaze of all frames of a film for a known person, solved in batches of windows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from models.tracking import solver
from models.tracking.solver import Frames, Linearised, Person, Problem

STEPS, ENOUGH = 14, 3e-4  # most iterations; relative decrease of the cost below which they stop
SETS, SLACK = 6, 1e-3  # most active sets of a step; excess beyond a bound that is simply cut off
FIRST_DAMPING, LEAST_DAMPING, MOST_DAMPING = 1e-2, 1e-6, 1e3


def start(problem: Problem, rotations: Tensor) -> Frames:
    """Faces at rest with these rotations (N, 3, 3), placed by the centre and the size of the landmarks."""
    head, camera = problem.head, problem.camera
    n_frames, device = len(rotations), rotations.device
    exp = torch.zeros(n_frames, head.head.expdirs.shape[-1], dtype=torch.float64, device=device)
    jaw = exp.new_full((n_frames,), 0.02)
    shape = exp.new_zeros(head.head.shapedirs.shape[-1])
    points = head(shape, exp.new_zeros(problem.trust.shape[1], 3), exp, jaw) @ rotations.transpose(1, 2)
    there = (problem.trust > 0).double()
    n_seen = there.sum(1).clamp(min=1)[:, None]

    def spread(flat: Tensor) -> tuple[Tensor, Tensor]:
        middle = (flat * there[..., None]).sum(1) / n_seen
        return middle, (((flat - middle[:, None]).square().sum(-1) * there).sum(1) / n_seen[:, 0]).sqrt()

    middle_seen, size_seen = spread((problem.seen - exp.new_tensor(camera.centre)) / camera.focal)
    middle, size = spread(points[..., :2])
    depth = size / size_seen.clamp(min=1e-4)
    depth = torch.where(there.any(1), depth, depth[there.any(1)].median())
    mean_depth = (points[..., 2] * there).sum(1) / n_seen[:, 0]
    place = torch.stack([middle_seen[:, 0] * depth - middle[:, 0], -middle_seen[:, 1] * depth - middle[:, 1],
                         -depth - mean_depth], dim=1)  # fmt: skip
    return Frames(exp, jaw, rotations, place)


def fit_sequence(problem: Problem, person: Person, frames: Frames, steps: int = STEPS) -> Frames:
    """Fitted frames (B * T), starting from `frames`."""
    damping = torch.full((problem.n_windows,), FIRST_DAMPING, dtype=torch.float64, device=frames.jaw.device)
    cost = total_cost(problem, person, frames)
    for _ in range(steps):
        tried = solver.moved(problem, frames, _step(problem, person, frames, damping))
        new_cost = total_cost(problem, person, tried)
        better = new_cost < cost
        frames = _where(better, tried, frames, problem)
        gain = torch.where(better, cost - new_cost, 0 * cost)
        cost = torch.where(better, new_cost, cost)
        damping = torch.where(better, damping / 5, damping * 6).clamp(LEAST_DAMPING, MOST_DAMPING)
        if (better & (gain < ENOUGH * cost) | (damping >= MOST_DAMPING)).all():
            break
    return frames


def total_cost(problem: Problem, person: Person, frames: Frames) -> Tensor:
    """Cost of each window (B,)."""
    single = single_costs(problem, person, frames)
    change, weight = _changes(problem, frames)
    jump = _jump(problem)
    costs = 2 * jump.square() * ((1 + (change / jump).square()).sqrt() - 1) * weight
    return single.unflatten(0, (problem.n_windows, -1)).sum(1) + costs.sum((1, 2))


def single_costs(problem: Problem, person: Person, frames: Frames, factor: Tensor | float = 1.0) -> Tensor:
    """Cost of each frame by itself (N,); `factor` on the linear costs of the prior."""
    seen = solver.robust_cost(solver.errors(problem, person, frames), problem.trust)
    return seen + solver.prior_terms(problem, solver.unknowns(problem, frames), factor)[0]


def _jump(problem: Problem) -> Tensor:
    """Jump limits (M + 7,); head motion has none."""
    prior = problem.prior
    jump = torch.cat([prior.jump[problem.fitted], prior.jump[-1:]])
    return torch.cat([jump, jump.new_full((solver.RIGID,), 1e3)])


def _changes(problem: Problem, frames: Frames) -> tuple[Tensor, Tensor]:
    """Changes between frames (B, T - 1, M + 7), and the cost of their squares."""
    b = problem.n_windows
    values, place = (x.unflatten(0, (b, -1)) for x in (solver.unknowns(problem, frames), frames.place))
    rotation = frames.rotation.unflatten(0, (b, -1))
    turn = rotation[:, 1:] @ rotation[:, :-1].transpose(2, 3)
    spin = 0.5 * torch.stack([turn[..., 2, 1] - turn[..., 1, 2], turn[..., 0, 2] - turn[..., 2, 0],
                              turn[..., 1, 0] - turn[..., 0, 1]], dim=-1)  # fmt: skip
    change = torch.cat([values.diff(dim=1), spin, place.diff(dim=1)], dim=2)
    prior = problem.prior
    weight = torch.cat([prior.steady[problem.fitted], prior.steady[-1:], prior.steady_rigid])
    return change, weight * problem.shares[..., None]


def _step(problem: Problem, person: Person, frames: Frames, damping: Tensor) -> Tensor:
    """Step (N, n) that solves the damped normal equations: B windows of T frames with n unknowns each."""
    seen = solver.linearise(problem, person, frames)
    blocks, gradient = normal_equations(problem, frames, seen, solver.robust_weights(seen.error, problem.trust))
    change, weight = _changes(problem, frames)
    coupling = weight / (1 + (change / _jump(problem)).square()).sqrt()
    blocks, gradient = (x.unflatten(0, (problem.n_windows, -1)) for x in (blocks, gradient))
    pull = coupling * change
    gradient[:, 1:] += pull
    gradient[:, :-1] -= pull
    diagonal = blocks.diagonal(dim1=2, dim2=3)
    diagonal[:, 1:] += coupling
    diagonal[:, :-1] += coupling
    diagonal += damping[:, None, None] * diagonal + 1e-9
    right = -gradient

    def solve(stiff: Tensor, more: Tensor) -> tuple[Tensor]:
        held = blocks + torch.diag_embed(stiff.view_as(right))
        return (solver.solve_banded(held, coupling, right + more.view_as(right)).flatten(0, 1),)

    return bounded(problem, frames, right.flatten(0, 1), solve)[0]


def normal_equations(
    problem: Problem,
    frames: Frames,
    seen: Linearised,
    weights: Tensor,
    factor: Tensor | float = 1.0,
    share: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Half of each frame's own equations (N, n, n) and half its gradient (N, n), with `share` of the prior."""
    root = weights.sqrt()[..., None, None]
    rows = (seen.by_frame * root).flatten(1, 2)
    matrix, gradient = rows.transpose(1, 2) @ rows, (rows * (seen.error[..., None] * root).flatten(1, 2)).sum(1)
    n = len(problem.fitted) + 1
    _, half, curvature = solver.prior_terms(problem, solver.unknowns(problem, frames), factor)
    matrix[:, :n, :n] += share * curvature
    gradient[:, :n] += share * half
    return matrix, gradient


def bounded(
    problem: Problem, frames: Frames, right: Tensor, solve: Callable[[Tensor, Tensor], tuple[Tensor, ...]]
) -> tuple[Tensor, ...]:
    """A step that keeps expressions and jaw within their bounds (active set).

    Unknowns at a bound that the cost pushes outwards stay there. Those that the step would take beyond a bound are put
    on it and the others are solved again: a step that is merely cut off at the bounds raises the cost, because the
    unknowns that should have balanced it are not told.

    Args:
        right: (N, M + 7), minus half of the gradient.
        solve: additions to the diagonal and to the right side, both (N, M + 7) -> the frames' step (N, M + 7), and
            perhaps steps of other unknowns.

    Returns:
        What `solve` returns for the last set.
    """
    values = solver.unknowns(problem, frames)
    n, at = values.shape[1], solver.prior_columns(problem)
    least, most = problem.prior.least[at], problem.prior.most[at]
    push = right[:, :n]
    stuck = (values <= least) & (push < 0) | (values >= most) & (push > 0)
    target = torch.zeros_like(right)
    stiff = torch.zeros_like(right)
    for _ in range(SETS):
        stiff[:, :n] = solver.GONE * stuck
        steps = solve(stiff, stiff * target)
        new = values + steps[0][:, :n]
        beyond = ~stuck & ((new < least - SLACK) | (new > most + SLACK))
        if not beyond.any():
            break
        target[:, :n] = torch.where(beyond, new.clamp(least, most) - values, target[:, :n])
        stuck = stuck | beyond
    return steps


def _where(better: Tensor, new: Frames, old: Frames, problem: Problem) -> Frames:
    """The new frames in the windows that are better, else the old ones."""
    rows = better.repeat_interleave(len(old.jaw) // problem.n_windows)
    pairs = ((new.exp, old.exp), (new.jaw, old.jaw), (new.rotation, old.rotation), (new.place, old.place))
    return Frames(*(torch.where(rows.view(-1, *[1] * (a.dim() - 1)), a, b) for a, b in pairs))
