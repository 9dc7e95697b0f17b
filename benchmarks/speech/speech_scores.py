"""Measures of a generated mouth against the recording that drives it.

With known phones: closure recall at p, b, m beside its chance level, opening at open vowels, and correlation and lag
against the aligned viseme track, which is the mouth that the corpus' rules make of the same phones on the same head.
Without phones (other languages): correlation and lag against loudness only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from benchmarks.report import Spread
from benchmarks.speech.mouth_at_phones import CLOSED, OPEN, near
from benchmarks.speech.sync import best_lag, envelope_db, lag_curve, pooled_curve
from models.heads.flame import Flame
from models.heads.mouth import opening_mm
from scripts_for_dataset.synthetic.identity import close_factors
from scripts_for_dataset.synthetic.motion import Speech, speech_motion
from scripts_for_dataset.synthetic.style import named_style
from utils.motion_file import Motion
from utils.speech import Phone

CLOSED_MM = 1.0  # largest opening that passes for shut lips
TOLERANCES = (1, 2)  # frames around the closure in which the lips may shut
SILENCE = "sil"

MEASURES = {
    "recall_1": "share of p, b, m whose smallest opening within the phone's frames +-1 is <= 1.0 mm",
    "recall_2": "the same with +-2 frames",
    "chance_1": "share of all instants of the speech at which a window as long as the p, b, m (+-1) would pass",
    "chance_2": "the same with +-2 frames",
    "closure_mm": "mean over p, b, m of the smallest opening within +-1 frame, mm",
    "vowel_mm": "mean over open vowels (aa ae ah ao aw ay) of the mean opening, mm",
    "correlation": "Pearson, opening against the aligned viseme track, mean over clips weighted by length",
    "lag": "lag of the best cross-correlation with the viseme track, frames; positive: the mouth is late",
    "size": "90th percentile of the opening over that of the viseme track",
    "energy_correlation": "Pearson, opening against loudness (dB, 40 dB range), mean over clips weighted by length",
    "energy_lag": "lag of the best cross-correlation with loudness, frames; positive: the mouth is late",
    "opening_p90": "90th percentile of the opening, mm",
}


@dataclass(frozen=True)
class Clip:
    """A recording (n,) at 16 kHz with its phones, if they are known."""

    name: str
    audio: np.ndarray
    phones: list[Phone] = field(default_factory=list)

    def bilabials(self) -> list[Phone]:
        return [phone for phone in self.phones if phone.name in CLOSED]


@dataclass(frozen=True)
class ClipScore:
    """One sample of one clip."""

    clip: Clip
    opening: np.ndarray
    """(T,) mm."""
    shut: dict[int, np.ndarray]
    """Tolerance -> smallest opening near each bilabial (k,) mm."""
    chance: dict[int, float]
    vowels: np.ndarray
    """Mean opening in each open vowel, mm."""
    truth: np.ndarray | None
    """The viseme track (T,) mm."""
    truth_curve: np.ndarray
    energy_curve: np.ndarray


def viseme_track(clip: Clip, flame: Flame, shape: np.ndarray) -> np.ndarray | None:
    """Opening (T,) in mm that the corpus' rules, style normal, give these phones on this head; None without phones."""
    if not clip.phones:
        return None
    phones = [(p.name, p.start, p.end) for p in clip.phones]
    factor = float(close_factors(flame, shape[None])[0])
    motion = speech_motion(Speech(clip.audio, phones), named_style("normal"), np.random.default_rng(0), factor)
    return opening_mm(flame, Motion(motion["exp"], motion["pose"], shape))


def score_clip(clip: Clip, opening: np.ndarray, truth: np.ndarray | None) -> ClipScore:
    """opening (T,) in mm at 25 fps, truth: `viseme_track` -> ClipScore. Phones beyond the motion do not count."""
    shut, chance = {}, {}
    for tolerance in TOLERANCES:
        pieces = [near(phone, opening, tolerance) for phone in clip.bilabials()]
        shut[tolerance] = np.array([piece.min() for piece in pieces if len(piece)])
        chance[tolerance] = chance_level(clip, opening, tolerance)
    vowels = [piece.mean() for p in clip.phones if p.name in OPEN and len(piece := near(p, opening, 0))]
    nothing = np.full(len(opening), np.nan)
    truth_curve = lag_curve(opening, nothing if truth is None else truth)
    energy_curve = lag_curve(opening, envelope_db(clip.audio))
    return ClipScore(clip, opening, shut, chance, np.array(vowels), truth, truth_curve, energy_curve)


def chance_level(clip: Clip, opening: np.ndarray, tolerance: int) -> float:
    """Share of random instants of the speech that would pass as a closure; NaN without bilabials.

    Every bilabial's window is slid over all frames between the first and the last phone.
    """
    spoken = [phone for phone in clip.phones if phone.name != SILENCE]
    if not spoken:
        return math.nan
    speech = opening[spoken[0].frames().start : spoken[-1].frames().stop]
    widths = [len(phone.frames()) + 2 * tolerance for phone in clip.bilabials()]
    shares = [
        (np.lib.stride_tricks.sliding_window_view(speech, width).min(1) <= CLOSED_MM).mean()
        for width in widths
        if width <= len(speech)
    ]
    return float(np.mean(shares)) if shares else math.nan


def pool(scores: list[ClipScore]) -> dict[str, float]:
    """All clips of one sample -> MEASURES. Counts are over phones; correlation curves are averaged by length."""
    lengths = [len(score.opening) for score in scores]
    shut = {t: np.concatenate([s.shut[t] for s in scores]) for t in TOLERANCES}
    counts = [len(s.shut[TOLERANCES[0]]) for s in scores]
    opening = np.concatenate([s.opening for s in scores])
    truths = [s.truth for s in scores if s.truth is not None]
    truth = np.percentile(np.concatenate(truths), 90) if truths else math.nan
    middle = len(scores[0].truth_curve) // 2
    truth_curve = pooled_curve([s.truth_curve for s in scores], lengths)
    energy_curve = pooled_curve([s.energy_curve for s in scores], lengths)
    p90 = float(np.percentile(opening, 90))
    return {
        "recall_1": _mean(shut[1] <= CLOSED_MM),
        "recall_2": _mean(shut[2] <= CLOSED_MM),
        "chance_1": _weighted([s.chance[1] for s in scores], counts),
        "chance_2": _weighted([s.chance[2] for s in scores], counts),
        "closure_mm": _mean(shut[1]),
        "vowel_mm": _mean(np.concatenate([s.vowels for s in scores])),
        "correlation": float(truth_curve[middle]),
        "lag": best_lag(truth_curve),
        "size": p90 / truth,
        "energy_correlation": float(energy_curve[middle]),
        "energy_lag": best_lag(energy_curve),
        "opening_p90": p90,
    }


def summary(samples: Iterable[list[ClipScore]]) -> dict[str, Spread]:
    """Samples, each a list of scored clips -> mean and standard deviation over the samples of every measure."""
    pooled = [pool(scores) for scores in samples]
    return {name: Spread.of([p[name] for p in pooled]) for name in MEASURES}


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _weighted(values: list[float], weights: list[int]) -> float:
    known = [(v, w) for v, w in zip(values, weights) if w and not math.isnan(v)]
    return float(np.average([v for v, _ in known], weights=[w for _, w in known])) if known else math.nan
