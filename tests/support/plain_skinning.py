"""Linear blend skinning in its textbook form, for any tree of joints (SMPL/FLAME; Li et al. 2017, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor


def joint_transforms(rotations: Tensor, joints: Tensor, parents: list[int]) -> tuple[Tensor, Tensor]:
    """Rest-pose-relative transforms of a kinematic tree: x -> R x + t per joint.

    rotations (B, J, 3, 3), joints (B, J, 3) at rest, parents[0] = -1 -> R (B, J, 3, 3), t (B, J, 3).
    """
    world, position = [rotations[:, 0]], [joints[:, 0]]
    for j, parent in enumerate(parents[1:], start=1):
        bone = joints[:, j] - joints[:, parent]
        position.append(position[parent] + (world[parent] @ bone[..., None])[..., 0])
        world.append(world[parent] @ rotations[:, j])
    rotation = torch.stack(world, 1)
    return rotation, torch.stack(position, 1) - (rotation @ joints[..., None])[..., 0]


def linear_blend_skinning(vertices: Tensor, weights: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    """v_i' = sum_j w_ij (R_j v_i + t_j).

    vertices (B, V, 3), weights (V, J), rotation (B, J, 3, 3), translation (B, J, 3) -> (B, V, 3).
    """
    matrices = torch.einsum("vj,bjxy->bvxy", weights, rotation)
    offsets = torch.einsum("vj,bjx->bvx", weights, translation)
    return (matrices @ vertices[..., None])[..., 0] + offsets
