"""Speaking styles: the continuous parameters that tell one synthetic speaker's face from another's."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from utils.errors import UserError


@dataclass(frozen=True)
class SpeakerStyle:
    """How one speaker moves. The defaults are the style "normal"; gains are relative to it."""

    jaw: float = 1.0
    """Gain of the jaw's opening."""
    lips: float = 1.0
    """Gain of raising the upper and lowering the lower lip."""
    rounding: float = 1.0
    """Gain of funnel and pucker."""
    spread: float = 1.0
    """Gain of the stretched lips of front vowels and s."""
    expressiveness: float = 0.25
    """How much louder syllables open the mouth more (share per standard deviation of loudness)."""
    coarticulation: float = 1.0
    """Width of the phones' influence on their neighbours; above 1 is smoother and slurs more."""
    smile: float = 0.05
    """Lasting smile (ARKit units); negative values are a frown."""
    rest_open: float = 0.01
    """How far the jaw hangs in pauses (jawOpen units)."""
    breath: float = 1.0
    """Gain of the mouth's opening for a breath before a phrase."""
    asymmetry: float = 0.0
    """Left against right half of the mouth, -1 to 1."""
    brow_bias: float = 0.0
    """Lasting raise (positive) or frown (negative) of the brows."""
    brow_activity: float = 1.0
    """Size and number of brow raises on accents."""
    squint: float = 0.05
    """Lasting tension of the lower lids."""
    blink_rate: float = 29.0
    """Blinks per minute while talking."""
    gaze_activity: float = 1.0
    """Gain of eye movements: size of saccades, and how often the eyes leave the listener."""
    head_pitch: float = 0.0
    """Mean head pose in degrees, positive looks down."""
    head_yaw: float = 0.0
    """Mean head pose in degrees, positive turns to the speaker's left."""
    head_roll: float = 0.0
    """Mean head pose in degrees, positive tilts to the speaker's right."""
    head_amplitude: float = 1.0
    """Gain of all head motion."""
    head_speed: float = 1.0
    """Gain of the drift's frequencies."""
    nod_rate: float = 0.4
    """Share of the accents that carry a nod."""
    mouth_smoothness: float = 0.3
    """0 (crisp) to 1 (soft): low-pass of the articulation and slower ways into and out of closures."""
    head_smoothness: float = 0.3
    """0 (abrupt) to 1 (flowing): low-pass of the head and longer movements."""


def style_names() -> list[str]:
    """Names that `named_style` knows."""
    return list(_NAMED)


def named_style(name: str) -> SpeakerStyle:
    """One of the styles with a name.

    Raises:
        UserError: an unknown name.
    """
    if name not in _NAMED:
        raise UserError(f"--style {name}: no such style; choose from {', '.join(_NAMED)}")
    return _NAMED[name]


_NAMED = {
    "normal": SpeakerStyle(),
    "big_mouth": SpeakerStyle(
        jaw=1.6, lips=1.35, rounding=1.25, spread=1.15, expressiveness=0.35, brow_activity=1.2, mouth_smoothness=0.15
    ),
    "small_mouth": SpeakerStyle(
        jaw=0.45, lips=0.6, rounding=0.75, spread=0.75, expressiveness=0.1, coarticulation=1.1, mouth_smoothness=0.5
    ),
    "smile": SpeakerStyle(smile=0.5, spread=1.1, brow_bias=0.06, squint=0.12, brow_activity=1.2),
    "serious": SpeakerStyle(
        smile=-0.2,
        jaw=0.85,
        spread=0.8,
        brow_bias=-0.42,
        squint=0.2,
        brow_activity=0.4,
        head_amplitude=0.7,
        head_smoothness=0.5,
        nod_rate=0.3,
    ),
    "large_head_movements": SpeakerStyle(head_amplitude=1.8, head_speed=1.15, nod_rate=0.6, brow_activity=1.3),
    "small_head_movements": SpeakerStyle(head_amplitude=0.3, head_speed=0.9, nod_rate=0.2, brow_activity=0.8),
}


def sample_style(rng: np.random.Generator) -> SpeakerStyle:
    """A random speaker. The ranges reach a little past every named style, so that those are interpolations."""
    effort = rng.normal(0, 0.36)  # jaw and lips mostly go together; some speakers favour one of them
    balance = rng.normal(0, 0.14)
    softness = rng.uniform(0, 1)  # a soft mouth mostly goes with a flowing head
    smile = rng.choice([rng.normal(0.05, 0.06), rng.uniform(0.15, 0.55), rng.uniform(-0.24, 0.0)], p=[0.5, 0.33, 0.17])
    return SpeakerStyle(
        jaw=_gain(rng, effort + balance, 0.18, 0.4, 2.0),
        lips=_gain(rng, 0.7 * effort - balance, 0.14, 0.5, 1.5),
        rounding=_gain(rng, 0.4 * effort, 0.22, 0.55, 1.6),
        spread=_gain(rng, 0.4 * effort, 0.2, 0.55, 1.5),
        expressiveness=rng.uniform(0.05, 0.42),
        coarticulation=rng.uniform(0.88, 1.25),
        smile=float(smile),
        rest_open=float(rng.choice([abs(rng.normal(0, 0.02)), rng.uniform(0.05, 0.2)], p=[0.88, 0.12])),
        breath=_gain(rng, -0.1, 0.7, 0.15, 2.4),
        asymmetry=float(np.clip(rng.normal(0, 0.2), -0.45, 0.45)),
        brow_bias=float(np.clip(rng.normal(-0.04, 0.17), -0.5, 0.3)),
        brow_activity=_gain(rng, 0.1, 0.45, 0.3, 2.2),
        squint=rng.uniform(0, 0.25),
        blink_rate=_gain(rng, np.log(28), 0.35, 12, 55),
        gaze_activity=rng.uniform(0.5, 1.4),
        head_pitch=float(np.clip(rng.normal(0, 2.5), -6, 6)),
        head_yaw=float(np.clip(rng.normal(0, 3), -8, 8)),
        head_roll=float(np.clip(rng.normal(0, 1.5), -4, 4)),
        head_amplitude=_gain(rng, 0, 0.6, 0.25, 2.6),
        head_speed=_gain(rng, 0, 0.22, 0.6, 1.6),
        nod_rate=rng.uniform(0.1, 0.7),
        mouth_smoothness=0.6 * softness + rng.uniform(0, 0.4),
        head_smoothness=0.6 * softness + rng.uniform(0, 0.4),
    )


def _gain(rng: np.random.Generator, log_mean: float, log_std: float, low: float, high: float) -> float:
    return float(np.clip(np.exp(rng.normal(log_mean, log_std)), low, high))


def vary_style(style: SpeakerStyle, rng: np.random.Generator, amount: float = 0.05) -> SpeakerStyle:
    """The same speaker on another day: every gain a few per cent off, the mean pose within about a degree."""
    changes = {}
    for field in fields(SpeakerStyle):
        value = getattr(style, field.name)
        if field.name in ("head_pitch", "head_yaw", "head_roll"):
            changes[field.name] = value + rng.normal(0, 20 * amount)
        else:
            changes[field.name] = value * float(np.exp(rng.normal(0, amount)))
    return replace(style, **changes)
