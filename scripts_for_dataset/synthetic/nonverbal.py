"""Eyelids and brows while talking: blinks, lids that follow the gaze, brow raises on F0 rises.

Sources: blinks 26 a minute while talking, 17 at rest, log-normal gaps, about 100 ms to close and more to open
(Bentivoglio 1997); 71 % of fast brow raises go with F0 rises and start before the word.
Sizes of raises are assumed. Gaze is in `gaze`.
"""

from __future__ import annotations

import numpy as np

from scripts_for_dataset.synthetic import arkit
from scripts_for_dataset.synthetic.head_motion import min_jerk, smooth_noise
from scripts_for_dataset.synthetic.prosody import Accents
from scripts_for_dataset.synthetic.style import SpeakerStyle
from utils.timebase import FPS

_REST_RATE = 17 / 26  # blink rate in pauses against that while talking
_GAP_SIGMA = 0.55  # of the logarithm of the gaps between blinks
_BLINK = np.array([0.32, 0.9, 1.0, 0.74, 0.4, 0.15, 0.04])  # per frame: 2 to close, 4 to open; a shut frame always
_UNIT_DEGREES = 30.0  # rotation of the eye at eyeLook = 1


def blink_times(
    phrases: list[tuple[float, float]], duration: float, style: SpeakerStyle, rng: np.random.Generator,
    shifts: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Times in seconds of the shut eye: log-normal gaps, fewer in pauses, many drawn to where people blink.

    Args:
        shifts: (k,) times of large gaze shifts; blinks come with them as they come at the ends of phrases.
    """
    mean_gap = 60 / style.blink_rate
    ends = np.array([end for _, end in phrases if end < duration - 0.3])
    ends = ends if shifts is None else np.concatenate([ends, shifts - 0.08])
    times, now = [], rng.uniform(0.1, mean_gap)
    while now < duration - 0.2:
        at = now
        if len(ends):
            nearest = ends[np.abs(ends - now).argmin()]
            if abs(nearest - now) < 0.6 and rng.random() < 0.6:
                at = nearest + 0.08
        if not times or at - times[-1] > 0.35:
            times.append(at)
        talking = any(start <= now <= end for start, end in phrases)
        gap = np.exp(rng.normal(np.log(mean_gap) - _GAP_SIGMA**2 / 2, _GAP_SIGMA))
        now = max(now, at) + gap / (1.0 if talking else _REST_RATE)
    return np.array(times)


def blink_curve(n_frames: int, times: np.ndarray) -> np.ndarray:
    """(n,) lid closure 0..1; every blink is fully shut on one frame."""
    curve = np.zeros(n_frames)
    for time in times:
        first = int(time * FPS) - 2
        span = slice(max(0, first), min(n_frames, first + len(_BLINK)))
        shape = _BLINK[span.start - first : max(span.stop - first, 0)]
        curve[span] = np.maximum(curve[span], shape)
    return curve


def brow_curve(n_frames: int, accents: Accents, style: SpeakerStyle) -> np.ndarray:
    """(n,) brow raise 0..1 on the accents with the largest F0 rises (30 % at activity 1), starting 0.1 s early."""
    curve = np.zeros(n_frames)
    chosen = accents.rise > 0.3
    if not chosen.any() or style.brow_activity <= 0:
        return curve
    share = min(1.0, 0.4 * style.brow_activity**0.7)
    threshold = np.quantile(accents.rise, 1 - share)
    size = style.brow_activity * np.clip(0.32 + 0.1 * accents.rise, 0, 0.7)
    for time, height, rise in zip(accents.time, size, accents.rise):
        if rise >= max(threshold, 0.3):
            pulse = min_jerk(n_frames, time - 0.22, 0.24) - min_jerk(n_frames, time + 0.15, 0.45)
            curve = np.maximum(curve, height * pulse)
    return np.clip(curve, 0, 0.85)


def add_eyes(exp: np.ndarray, gaze: np.ndarray, blinks: np.ndarray, style: SpeakerStyle) -> None:
    """Write gaze (n, 2) degrees, blinks (n,) and lid tension into exp (n, 50) in place; lids follow the gaze down."""
    up, left = gaze[:, 0] / _UNIT_DEGREES, gaze[:, 1] / _UNIT_DEGREES
    arkit.add(exp, "eyeLookUp", np.maximum(up, 0))
    arkit.add(exp, "eyeLookDown", np.maximum(-up, 0))
    for side, outward in (("Left", left), ("Right", -left)):
        arkit.add(exp, f"eyeLookOut{side}", np.maximum(outward, 0))
        arkit.add(exp, f"eyeLookIn{side}", np.maximum(-outward, 0))
    lid = np.clip(0.04 + 0.35 * np.maximum(-up, 0) + 0.25 * max(style.smile, 0) ** 2, 0, 0.3)
    arkit.add(exp, "eyeBlink", np.maximum(blinks, lid))
    arkit.add(exp, "eyeSquint", style.squint * (1 - 0.5 * blinks) + 0.15 * blinks)


def add_brows(exp: np.ndarray, raises: np.ndarray, style: SpeakerStyle, rng: np.random.Generator) -> None:
    """Write brow raises (n,), the lasting bias and a slow drift into exp (n, 50) in place."""
    drift = 0.09 * style.brow_activity * smooth_noise(len(raises), 0.2, rng)
    lasting = style.brow_bias * (1 + 0.25 * smooth_noise(len(raises), 0.15, rng))
    level = raises + drift + lasting
    lift, lower = softplus(level), softplus(-level + 0.6 * np.minimum(raises, 0))
    arkit.add(exp, "browInnerUp", lift)
    arkit.add(exp, "browOuterUp", 0.6 * lift, style.asymmetry)
    arkit.add(exp, "eyeWide", 0.25 * raises)
    arkit.add(exp, "browDown", lower)


def softplus(x: np.ndarray, knee: float = 0.03) -> np.ndarray:
    """Smooth max(x, 0); `knee` is the width of the bend."""
    return knee * np.logaddexp(0, x / knee)
