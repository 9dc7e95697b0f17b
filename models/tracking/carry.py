"""Transfers a motion from one head to another such that lip contacts and mouth openings stay the same.

Coefficients that close one person's lips leave another's open, because jaw, chin and lips have other levers. So
expressions, pose and gaze are kept, and mouthClose, or the jaw where it does not suffice, is solved again for the same
mouth opening. Openings are in ruler millimetres: on this scale the outer corners of the eyes are 90 mm apart.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from models.heads.mouth import CLOSE
from models.tracking.embedding import CORNERS, EYES_APART, MIDDLE, LandmarkHead, column
from utils.motion_file import Motion

NEARLY, PRESSED = 2.4, -0.25  # mm: openings below the first are reduced such that closed lips have the second
CLOSE_MOST, JAW_MOST, LEAST_LEVER = 1.5, 0.6, 1e-3
REST_MOST = 1.0  # mm, a gap at rest
STEPS = 4


def contact(opening: Tensor, shut: float, closed: float = PRESSED) -> Tensor:
    """Openings (T,) mm -> openings at which lips touch when the person's do.

    Args:
        opening: of landmarks, or of a motion on the average head.
        shut: opening of the person's closed lips in it, mm; `PRESSED` in a motion that was tracked.
        closed: what it becomes, mm; negative for lips that overlap.
    """
    drawn = closed + (opening - shut) * (NEARLY - closed) / (NEARLY - shut)
    return torch.where(opening < NEARLY, drawn.clamp(min=closed), opening)


def opening_on(head: LandmarkHead, shape: Tensor, exp: Tensor, jaw: Tensor) -> Tensor:
    """Mouth opening (T,) in ruler mm, negative for pressed lips; exp (T, E), jaw (T,) radians."""
    points = head(shape, shape.new_zeros(1, 3), exp, jaw)
    return 1000 * (points[:, column(MIDDLE[0]), 1] - points[:, column(MIDDLE[1]), 1]) * _scale(head, shape)


def _scale(head: LandmarkHead, shape: Tensor) -> float:
    """Ruler millimetres per millimetre of this head."""
    none = shape.new_zeros(1, head.head.expdirs.shape[-1])
    rest = head(shape, shape.new_zeros(1, 3), none, none[:, 0])[0]
    return EYES_APART / float(1000 * (rest[column(CORNERS[0])] - rest[column(CORNERS[1])]).norm())


def with_opening(head: LandmarkHead, shape: Tensor, exp: Tensor, jaw: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Expressions (T, E) and jaw (T,) of a head of this shape for a mouth opening `wanted` (T,) in ruler mm.

    mouthClose changes within 0..1.5; where that does not suffice, the jaw opens or closes. On a head without that
    expression, like FLAME, all of them change as little as possible (least squares), and the jaw stays.
    """
    if CLOSE not in (head.head.exp_names or []):
        return _by_all(head, shape, exp, jaw, wanted), jaw
    close = (head.head.exp_names or []).index(CLOSE)
    exp, jaw = exp.clone(), jaw.clone()
    for _ in range(STEPS):
        exp[:, close] = _solved(head, shape, (exp, jaw), wanted, close).clamp(0, CLOSE_MOST)
    for _ in range(STEPS):
        jaw = _solved(head, shape, (exp, jaw), wanted, None).clamp(0, JAW_MOST)
    return exp, jaw


def _by_all(head: LandmarkHead, shape: Tensor, exp: Tensor, jaw: Tensor, wanted: Tensor) -> Tensor:
    """Expressions (T, E) for these openings; the opening is linear in them."""
    with torch.enable_grad():
        moved = exp.detach().clone().requires_grad_()
        opening = opening_on(head, shape, moved, jaw)
        (slope,) = torch.autograd.grad(opening.sum(), moved)
    size = slope.square().sum(1).clamp(min=LEAST_LEVER)
    return exp + ((wanted - opening.detach()) / size)[:, None] * slope


def closed_opening(head: LandmarkHead) -> float:
    """Opening of this head's closed lips in ruler mm: `PRESSED`, on top of the gap that FLAME's lips have at rest."""
    if head.head.exp_names is not None:
        return PRESSED
    none = torch.zeros(1, head.head.expdirs.shape[-1], dtype=torch.float64, device=head.device)
    return PRESSED + min(float(opening_on(head, none.new_zeros(head.n_shape), none, none[:, 0])), REST_MOST)


def _solved(head: LandmarkHead, shape: Tensor, now: tuple[Tensor, Tensor], wanted: Tensor, unit: int | None) -> Tensor:
    """A Newton step of one expression (T,), or of the jaw (None)."""
    exp, jaw = now
    step, slope_exp, slope_jaw = 1e-3, exp, jaw
    if unit is None:
        slope_jaw = jaw + step
    else:
        slope_exp = exp.clone()
        slope_exp[:, unit] += step
    opening = opening_on(head, shape, exp, jaw)
    slope = (opening_on(head, shape, slope_exp, slope_jaw) - opening) / step
    change = torch.where(slope.abs() > LEAST_LEVER, (wanted - opening) / slope, 0 * slope)
    return (jaw if unit is None else exp[:, unit]) + change


def carry(head: LandmarkHead, motion: Motion, shape: np.ndarray) -> Motion:
    """The motion on a head of another shape (100,) with the same mouth openings.

    Args:
        motion: with the head shape that it was fitted on (None: the average head).
        shape: of the new head.
    """

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(values, np.float64))

    exp, jaw = tensor(motion.exp), tensor(motion.pose[:, 3])
    own = np.zeros_like(shape) if motion.shape is None else motion.shape
    wanted = opening_on(head, tensor(own), exp, jaw)
    exp, jaw = with_opening(head, tensor(shape), exp, jaw, wanted)
    pose = motion.pose.copy()
    pose[:, 3] = jaw.numpy()
    return replace(motion, exp=exp.numpy().astype(np.float32), pose=pose, shape=np.asarray(shape, np.float32))
