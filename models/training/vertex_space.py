"""Squared vertex distances without vertices: an exact and much smaller form of skinned meshes for L2 losses.

With the head rotation left out and the eyes at rest, a vertex is linear in a feature vector f of the coefficients:

    v = const(shape) + M f,   f = [exp, vec(D), vec(D) x [shape, exp], vec(D) x vec(D)],   D = R_jaw - I

(blend shapes are linear in exp; correctives are linear in D; skinning multiplies both, and the jaw joint, by D).
The constant cancels in every difference of the losses, between prediction and truth and over time alike. With the
eigendecomposition M^T M = U L U^T, |M f|^2 = |L^(1/2) U^T f|^2: a few hundred numbers instead of 15,000. The shape is
the same for all frames of a clip, so vec(D) x shape is never written out: its rows of the projection, contracted with
the shape, make a 9-row matrix for each clip.
"""

import torch
from torch import Tensor, nn

from models.heads.flame import Flame
from models.heads.lbs import rotation_matrix
from utils.coefs import N_EXP, N_SHAPE
from utils.heads.joints import JAW

_N_D = 9  # entries of D


class VertexFunctions(nn.Module):
    """K linear functions of vertex motion, in non-persistent buffers; nothing is trained."""

    projection: Tensor  # (F', K)
    by_shape: Tensor  # (100, 9, K)

    def __init__(self, rows: Tensor) -> None:
        """rows (F, K): what each row of `vertex_basis` contributes to the functions."""
        super().__init__()
        linear, products = rows.float().split([N_EXP + _N_D, _N_D * (N_SHAPE + N_EXP + _N_D)])
        by_shape, others = products.unflatten(0, (_N_D, -1)).split([N_SHAPE, N_EXP + _N_D], dim=1)
        self.register_buffer("projection", torch.cat([linear, others.flatten(0, 1)]), persistent=False)
        self.register_buffer("by_shape", by_shape.transpose(0, 1).contiguous(), persistent=False)

    @staticmethod
    def features(exp: Tensor, pose: Tensor) -> Tensor:
        """Raw exp (..., 50), pose (..., 6) -> features (..., F') except the shape's; pose[..., :3] is ignored."""
        change = rotation_matrix(pose[..., 3:6]) - torch.eye(3, dtype=pose.dtype, device=pose.device)
        d = change.flatten(-2)
        linear = torch.cat([exp, d], dim=-1)
        return torch.cat([linear, (d[..., :, None] * linear[..., None, :]).flatten(-2)], dim=-1)

    def project(self, features: Tensor, shape: Tensor) -> Tensor:
        """Features (B, L, F'), or their differences, of clips with raw shape (B, 100) -> values (B, L, K)."""
        of_clip = (shape @ self.by_shape.flatten(1)).unflatten(1, (_N_D, -1))  # (B, 9, K)
        return torch.baddbmm(features @ self.projection, features[..., N_EXP : N_EXP + _N_D], of_clip)


class VertexSpace(VertexFunctions):
    """Isometric coordinates of vertex motion.

    The mean square of `project(features(a) - features(b), shape)` over its components equals that of the difference of
    the vertices over vertices and xyz.
    """

    def __init__(self, flame: Flame, tolerance: float = 1e-12) -> None:
        """
        Args:
            tolerance: eigenvalues below this fraction of the largest are dropped (float32 carries 1e-7 of a distance,
                1e-14 of its square).
        """
        basis = vertex_basis(flame)  # (F, 3V) float64
        eigenvalues, eigenvectors = torch.linalg.eigh(_products(basis))
        keep = eigenvalues > tolerance * eigenvalues[-1]
        projection = eigenvectors[:, keep] * eigenvalues[keep].sqrt()
        # so that means over the kept ones equal means over 3V
        super().__init__(projection * (int(keep.sum()) / basis.shape[1]) ** 0.5)


@torch.no_grad()
def vertex_basis(flame: Flame) -> Tensor:
    """The matrix M^T (F, 3V) float64: the displacement of the vertices per unit of each feature."""
    n_vertices = flame.n_vertices
    directions = flame.directions.double().unflatten(1, (n_vertices, 3))
    n_blend = flame.n_shape + flame.n_exp
    blend, correctives = _padded(directions[:n_blend], flame.n_shape), directions[n_blend : n_blend + _N_D]
    joint = _padded(flame.joint_directions.double(), flame.n_shape)[:, 3 * JAW : 3 * JAW + 3]
    at_rest = (
        flame.template.double().unflatten(0, (n_vertices, 3)) - flame.joint_template.double()[3 * JAW : 3 * JAW + 3]
    )
    weight = flame.weights[JAW].double()[:, None]

    def skinned(directions: Tensor) -> Tensor:
        """w D u for every entry of D: directions u (N, V, 3) -> (9, N, V, 3), only component a of D[a, b] is set."""
        moved = torch.zeros(3, 3, *directions.shape, dtype=directions.dtype, device=directions.device)
        for a in range(3):
            for b in range(3):
                moved[a, b, ..., a] = (weight * directions)[..., b]
        return moved.flatten(0, 1)

    linear_d = correctives + skinned(at_rest[None])[:, 0]
    products = skinned(torch.cat([blend - joint[:, None], correctives]))  # (9, 150 + 9, V, 3)
    return torch.cat([blend[N_SHAPE:], linear_d, products.flatten(0, 1)]).flatten(1)


def _products(basis: Tensor) -> Tensor:
    """basis @ basis.T; most rows move vertices along one axis only, so that the product is made axis by axis."""
    total = basis.new_zeros(len(basis), len(basis))
    for part in basis.unflatten(1, (-1, 3)).unbind(2):
        moving = part.any(dim=1).nonzero()[:, 0]
        moved = part[moving]
        total[moving[:, None], moving] += moved @ moved.T
    return total


def _padded(directions: Tensor, n_shape: int) -> Tensor:
    """(n_shape + 50, ...) -> (100 + 50, ...), with zeros for identity components that this head lacks."""
    missing = directions.new_zeros(N_SHAPE - n_shape, *directions.shape[1:])
    return torch.cat([directions[:n_shape], missing, directions[n_shape : n_shape + N_EXP]])
