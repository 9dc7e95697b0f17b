"""FLAME (Li et al. 2017), or any head in its layout: coefficients -> vertices.

v = template + identity . shape + expression . exp + correctives . (R - I); joints from the shaped vertices before the
correctives; then linear blend skinning over root, neck (never rotated here), jaw, left eye, right eye.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.heads.lbs import hinge_offsets, rotate_about, rotation_matrix
from utils.heads.head_file import Finish, HeadFile, load_head_file
from utils.heads.joints import JAW, ROOT_JOINT


@dataclass(frozen=True)
class Posed:
    """A face before the global rotation."""

    vertices: Tensor  # (B, V, 3)
    unskinned: Tensor  # (B, V, 3) before jaw and eyes turned
    root: Tensor  # (B, 3) the joint about which the head turns


class Flame(nn.Module):
    """A head model as a differentiable function. Its arrays are buffers that are not in `state_dict`.

    The neck does not rotate, so it moves with the root and skinning simplifies: with weights w that sum to 1,
    v' = v + sum over jaw and eyes of w_j (R_j - I)(v - joint_j), then the global rotation about the root joint.
    The tests compare it with the textbook form, which gives the same result.
    """

    template: Tensor  # (3V,)
    directions: Tensor  # (177, 3V) identity, expression, correctives of jaw and eyes
    joint_template: Tensor  # (15,)
    joint_directions: Tensor  # (150, 15)
    weights: Tensor  # (5, V) sums 1 over the joints
    faces: Tensor  # (F, 3) vertex numbers
    held: Tensor  # (n,) of a dressed head: vertices of neck and bust, which stay while the head turns
    held_share: Tensor  # (n, 1) how far they stay
    tongue: Tensor  # (n,) of a dressed head: the tongue's vertices
    tongue_directions: Tensor  # (2, 3n)

    def __init__(self, head: HeadFile) -> None:
        super().__init__()
        self.head = head
        self.n_vertices = head.n_vertices
        self.n_shape = head.shapedirs.shape[-1]
        self.n_exp = head.expdirs.shape[-1]
        template, identity, expression, posedirs, regressor, weights = (
            torch.from_numpy(a).double()
            for a in (head.v_template, head.shapedirs, head.expdirs, head.posedirs, head.j_regressor, head.weights)
        )
        blend = torch.cat([identity, expression], dim=2).flatten(0, 1).T  # (150, 3V)
        correctives = posedirs.flatten(0, 1).T[9:]  # (27, 3V): jaw, left eye, right eye; the neck's stay 0
        joint_blend = torch.einsum("jv,kvx->kjx", regressor, blend.unflatten(1, (-1, 3))).flatten(1)
        self._constant("template", template.flatten())
        self._constant("directions", torch.cat([blend, correctives]))  # (177, 3V)
        self._constant("joint_template", (regressor @ template).flatten())
        self._constant("joint_directions", joint_blend)  # (150, 15)
        self._constant("weights", (weights / weights.sum(1, keepdim=True)).T)  # (5, V)
        self.register_buffer("faces", torch.from_numpy(head.faces), persistent=False)
        if head.finish is not None:
            self._dressed(head.finish, self.weights[ROOT_JOINT])

    def _dressed(self, finish: Finish, share: Tensor) -> None:
        """What only a drawn head does: its shoulders stay, and its tongue has units."""
        held, tongue = share.nonzero()[:, 0], torch.from_numpy(np.flatnonzero(finish.tongue.any((1, 2))))
        self.register_buffer("held", held, persistent=False)
        self.register_buffer("tongue", tongue, persistent=False)
        self._constant("held_share", share[held, None])
        self._constant("tongue_directions", torch.from_numpy(finish.tongue)[tongue].flatten(0, 1).T)

    def _constant(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.float().contiguous(), persistent=False)

    def forward(
        self,
        shape: Tensor,
        exp: Tensor,
        pose: Tensor,
        eye_pose: Tensor | None = None,
        global_rotation: bool = True,
        tongue: Tensor | None = None,
    ) -> Tensor:
        """Vertices (B, V, 3) in metres.

        It runs in the buffers' precision even under autocast: bfloat16 resolves 0.4 mm at 0.1 m from the origin, and
        the vertex losses work on smaller differences than that.

        Args:
            shape: (B, <=100).
            exp: (B, 50).
            pose: (B, 6) axis-angle in radians, global ++ jaw.
            eye_pose: (B, 6) axis-angle in radians, left ++ right; None: eyes at rest.
            global_rotation: False takes pose[:, :3] as 0. A dressed head turns on its shoulders, by the weights of root
                and neck, where any other turns as a whole.
            tongue: (B, 2) weights of a dressed head's tongue (`utils.heads.tongue`).
        """
        with torch.autocast(shape.device.type, enabled=False):
            shape, exp, pose = (x.to(self.template.dtype) for x in (shape, exp, pose))
            eyes = None if eye_pose is None else eye_pose.to(self.template.dtype)
            posed = self._posed(shape, exp, pose, eyes, tongue)
            return self._turned(posed, pose[:, :3]) if global_rotation else posed.vertices

    def _posed(self, shape: Tensor, exp: Tensor, pose: Tensor, eye_pose: Tensor | None, tongue: Tensor | None) -> Posed:
        coefficients = torch.cat([self._padded(shape), exp], dim=1)
        joints = torch.addmm(self.joint_template, coefficients, self.joint_directions).unflatten(1, (-1, 3))
        angles = pose[:, None, 3:6] if eye_pose is None else torch.cat([pose[:, 3:6], eye_pose], 1).unflatten(1, (3, 3))
        rotations = rotation_matrix(angles)  # (B, 1 or 3, 3, 3): jaw [, eyes]
        vertices = self._blend(coefficients, rotations)
        if tongue is not None:
            vertices[:, self.tongue] += (tongue.to(vertices.dtype) @ self.tongue_directions).unflatten(1, (-1, 3))
        moved = vertices
        for i in range(rotations.shape[1]):
            moved = moved + hinge_offsets(vertices, rotations[:, i], joints[:, JAW + i], self.weights[JAW + i])
        return Posed(moved, vertices, joints[:, ROOT_JOINT])

    def _turned(self, posed: Posed, angles: Tensor) -> Tensor:
        rotation = rotation_matrix(angles)
        turned = rotate_about(posed.vertices, rotation, posed.root)
        if self.head.finish is not None:
            shoulders = posed.unskinned[:, self.held]
            turned[:, self.held] += self.held_share * (shoulders - rotate_about(shoulders, rotation, posed.root))
        return turned

    def _padded(self, shape: Tensor) -> Tensor:
        """Shape cut or zero-padded to the number of identity components of this head."""
        return nn.functional.pad(shape[:, : self.n_shape], (0, max(0, self.n_shape - shape.shape[1])))

    def _blend(self, coefficients: Tensor, rotations: Tensor) -> Tensor:
        """Shaped vertices with pose correctives (B, V, 3), in one matrix product."""
        identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
        features = torch.cat([coefficients, (rotations - identity).flatten(1)], dim=1)
        return torch.addmm(self.template, features, self.directions[: features.shape[1]]).unflatten(1, (-1, 3))


def load_flame(path: str | Path | None = None) -> Flame:
    """`Flame` from a head file; None is the open head.

    Raises:
        UserError: see `utils.heads.head_file.load_head_file`.
    """
    return Flame(load_head_file(path))
