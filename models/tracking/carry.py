"""A motion that was fitted on one head, on another: contacts and openings stay.

Coefficients that shut one person's lips leave another's open: jaw, chin and lips have other levers. So units, pose and
gaze are kept as they are, and mouthClose, or where it does not suffice the jaw, is solved anew such that the opening of
the mouth is the same in millimetres of a ruler on which the outer corners of the eyes are 90 mm apart.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from models.heads.mouth import CLOSE
from models.tracking.embedding import CORNERS, EYES_APART, MIDDLE, LandmarkHead, column
from utils.motion_file import Motion

NEARLY, PRESSED = 2.4, -0.25  # mm: openings below the first are drawn to where shut lips become the second
CLOSE_MOST, JAW_MOST, LEAST_LEVER = 1.5, 0.6, 1e-3
STEPS = 4


def contact(opening: Tensor, shut: float) -> Tensor:
    """Openings (T,) mm as landmarks show them, of a person whose shut lips are `shut` mm apart by them -> openings with
    lips that touch where theirs do."""
    drawn = PRESSED + (opening - shut) * (NEARLY - PRESSED) / (NEARLY - shut)
    return torch.where(opening < NEARLY, drawn.clamp(min=PRESSED), opening)


def pressed(opening: Tensor, depth: float) -> Tensor:
    """Openings (T,) as `contact` gives them, mm, with shut lips that overlap by `depth` mm instead of 0.25."""
    drawn = -depth + (opening - PRESSED) * (NEARLY + depth) / (NEARLY - PRESSED)
    return torch.where(opening < NEARLY, drawn.clamp(min=-depth), opening)


def opening_on(head: LandmarkHead, shape: Tensor, exp: Tensor, jaw: Tensor) -> Tensor:
    """(T,) mm of the ruler, negative where lips press; exp (T, E), jaw (T,)."""
    points = head(shape, shape.new_zeros(1, 3), exp, jaw)
    return 1000 * (points[:, column(MIDDLE[0]), 1] - points[:, column(MIDDLE[1]), 1]) * _scale(head, shape)


def _scale(head: LandmarkHead, shape: Tensor) -> float:
    """Ruler's mm in a mm of this head."""
    none = shape.new_zeros(1, head.head.expdirs.shape[-1])
    rest = head(shape, shape.new_zeros(1, 3), none, none[:, 0])[0]
    return EYES_APART / float(1000 * (rest[column(CORNERS[0])] - rest[column(CORNERS[1])]).norm())


def with_opening(head: LandmarkHead, shape: Tensor, exp: Tensor, jaw: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Units (T, E) and jaw (T,) of a head of this shape whose mouth is open by `wanted` (T,) mm of the ruler.

    mouthClose does it within 0..1.5; where that does not suffice, the jaw opens or shuts.
    """
    close = (head.head.exp_names or []).index(CLOSE)
    exp, jaw = exp.clone(), jaw.clone()
    for _ in range(STEPS):
        exp[:, close] = _solved(head, shape, (exp, jaw), wanted, close).clamp(0, CLOSE_MOST)
    for _ in range(STEPS):
        jaw = _solved(head, shape, (exp, jaw), wanted, None).clamp(0, JAW_MOST)
    return exp, jaw


def _solved(head: LandmarkHead, shape: Tensor, now: tuple[Tensor, Tensor], wanted: Tensor, unit: int | None) -> Tensor:
    """Newton's step of one unit (T,), or of the jaw (None)."""
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
    """The motion on a head of another shape (100,), mouths open alike.

    Args:
        head: the head model, reduced to its landmarks.
        motion: with the shape of the head that it is right on; without one that is the average.
        shape: of the head that it goes to.
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
