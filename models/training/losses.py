"""Training losses of the denoising network (paper section 3.3, eqs. 5-12) and of the style encoder (eq. 4).

All means are taken over the valid elements of the batch. A difference counts if its last frame is valid.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.heads.flame import Flame
from models.training.lips import LipOpening, importance
from models.training.vertex_space import VertexSpace
from utils.coefs import MotionCodec
from utils.config import flag

TERMS = ("noise", "vert", "vel", "smooth", "head_angle", "head_vel", "head_smooth", "head_trans", "lips")


@dataclass(frozen=True)
class LossConfig:
    """Distance and weights of the losses; field names are the published flags of `main_dpt.py`.

    The reconstruction term has weight 1.
    """

    criterion: str = flag("l2", choices=("l1", "l2"))
    """Distance that every term measures (l2 is squared)."""
    l_vert: float = 2e6
    """Weight of the vertices (metres)."""
    l_vel: float = 1e7
    """Weight of the vertex velocity (metres per frame)."""
    l_smooth: float = 1e5
    """Weight of the predicted vertex acceleration."""
    l_head_angle: float = 0.05
    """Weight of the normalised head rotation."""
    l_head_vel: float = 5.0
    """Weight of the head's angular velocity."""
    l_head_smooth: float = 0.5
    """Weight of the head's predicted angular acceleration."""
    l_head_trans: float = 0.5
    """Weight of the head's transition into a window."""
    l_lips: float = 0.0
    """Weight of the opening between the lips (metres), foremost where they nearly touch; 0: off."""
    no_constrain_prev: bool = False
    """Leave the network's output for the previous frames unconstrained."""

    @property
    def has_vertices(self) -> bool:
        """Whether any term measures vertices."""
        return self.l_vert > 0 or self.l_vel > 0 or self.l_smooth > 0

    def weights(self) -> dict[str, float]:
        return {name: 1.0 if name == "noise" else getattr(self, f"l_{name}") for name in TERMS}

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Weighted sum."""
        weights = self.weights()
        return reduce(torch.add, (weights[name] * value for name, value in terms.items()))


Projection = Callable[[Tensor], Tensor] | None


def magnitude(kind: str, error: Tensor, valid: Tensor) -> Tensor:
    """Mean of error^2 (l2) or |error| (l1) over valid frames; error (B, L, C), valid (B, L) bool."""
    size = error.square() if kind == "l2" else error.abs()
    mask = valid.to(size.dtype)
    # At least 1: a batch of one clip that is cut to one frame has no velocity.
    return (size.sum(2) * mask).sum() / (mask.sum() * size.shape[2]).clamp(min=1)


def diff(x: Tensor, order: int = 1) -> Tensor:
    """Finite differences over time (B, L, ...) -> (B, L - order, ...)."""
    return torch.diff(x, n=order, dim=1)


@dataclass(frozen=True)
class Window:
    """One window of motion to compare: `n_context` frames that only serve differences, then the counted frames."""

    predicted: Tensor  # (B, C + N, D) normalised
    truth: Tensor  # (B, C + N, D)
    valid: Tensor  # (B, C + N) bool
    n_context: int

    def counted(self, order: int) -> int:
        """First entry of an `order`-th difference that counts: the one whose last frame is the first counted frame."""
        return max(0, self.n_context - order)


def make_window(output: Tensor, truth: Tensor, prev: Tensor | None, ends: Tensor, config: LossConfig) -> Window:
    """Line up the network's output (B, P + L, D) with the truth (B, L, D) and the previous frames (B, P, D).

    A first clip (prev None) has the L new frames alone. A later clip has all P + L frames; with `no_constrain_prev` the
    true previous frames replace the predicted ones and only serve differences. ends (B,): number of valid new frames.
    """
    n_frames = truth.shape[1]
    valid = torch.arange(n_frames, device=truth.device) < ends[:, None]
    new = output[:, -n_frames:]
    if prev is None:
        return Window(new, truth, valid, 0)
    valid = torch.cat([valid.new_ones(prev.shape[:2]), valid], dim=1)
    everything = torch.cat([prev, truth], dim=1)
    if config.no_constrain_prev:
        return Window(torch.cat([prev, new], dim=1), everything, valid, prev.shape[1])
    return Window(output, everything, valid, 0)


class MotionLoss:
    """Unweighted loss terms of one clip by name, without those that do not apply."""

    compiled: Callable[..., dict[str, Tensor]] | None = None

    def __init__(
        self, config: LossConfig, target: str, codec: MotionCodec, flame: Flame, compressed: bool = True
    ) -> None:
        """`compressed` measures vertices in their `VertexSpace` (l2 only); False is the equal plain form."""
        if config.criterion not in ("l1", "l2"):
            raise ValueError(f"criterion {config.criterion!r} is unknown; use l1 or l2")
        self.config, self.target, self.codec, self.flame = config, target, codec, flame
        squared = compressed and config.has_vertices and config.criterion == "l2" and target == "sample"
        device = flame.template.device
        self.space = VertexSpace(flame).to(device) if squared else None
        self.lips = LipOpening(flame).to(device) if config.l_lips > 0 else None

    def __call__(
        self, output: Tensor, truth: Tensor, prev: Tensor | None, noise: Tensor, shape: Tensor, ends: Tensor | None
    ) -> dict[str, Tensor]:
        """Terms for one clip. Compiled, if at all, only with gradients: validation has batches of many sizes.

        Args:
            output: (B, P + L, D) network output.
            truth: (B, L, D) normalised motion.
            prev: (B, P, D) true previous motion, None for a first clip.
            noise: (B, L, D) the noise that was added (the target of a noise-predicting network).
            shape: (B, 100) normalised shape.
            ends: (B,) number of valid frames, None for all.
        """
        if ends is None:  # the same code as for others, so that it is compiled once
            ends = torch.full((len(truth),), truth.shape[1], device=truth.device)
        run = self.compiled if self.compiled is not None and torch.is_grad_enabled() else self._terms
        return run(output, truth, prev, noise, shape, ends)

    def compile(self, **options: Any) -> None:
        """Fuse the hundreds of small kernels of the terms; options as for `torch.compile`."""
        self.compiled = torch.compile(self._terms, dynamic=False, **options)

    def _terms(
        self, output: Tensor, truth: Tensor, prev: Tensor | None, noise: Tensor, shape: Tensor, ends: Tensor
    ) -> dict[str, Tensor]:
        if self.target == "noise":
            return {"noise": F.mse_loss(output[:, -truth.shape[1] :], noise)}
        window = make_window(output, truth, prev, ends, self.config)
        terms = {"noise": self._compare(window, window.predicted - window.truth)}
        terms |= self._vertex_terms(window, shape) | self._lip_term(window, shape)
        if self.codec.layout.head_pose:
            terms |= self._head_terms(window)
            if prev is not None:
                terms["head_trans"] = self._transition(window, prev)
        return terms

    def _compare(self, window: Window, error: Tensor, order: int = 0) -> Tensor:
        """Size of an error's differences of this order, over those that end on a counted and valid frame."""
        start = window.counted(order)
        return magnitude(self.config.criterion, diff(error, order)[:, start:], window.valid[:, start + order :])

    def _acceleration(self, window: Window, predicted: Tensor, project: Projection = None) -> Tensor:
        """Size of the predicted acceleration, the difference of neighbouring velocities."""
        start = window.counted(2)
        acceleration = diff(predicted, 2)[:, start:]
        if project is not None:  # after the difference, which is tiny and would lose digits otherwise
            acceleration = project(acceleration)
        return magnitude(self.config.criterion, acceleration, window.valid[:, start + 2 :])

    def _vertex_terms(self, window: Window, shape: Tensor) -> dict[str, Tensor]:
        """Vertices, their velocity and acceleration, without global rotation (paper eqs. 6-8)."""
        if not self.config.has_vertices:
            return {}
        shape = self.codec.stats.denormalise("shape", shape)
        predicted, truth = self._geometry(window.predicted, shape), self._geometry(window.truth, shape)
        error, project = predicted - truth, None
        if self.space is not None:
            project = partial(self.space.project, shape=shape)
            error = project(error)  # once: the difference of this error is the error of the velocity
        return {
            "vert": self._compare(window, error),
            "vel": self._compare(window, error, order=1),
            "smooth": self._acceleration(window, predicted, project),
        }

    def _lip_term(self, window: Window, shape: Tensor) -> dict[str, Tensor]:
        """Opening between the lips, weighted by `importance` (not in the paper)."""
        if self.lips is None:
            return {}
        shape = self.codec.stats.denormalise("shape", shape)
        predicted, truth = (self.lips(*self.codec.decode(x), shape) for x in (window.predicted, window.truth))
        weight = importance(truth)
        size = weight.sqrt() if self.config.criterion == "l2" else weight
        return {"lips": self._compare(window, ((predicted - truth) * size)[..., None])}

    def _geometry(self, motion: Tensor, shape: Tensor) -> Tensor:
        """Normalised motion (B, L, D), raw shape (B, 100) -> vertices (B, L, 3V), or `VertexSpace` features instead."""
        exp, pose = self.codec.decode(motion)
        if self.space is not None:
            return self.space.features(exp, pose)
        shape = shape[:, None].expand(-1, motion.shape[1], -1)
        flat = self.flame(shape.flatten(0, 1), exp.flatten(0, 1), pose.flatten(0, 1), global_rotation=False)
        return flat.flatten(1).unflatten(0, motion.shape[:2])

    def _head_terms(self, window: Window) -> dict[str, Tensor]:
        """Normalised head rotation, its velocity and acceleration (paper eqs. 9-11)."""
        rotation = self.codec.layout.rotation
        error = (window.predicted - window.truth)[..., rotation]
        return {
            "head_angle": self._compare(window, error),
            "head_vel": self._compare(window, error, order=1),
            "head_smooth": self._acceleration(window, window.predicted[..., rotation]),
        }

    def _transition(self, window: Window, prev: Tensor) -> Tensor:
        """Smooth entry into the window (paper eq. 12): velocity and acceleration must not jump at the seam.

        It uses 3 true previous and 3 predicted frames, but not the truth of the new frames.
        """
        rotation, first = self.codec.layout.rotation, prev.shape[1]
        seam = torch.cat([prev[:, -3:, rotation], window.predicted[:, first : first + 3, rotation]], dim=1)
        valid = window.valid[:, first : first + 3]
        velocity, acceleration = diff(seam), diff(seam, 2)
        kind = self.config.criterion
        return magnitude(kind, diff(velocity[:, 1:4]), valid[:, :2]) + magnitude(kind, diff(acceleration), valid)


def nt_xent(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy over a batch's 2B features (Chen et al. 2020; paper eq. 4).

    a, b (B, D): two views of the same B clips; each feature's positive is its other view, all others are negatives.
    """
    features = F.normalize(torch.cat([a, b]), dim=1)
    similarity = features @ features.T / temperature
    similarity = similarity.masked_fill(torch.eye(len(features), dtype=torch.bool, device=a.device), -torch.inf)
    positive = torch.arange(len(features), device=a.device).roll(len(a))
    return F.cross_entropy(similarity, positive)
