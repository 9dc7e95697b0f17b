"""Mouth opening, and the mouthClose coefficient that closes the lips at a given jaw angle."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from models.heads.decode import vertex_pieces
from models.heads.flame import Flame
from utils.errors import UserError
from utils.heads.head_file import HeadFile
from utils.motion_file import Motion

UPPER, LOWER = "upper_inner_lip", "lower_inner_lip"
CLOSE = "mouthClose"


def mouth_opening(vertices: Tensor, head: HeadFile) -> Tensor:
    """Vertical distance of the inner lips at mid mouth in metres, positive when open.

    vertices (..., V, 3) WITHOUT head rotation (`Flame.forward(..., global_rotation=False)`) -> (...). Only y counts,
    because the inner lips of the open head touch at rest with the lower one 2.3 mm in front.
    """
    return vertices[..., head.landmark(UPPER), 1] - vertices[..., head.landmark(LOWER), 1]


def opening_mm(flame: Flame, motion: Motion) -> np.ndarray:
    """Mouth opening (T,) in mm of a motion without its head rotation, on its own head shape or the average one."""
    pieces = vertex_pieces(flame, motion, motion.shape_or_average, global_rotation=False)
    return 1000 * torch.cat([mouth_opening(piece, flame.head) for piece in pieces]).cpu().numpy()


@torch.no_grad()
def solve_mouth_close(flame: Flame, shape: Tensor, jaw_angle: Tensor, steps: int = 3) -> Tensor:
    """The mouthClose coefficient at which the lips just touch (opening 0).

    shape (B, <=100), jaw_angle (B,) radians about x -> (B,). Identity changes the jaw's leverage, so one coefficient
    for all heads would leave some lips open. The opening is linear in the coefficient up to the joint's tiny motion,
    so the secant method converges in two or three steps.

    Raises:
        UserError: the head has no expression called mouthClose, or no lip landmarks.
    """
    names = flame.head.exp_names or []
    if CLOSE not in names:
        raise UserError(f"{flame.head.name}: no expression named {CLOSE}; lip closure needs the open head")
    index = names.index(CLOSE)
    pose = shape.new_zeros(len(shape), 6)
    pose[:, 3] = jaw_angle

    def opening(coefficient: Tensor) -> Tensor:
        exp = shape.new_zeros(len(shape), flame.n_exp)
        exp[:, index] = coefficient
        return mouth_opening(flame(shape, exp, pose, global_rotation=False), flame.head)

    previous, current = torch.zeros_like(jaw_angle), torch.full_like(jaw_angle, 0.5)
    before, now = opening(previous), opening(current)
    for _ in range(steps):
        slope = (now - before) / torch.where(current == previous, torch.ones_like(current), current - previous)
        step = torch.where(slope.abs() < 1e-6, torch.zeros_like(slope), -now / slope)
        previous, before, current = current, now, current + step
        now = opening(current)
    return current
