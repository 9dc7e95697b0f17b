"""Costs of the expressions in the fit: which are fitted, how sparse, how steady and how symmetric they are."""

from __future__ import annotations

from dataclasses import replace

import torch

from models.tracking.solver import Prior
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
JAW_MOST = 0.5  # radians
# Of FLAME's expressions, which are principal components of unit variance.
SQUARE_FLAME, STEADY_FLAME, JUMP_FLAME, REST_FLAME = 0.3, 1.0, 0.5, 0.15
PERSON_FLAME = 2.0  # with less, heads become too deep and turns too small


def fitted_units(head: HeadFile) -> torch.Tensor:
    """Indices (M,) of the expressions that landmarks show; of FLAME's, which have no names, all."""
    names = head.exp_names or [""] * head.expdirs.shape[-1]
    return torch.tensor([k for k, name in enumerate(names) if not name.startswith(UNSEEN)])


def usual_prior(head: HeadFile) -> Prior:
    """The costs that `benchmarks.people.tracking` was measured with; for a head like FLAME a Gaussian."""
    n = head.expdirs.shape[-1]
    prior = _gaussian(n) if head.exp_names is None else _units(head.exp_names)
    prior.linear[n], prior.square[n], prior.steady[n], prior.jump[n] = LINEAR_JAW, SQUARE_JAW, STEADY_JAW, JUMP
    prior.least[n], prior.most[n], prior.at_rest[n] = 0, JAW_MOST, 0
    return prior


def _empty(n: int) -> Prior:
    """No costs of n expressions and the jaw, bounds 0 and 1."""
    rest, linear, square, steady, jump, least, most, at_rest = torch.zeros(8, n + 1).double()
    rigid = torch.tensor([SPIN, SPIN, SPIN, SHIFT, SHIFT, DEPTH]).double()
    pairs = torch.zeros(n + 1, n + 1).double()
    return Prior(
        rest, linear, square, steady, jump + JUMP, rigid, pairs, least, most + 1, torch.tensor(1.0).double(), at_rest
    )


def _gaussian(n: int) -> Prior:
    prior, every = _empty(n), torch.ones(n + 1).double()
    prior = replace(prior, person=torch.tensor(PERSON_FLAME).double(), at_rest=REST_FLAME * every)
    return replace(prior, square=SQUARE_FLAME * every, steady=STEADY_FLAME * every, jump=JUMP_FLAME * every,
                   least=-torch.inf * every, most=torch.inf * every)  # fmt: skip


def _units(names: list[str]) -> Prior:
    prior = _empty(len(names))
    for k, name in enumerate(names):
        share = BLINK_FREE if name.startswith(("eyeBlink", "eyeLook", "eyeWide")) else 1.0
        share = RARE_COST if name.startswith(RARE) else share
        prior.linear[k], prior.square[k] = LINEAR * share * (name not in AT_REST), SQUARE * share
        prior.rest[k] = AT_REST.get(name, 0.0)
        prior.steady[k] = STEADY_LOOK if name.startswith(LOOK) else STEADY_BROW if name.startswith(BROW) else STEADY
        other = name.replace("Left", "Right")
        if other != name and name.endswith("Left") and len(name) > len("mouthLeft") and not name.startswith(LOOK):
            at = torch.tensor([k, names.index(other)])
            cost = PAIRED * share
            prior.pairs[at, at] += cost
            prior.pairs[at, at.flip(0)] -= cost
    return prior
