"""Classifier-free guidance on audio and style, and dynamic thresholding (paper section 3.4; Saharia et al. 2022)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from models.networks.conditions import CONDITIONS, MODES, PUBLISHED

Scales = Mapping[str, float | Tensor]
PUBLISHED_SCALES = {name: condition.published_scale for name, condition in CONDITIONS.items()}
OWN_SCALES = {name: condition.own_scale for name, condition in CONDITIONS.items()}


@dataclass(frozen=True)
class DynamicThreshold:
    """Clamp a prediction to its own quantile: s = clamp(quantile_ratio(|x|), minimum, maximum), x in [-s, s]."""

    ratio: float
    minimum: float = 1.0
    maximum: float = 4.0

    def __call__(self, x: Tensor) -> Tensor:
        """x (B, L, D); one s per sample."""
        s = torch.quantile(x.abs().flatten(1), self.ratio, dim=1).clamp(self.minimum, self.maximum)
        s = s.view(-1, 1, 1)
        return torch.minimum(torch.maximum(x, -s), s)


@dataclass(frozen=True)
class Guidance:
    """Which conditions are guided, how, and how strongly; an unguided condition is given to every branch.

    Conditions that a network has no input for are left out when it is used.
    """

    conditions: tuple[str, ...] = PUBLISHED
    mode: str = "incremental"
    scales: Scales = field(default_factory=PUBLISHED_SCALES.copy, hash=False)
    """Scale of each condition: a number, or (B, 1, 1), one per sample. The default is that of the published demo."""
    threshold: DynamicThreshold | None = None
    folded: bool = False
    """The network was distilled with guidance: it takes the scales as input, and is evaluated once."""

    def __post_init__(self) -> None:
        unknown = [name for name in (*self.conditions, *self.scales) if name not in CONDITIONS]
        if unknown:
            raise ValueError(f"guiding condition {unknown[0]!r} is unknown; use {', '.join(CONDITIONS)}")
        if self.mode not in MODES:
            raise ValueError(f"guidance mode {self.mode!r} is unknown; use one of {', '.join(MODES)}")
        object.__setattr__(self, "scales", PUBLISHED_SCALES | dict(self.scales))

    def among(self, available: Collection[str]) -> Guidance:
        """The same without conditions that a network has no input for."""
        return replace(self, conditions=tuple(name for name in self.conditions if name in available))

    def folded_into(self, conditions: tuple[str, ...], mode: str) -> Guidance:
        """This guidance for a network that was distilled with guidance of these conditions, in this mode.

        Raises:
            ValueError: other conditions or another mode, or dynamic thresholding, which needs branches.
        """
        if self.threshold is not None:
            raise ValueError("dynamic thresholding needs guidance branches, which a distilled model does not have")
        if (frozenset(self.conditions), self.mode) != (frozenset(conditions), mode):
            raise ValueError(f"this distilled model knows {mode} guidance of {', '.join(conditions)} only")
        return replace(self, folded=True)

    @property
    def guided(self) -> tuple[str, ...]:
        """Guided conditions in the order of `CONDITIONS`."""
        return tuple(name for name in CONDITIONS if name in self.conditions)

    def branches(self) -> list[frozenset[str]]:
        """The conditions that each network branch sees, null branch first.

        incremental (audio, style): nothing, audio, audio + style; independent: nothing, audio, style.
        """
        if self.folded:
            return [frozenset(CONDITIONS)]
        always = frozenset(CONDITIONS) - frozenset(self.guided)
        sets = [frozenset()]
        for name in self.guided:
            sets.append(sets[-1] | {name} if self.mode == "incremental" else frozenset({name}))
        return [always | seen for seen in sets]

    def distinct(self, condition: str) -> list[bool]:
        """Whether branches see a condition: [False, True] if they differ, else one value."""
        return sorted({condition in seen for seen in self.branches()})

    def weights(self) -> list[float] | None:
        """Weights of the predictions in `combine`, with sum 1; None if `combine` is not a fixed weighted sum."""
        if self.folded:
            return [1.0]
        scales = [self.scales[name] for name in self.guided]
        numbers = [scale for scale in scales if not isinstance(scale, Tensor)]
        if self.threshold is not None or len(numbers) < len(scales):
            return None
        weights = [1.0] + [0.0] * len(self.guided)
        for i, scale in enumerate(numbers, start=1):
            weights[i] += scale
            weights[i - 1 if self.mode == "incremental" else 0] -= scale
        return weights

    def combine(self, predictions: list[Tensor]) -> Tensor:
        """Predictions of `branches()`, each (B, L, D), -> the guided prediction.

        incremental: n + s_a (a - n) + s_s (as - a); independent: n + s_a (a - n) + s_s (s - n).
        """
        if self.folded:
            return predictions[0]
        if self.threshold is not None:
            predictions = [self.threshold(x) for x in predictions]
        guided = predictions[0]
        for i, name in enumerate(self.guided, start=1):
            base = predictions[i - 1] if self.mode == "incremental" else predictions[0]
            guided = _add_scaled(guided, predictions[i] - base, self.scales[name])
        return guided


def _add_scaled(total: Tensor, change: Tensor, scale: float | Tensor) -> Tensor:
    if isinstance(scale, Tensor):
        return torch.addcmul(total, change, scale)
    return torch.add(total, change, alpha=scale)
