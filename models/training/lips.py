"""The opening between the lips as a loss sees it: small errors where lips nearly touch count most."""

import torch
from torch import Tensor

from models.heads.flame import Flame
from models.heads.mouth import LOWER, UPPER
from models.training.vertex_space import VertexFunctions, vertex_basis

NEAR = 2e-3  # metres of opening at which an error counts 1/e of what it counts at shut lips
_WIDE = 0.15  # what an error at a wide-open mouth counts


class LipOpening(VertexFunctions):
    """`models.heads.mouth.mouth_opening` as a function of coefficients, without the other vertices."""

    rest: Tensor  # (n_shape + 1,) opening of each identity component's face at rest, and of the average's

    def __init__(self, flame: Flame) -> None:
        """
        Raises:
            UserError: the head has no lip landmarks.
        """
        upper, lower = (3 * flame.head.landmark(name) + 1 for name in (UPPER, LOWER))
        basis = vertex_basis(flame)
        super().__init__((basis[:, upper] - basis[:, lower])[:, None])
        still = torch.cat([flame.directions[: flame.n_shape], flame.template[None]])
        self.register_buffer("rest", still[:, upper] - still[:, lower], persistent=False)

    def forward(self, exp: Tensor, pose: Tensor, shape: Tensor) -> Tensor:
        """Raw exp (B, L, 50), pose (B, L, 6), shape (B, 100) -> opening (B, L) in metres."""
        rest = shape[:, : len(self.rest) - 1] @ self.rest[:-1] + self.rest[-1]
        return rest[:, None] + self.project(self.features(exp, pose), shape)[..., 0]


def importance(opening: Tensor) -> Tensor:
    """What an error at this true opening (metres) counts: 1 at shut lips, little at wide-open ones."""
    return _WIDE + (1 - _WIDE) * torch.exp(-opening.clamp(min=0) / NEAR)
