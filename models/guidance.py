"""Classifier-free guidance on audio and style, and dynamic thresholding (paper section 3.4; Saharia et al. 2022)."""

from dataclasses import dataclass

import torch
from torch import Tensor

MODES = ("incremental", "independent")
CONDITIONS = ("audio", "style")  # the order in which incremental guidance adds them


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
    """Which conditions are guided, how, and how strongly; an unguided condition is given to every branch."""

    conditions: tuple[str, ...] = CONDITIONS
    mode: str = "incremental"
    audio_scale: float = 1.15
    style_scale: float = 3.0
    threshold: DynamicThreshold | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.conditions if name not in CONDITIONS]
        if unknown:
            raise ValueError(f"guiding condition {unknown[0]!r} is unknown; use audio, style or audio,style")
        if self.mode not in MODES:
            raise ValueError(f"guidance mode {self.mode!r} is unknown; use one of {', '.join(MODES)}")

    @property
    def guided(self) -> tuple[str, ...]:
        """Guided conditions in canonical order."""
        return tuple(name for name in CONDITIONS if name in self.conditions)

    def branches(self) -> list[frozenset[str]]:
        """The conditions that each network branch sees, null branch first.

        incremental (audio, style): nothing, audio, audio + style; independent: nothing, audio, style.
        """
        always = frozenset(CONDITIONS) - frozenset(self.guided)
        sets = [frozenset()]
        for name in self.guided:
            sets.append(sets[-1] | {name} if self.mode == "incremental" else frozenset({name}))
        return [always | seen for seen in sets]

    def combine(self, predictions: list[Tensor]) -> Tensor:
        """Predictions of `branches()`, each (B, L, D), -> the guided prediction.

        incremental: n + s_a (a - n) + s_s (as - a); independent: n + s_a (a - n) + s_s (s - n).
        """
        if self.threshold is not None:
            predictions = [self.threshold(x) for x in predictions]
        scales = {"audio": self.audio_scale, "style": self.style_scale}
        guided = predictions[0]
        for i, name in enumerate(self.guided, start=1):
            base = predictions[i - 1] if self.mode == "incremental" else predictions[0]
            guided = torch.add(guided, predictions[i] - base, alpha=scales[name])
        return guided
