"""Where a speaker looks: at the listener with small saccades, now and then away in a pause, against the head's motion.

Fixations last log-normal times and saccades follow the main sequence (about 21 ms + 2.2 ms per degree, so one or two
frames). Speakers look away while they plan the next phrase and come back once it runs (Kendon 1967). Both eyes turn
alike: the listener is far enough away for vergence not to matter. Sizes and shares are assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scripts_for_dataset.synthetic.head_motion import min_jerk
from scripts_for_dataset.synthetic.style import SpeakerStyle
from utils.timebase import FPS

_HELD = 0.7  # share of the head's rotation that the eyes make up for
_FIXATION, _FIXATION_SIGMA = 0.9, 0.55  # seconds, median; SD of the logarithm
_SMALL = np.array([1.0, 1.8])  # degrees SD, up and sideways: from eye to eye to mouth of the listener
_AWAY_SHARE = 0.45  # of the pauses, at gaze activity 1
_LIMIT = 16.0  # degrees that the eyes turn at most


@dataclass(frozen=True)
class Aversion:
    """A look away: from `start` to `end` seconds towards `place` (up, left) in degrees."""

    start: float
    end: float
    place: np.ndarray


def aversions(phrases: list[tuple[float, float]], style: SpeakerStyle, rng: np.random.Generator) -> list[Aversion]:
    """Looks away in some pauses, from the end of a phrase until shortly after the next one has begun."""
    looks = []
    for (_, end), (start, _) in zip(phrases, phrases[1:]):
        size, upward = rng.uniform(6, 11), rng.normal(-1.5, 4)
        sideways = size * rng.choice([-1.0, 1.0])
        begin, back = end + rng.uniform(-0.1, 0.25), start + rng.uniform(-0.1, 0.6)
        if rng.random() < _AWAY_SHARE * style.gaze_activity and back - begin > 0.35:
            looks.append(Aversion(begin, back, np.array([upward, sideways])))
    return looks


def gaze_angles(
    n_frames: int, head: np.ndarray, looks: list[Aversion], style: SpeakerStyle, rng: np.random.Generator
) -> np.ndarray:
    """Eye rotation (n, 2) in degrees: up and to the speaker's left positive.

    Args:
        head: (n, 3) head rotation in radians, as from `head_motion`; the eyes hold the listener against it.
        looks: when the speaker looks away, from `aversions`.
    """
    moving = head - head.mean(axis=0)
    held = _HELD * np.degrees(np.stack([moving[:, 0], -moving[:, 1]], axis=1))
    target, place, now = np.zeros((n_frames, 2)), np.zeros(2), rng.uniform(0.1, 0.8)
    ahead = list(looks)
    while now < n_frames / FPS:
        away = next((look for look in ahead if look.start <= now < look.end), None)
        fresh = rng.normal(0, 1, 2) * _SMALL * style.gaze_activity + (away.place if away else 0.0)
        target += saccade(n_frames, now, fresh - place)
        place = fresh
        until = now + _FIXATION * np.exp(rng.normal(0, _FIXATION_SIGMA))
        edges = [edge for look in ahead for edge in (look.start, look.end) if now < edge < until]
        now = min([until, *edges])
    return _LIMIT * np.tanh((held + target) / _LIMIT)  # eyes do not turn farther; small angles stay as they are


def saccade(n_frames: int, time: float, step: np.ndarray) -> np.ndarray:
    """(n, 2) degrees: a jump of `step` (2,) that starts at `time` and takes as long as its size needs."""
    return min_jerk(n_frames, time, 0.021 + 0.0022 * float(np.linalg.norm(step)) + 0.03)[:, None] * step
