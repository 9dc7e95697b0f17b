"""Costs of the expressions in the fit: which are fitted, how sparse, how steady and how symmetric they are."""

from __future__ import annotations

import torch

from models.tracking.solver import Prior
from utils.errors import UserError
from utils.heads.head_file import HeadFile

# Landmarks do not show these; see `models.tracking.unseen`.
UNSEEN = ("cheekPuff", "cheekSquint", "eyeSquint", "jawForward", "jawLeft", "jawRight", "noseSneer")
LOOK = "eyeLook"
STEADY, STEADY_LOOK, STEADY_JAW = 4.0, 2.0, 100.0
LINEAR, SQUARE = 1.5, 1.5  # cost of an expression
LINEAR_JAW, SQUARE_JAW = 4.0, 10.0
RARE = ("mouthShrug", "mouthLeft", "mouthRight", "mouthFrown", "mouthDimple", "mouthStretch", "mouthPress", "browDown",
        "browOuterUp")  # fmt: skip
RARE_COST = 3.0
BROW, STEADY_BROW = "brow", 12.0
# Expressions of a face at rest. Without them, a mouth narrower than at rest could not be fitted.
AT_REST = {"mouthSmileLeft": 0.08, "mouthSmileRight": 0.08, "browInnerUp": 0.1}
BLINK_FREE = 0.3  # factor of these costs for the lids
PAIRED = 4.0  # cost of a squared difference between left and right
JUMP = 0.08
SPIN, SHIFT, DEPTH = 4000.0, 1e4, 1e5  # cost per squared radian and metre


def fitted_units(head: HeadFile) -> torch.Tensor:
    """Indices (M,) of the expressions that landmarks show.

    Raises:
        UserError: the head's expressions have no names, like those of FLAME.
    """
    if head.exp_names is None:
        raise UserError(f"{head.name}: its expressions have no names; videos are tracked on the open head")
    return torch.tensor([k for k, name in enumerate(head.exp_names) if not name.startswith(UNSEEN)])


def usual_prior(head: HeadFile) -> Prior:
    """The costs that `benchmarks.people.tracking` was measured with."""
    names = head.exp_names or []
    n = len(names)
    linear, square, steady, rest = (torch.zeros(n + 1).double() for _ in range(4))
    pairs = torch.zeros(n + 1, n + 1).double()
    for k, name in enumerate(names):
        share = BLINK_FREE if name.startswith(("eyeBlink", "eyeLook", "eyeWide")) else 1.0
        share = RARE_COST if name.startswith(RARE) else share
        linear[k], square[k], rest[k] = LINEAR * share * (name not in AT_REST), SQUARE * share, AT_REST.get(name, 0.0)
        steady[k] = STEADY_LOOK if name.startswith(LOOK) else STEADY_BROW if name.startswith(BROW) else STEADY
        other = name.replace("Left", "Right")
        if other != name and name.endswith("Left") and len(name) > len("mouthLeft") and not name.startswith(LOOK):
            at = torch.tensor([k, names.index(other)])
            cost = PAIRED * share
            pairs[at, at] += cost
            pairs[at, at.flip(0)] -= cost
    linear[n], square[n], steady[n] = LINEAR_JAW, SQUARE_JAW, STEADY_JAW
    jump = torch.full((n + 1,), JUMP).double()
    rigid = torch.tensor([SPIN, SPIN, SPIN, SHIFT, SHIFT, DEPTH]).double()
    return Prior(rest, linear, square, steady, jump, rigid, pairs)
