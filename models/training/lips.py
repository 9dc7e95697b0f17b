"""The opening between the lips as a loss sees it: small errors where lips nearly touch count most."""

import torch
from torch import Tensor, nn

from models.heads.flame import Flame
from models.heads.mouth import LOWER, UPPER
from models.training.vertex_space import VertexSpace, vertex_basis
from utils.coefs import N_EXP, N_SHAPE

NEAR = 2e-3  # metres of opening at which an error counts 1/e of what it counts at shut lips
_WIDE = 0.15  # what an error at a wide-open mouth counts
_N_D = 9


class LipOpening(nn.Module):
    """`models.heads.mouth.mouth_opening` as a function of coefficients, without the other vertices."""

    row: Tensor  # (F',)
    by_shape: Tensor  # (100, 9)
    rest: Tensor  # (n_shape + 1,) opening of each identity component's face at rest, and of the average's

    def __init__(self, flame: Flame) -> None:
        """
        Raises:
            UserError: the head has no lip landmarks.
        """
        super().__init__()
        upper, lower = (3 * flame.head.landmark(name) + 1 for name in (UPPER, LOWER))
        basis = vertex_basis(flame)
        row = (basis[:, upper] - basis[:, lower]).float()
        linear, products = row.split([N_EXP + _N_D, _N_D * (N_SHAPE + N_EXP + _N_D)])
        by_shape, others = products.unflatten(0, (_N_D, -1)).split([N_SHAPE, N_EXP + _N_D], dim=1)
        still = torch.cat([flame.directions[: flame.n_shape], flame.template[None]])
        self.register_buffer("row", torch.cat([linear, others.flatten()]), persistent=False)
        self.register_buffer("by_shape", by_shape.T.contiguous(), persistent=False)
        self.register_buffer("rest", still[:, upper] - still[:, lower], persistent=False)

    def forward(self, exp: Tensor, pose: Tensor, shape: Tensor) -> Tensor:
        """Raw exp (B, L, 50), pose (B, L, 6), shape (B, 100) -> opening (B, L) in metres."""
        features = VertexSpace.features(exp, pose)
        rest = shape[:, : len(self.rest) - 1] @ self.rest[:-1] + self.rest[-1]
        moved = torch.bmm(features[..., N_EXP : N_EXP + _N_D], (shape @ self.by_shape)[..., None])[..., 0]
        return rest[:, None] + features @ self.row + moved


def importance(opening: Tensor) -> Tensor:
    """What an error at this true opening (metres) counts: 1 at shut lips, little at wide-open ones."""
    return _WIDE + (1 - _WIDE) * torch.exp(-opening.clamp(min=0) / NEAR)
