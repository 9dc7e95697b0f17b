"""Rotations, and their effect on vertices in linear blend skinning (SMPL/FLAME; Li et al. 2017, section 3)."""

import torch
from torch import Tensor


def rotation_matrix(axis_angle: Tensor) -> Tensor:
    """Rodrigues' formula: axis-angle (..., 3) in radians -> rotation matrices (..., 3, 3).

    R = I + sin(a)/a K + (1 - cos(a))/a^2 K^2, with series near a = 0, so that value and gradient stay exact there.
    """
    square = (axis_angle * axis_angle).sum(-1)[..., None, None]
    small = square < 1e-8
    safe = torch.where(small, torch.ones_like(square), square)  # keeps sqrt's infinite slope at 0 out of the gradient
    angle = safe.sqrt()
    first = torch.where(small, 1 - square / 6, angle.sin() / angle)
    # 2 sin^2(a/2) instead of 1 - cos(a), which cancels for small angles in float32.
    second = torch.where(small, 0.5 - square / 24, 2 * (angle / 2).sin().square() / safe)
    k = _cross_matrix(axis_angle)
    identity = torch.eye(3, dtype=k.dtype, device=k.device)
    return identity + first * k + second * (k @ k)


def _cross_matrix(vector: Tensor) -> Tensor:
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def rotate_about(vertices: Tensor, rotation: Tensor, centre: Tensor) -> Tensor:
    """Rigid rotation: vertices (B, V, 3), rotation (B, 3, 3), centre (B, 3) -> R (v - c) + c."""
    centre = centre[:, None]
    return (vertices - centre) @ rotation.transpose(1, 2) + centre


def hinge_offsets(vertices: Tensor, rotation: Tensor, joint: Tensor, weight: Tensor) -> Tensor:
    """The displacement that one rotating joint adds to vertices at rest: w (R - I)(v - joint).

    vertices (B, V, 3), rotation (B, 3, 3), joint (B, 3), weight (V,) -> (B, V, 3).
    """
    change = rotation - torch.eye(3, dtype=rotation.dtype, device=rotation.device)
    return weight[:, None] * ((vertices - joint[:, None]) @ change.transpose(1, 2))
