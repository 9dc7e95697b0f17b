"""The mouth in pauses: it opens for a breath before a phrase, and now and then the lips press.

Breaths follow from the length of the pause alone, so that the opening of the mouth stays predictable from speech.
"""

from __future__ import annotations

import numpy as np

from scripts_for_dataset.synthetic.head_motion import min_jerk
from scripts_for_dataset.synthetic.visemes import BREATH

DEEP = 1.1  # seconds of pause that allow a full breath
_PRESS_SHARE, _PRESS_PAUSE = 0.4, 0.75  # share of the pauses of at least this length; seconds

Phrases = list[tuple[float, float]]


def pauses(phrases: Phrases) -> list[tuple[float, float]]:
    """(start, end) in seconds of the silences before the phrases, the first one from 0."""
    ends = [0.0, *(end for _, end in phrases)]
    return [(end, start) for end, (start, _) in zip(ends, phrases)]


def breaths(n_frames: int, phrases: Phrases) -> np.ndarray:
    """(n,) 0..1: the mouth parts for a breath and narrows again as the voice sets in; deeper after long pauses."""
    track = np.zeros(n_frames)
    for end, start in pauses(phrases):
        length = start - end
        if length <= 0:
            continue
        depth = np.clip(length / DEEP, 0.35, 1.0)
        open_time, peak = min(BREATH.rise, 0.5 * length), min(BREATH.peak, 0.5 * length)
        inhale = min_jerk(n_frames, start - peak - open_time, open_time)
        inhale -= min_jerk(n_frames, start - min(BREATH.close, peak), BREATH.fall)
        track = np.maximum(track, depth * inhale)
    return track


def presses(n_frames: int, phrases: Phrases, rng: np.random.Generator) -> np.ndarray:
    """(n,) 0..1: lips pressed together for a moment, early in some of the longer pauses."""
    track = np.zeros(n_frames)
    for end, start in pauses(phrases):
        chance, delay, hold = rng.random(), rng.uniform(0.12, 0.25), rng.uniform(0.1, 0.25)
        if start - end >= _PRESS_PAUSE and chance < _PRESS_SHARE:
            begin = end + delay
            track = np.maximum(track, min_jerk(n_frames, begin, 0.18) - min_jerk(n_frames, begin + 0.16 + hold, 0.22))
    return track
