"""The conditions of classifier-free guidance: their null vectors, and how often training drops them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

MODES = ("incremental", "independent")
_ALONE, _INDEPENDENT = 0.1, 0.5  # fraction of samples that lose the only condition; that lose each of several


@dataclass(frozen=True)
class Condition:
    """One condition of guidance."""

    null: str
    """Name of the talker's learnt parameter that replaces an absent condition."""
    width: str
    """The field of `TalkerConfig` with the length of that vector."""
    switch: str | None
    """The field of `TalkerConfig` that is None or 0 in models without this input, which is a field of `Person`; None:
    the speech, which every model hears."""
    kept: float
    """Fraction of training samples that keep it, for incremental guidance of several conditions (paper section 3.4)."""
    published_scale: float
    """Default guidance scale for published models."""
    own_scale: float
    """Default guidance scale for our models (docs/model_card.md has the measurements)."""
    distilled_scales: tuple[float, float]
    """The scales that half of the samples have in distillation; the others have `own_scale`."""


# In the order in which incremental guidance adds them: a branch that sees one also sees those before it.
CONDITIONS = {
    "audio": Condition("null_audio_feat", "feature_dim", None, kept=0.9,
                       published_scale=1.15, own_scale=1.15, distilled_scales=(0.5, 2.0)),
    "style": Condition("null_style_feat", "d_style", "style_enc_ckpt", kept=0.55,
                       published_scale=3.0, own_scale=1.5, distilled_scales=(0.0, 3.0)),
}  # fmt: skip
# Every model has columns for these in its arrays of scales and random numbers, even without a style encoder.
PUBLISHED = ("audio", "style")


def parse_conditions(text: str) -> tuple[str, ...]:
    """'audio,style' -> the names in the order of `CONDITIONS`.

    Raises:
        ValueError: an unknown name, or one that occurs twice.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in CONDITIONS:
            raise ValueError(f"{name!r} is not a condition; use {', '.join(CONDITIONS)}, or several with commas")
        if names.count(name) > 1:
            raise ValueError(f"{name!r} is named twice; name each condition once")
    return tuple(name for name in CONDITIONS if name in names)


def dropped_conditions(conditions: Sequence[str], mode: str, u: Tensor) -> dict[str, Tensor]:
    """Draw the conditions that each training sample loses.

    Args:
        conditions: the guided ones; the others are never dropped.
        mode: of guidance. Incremental: one number per sample, so that a dropped condition takes those after it along.
        u: (B, at least len(conditions)) uniform in [0, 1).

    Returns:
        {name: (B,) bool, True = dropped} for all conditions.
    """
    guided = [name for name in CONDITIONS if name in conditions]
    dropped = {name: u.new_zeros(len(u)).bool() for name in CONDITIONS}
    for i, name in enumerate(guided):
        if len(guided) > 1 and mode == "incremental":
            dropped[name] = u[:, 0] > CONDITIONS[name].kept
        else:
            dropped[name] = u[:, i] < (_INDEPENDENT if len(guided) > 1 else _ALONE)
    return dropped
