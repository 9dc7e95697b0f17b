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

from benchmarks.report import Spread, column
from models.heads.flame import Flame
from models.heads.mouth import opening_mm
from models.metrics import synchrony
from models.metrics.lips import ClosureRule
from models.metrics.synchrony import subframe_lag as best_lag
from scripts_for_dataset.synthetic.identity import close_factors
from scripts_for_dataset.synthetic.motion import Speech, speech_motion
from scripts_for_dataset.synthetic.style import named_style
from utils.motion_file import Motion
from utils.speech import BILABIALS, SILENCE, Phone
from utils.timebase import FPS, samples_per_frame

CLOSED_MM = 1.0  # largest opening that passes for shut lips
TOLERANCES = (1, 2)  # frames around the closure in which the lips may shut
OPEN = frozenset(["aa", "ae", "ah", "ao", "aw", "ay"])
REACH = 8  # frames; lags are searched from -REACH to REACH
FLOOR_DB = 40.0  # loudness is cut off this far below the clip's loudest frames
LAGS = np.arange(-REACH, REACH + 1)

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
        return [phone for phone in self.phones if phone.name in BILABIALS]


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


def near(phone: Phone, opening: np.ndarray, tolerance: int) -> np.ndarray:
    """Openings (k,) on the phone's frames and `tolerance` frames around them; empty beyond the clip."""
    frames = phone.frames()
    return opening[max(frames.start - tolerance, 0) : max(frames.stop + tolerance, 0)]


def envelope_db(audio: np.ndarray) -> np.ndarray:
    """Loudness of each motion frame's 640 samples: audio (n,) -> (n // 640,) in dB.

    0 dB is the clip's 95th percentile; everything below -40 dB counts as -40 dB.
    """
    unit = samples_per_frame(FPS)
    frames = np.asarray(audio, np.float64)[: len(audio) // unit * unit].reshape(-1, unit)
    level = 10 * np.log10((frames**2).mean(1) + 1e-12)
    return np.maximum(level - np.percentile(level, 95), -FLOOR_DB)


def lag_curve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation of a[t + lag] with b[t] for every lag of LAGS: (T,), (T,) -> (17,)."""
    return synchrony.lag_curve(a, b, REACH)


def pooled_curve(curves: list[np.ndarray], lengths: list[int]) -> np.ndarray:
    """Mean of the clips' lag curves, weighted by their lengths; clips without one do not count."""
    known = [(c, n) for c, n in zip(curves, lengths) if not np.isnan(c).any()]
    if not known:
        return np.full(len(LAGS), np.nan)
    return np.average([c for c, _ in known], axis=0, weights=[n for _, n in known])


def viseme_track(clip: Clip, flame: Flame, shape: np.ndarray) -> np.ndarray | None:
    """Opening (T,) in mm that the corpus' rules, style normal, give these phones on this head; None without phones."""
    if not clip.phones:
        return None
    phones = [(p.name, p.start, p.end) for p in clip.phones]
    factor = float(close_factors(flame, shape[None])[0])
    motion = speech_motion(Speech(clip.audio, phones), named_style("normal"), np.random.default_rng(0), factor)
    return opening_mm(flame, Motion(motion["exp"], motion["pose"], shape))


def score_clip(clip: Clip, opening: np.ndarray, truth: np.ndarray | None) -> ClipScore:
    """opening (T,) in mm at 25 fps, truth: `viseme_track` -> ClipScore. What lies beyond the motion does not count."""
    truth = None if truth is None else truth[: len(opening)]
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


@dataclass(frozen=True)
class MouthScore:
    """Measured on one recording, or pooled over several."""

    name: str = column("recording")
    closures_expected: int = column("p/b/m")
    closures_found: int = column("shut")
    opening_at_closures_mm: float = column("at p/b/m mm", "{:.2f}")
    """Mean over p/b/m of the smallest opening near each; NaN without any."""
    open_vowels: int = column("vowels")
    opening_at_vowels_mm: float = column("at vowels mm", "{:.2f}")
    """Mean over open vowels of the mean opening during each; NaN without any."""
    correlation: float = column("corr.", "{:.2f}")
    """Pearson, opening against a 0/1 track (0 at p/b/m, 1 at open vowels) on those frames; NaN if undefined."""


def score_mouth(name: str, phones: list[Phone], opening: np.ndarray, rule: ClosureRule) -> MouthScore:
    """phones, opening (T,) in mm at 25 fps -> MouthScore. Phones beyond the end of the motion are not counted."""
    shut = [piece.min() for p in phones if p.name in BILABIALS and len(piece := near(p, opening, rule.tolerance))]
    wide = [piece.mean() for p in phones if p.name in OPEN and len(piece := near(p, opening, 0))]
    found = sum(float(value) <= rule.closed_mm for value in shut)
    mean = [float(np.mean(values)) if values else math.nan for values in (shut, wide)]
    return MouthScore(name, len(shut), found, mean[0], len(wide), mean[1], _contrast(phones, opening))


def _contrast(phones: list[Phone], opening: np.ndarray) -> float:
    pieces = [(near(phone, opening, 0), phone.name in OPEN) for phone in phones if phone.name in BILABIALS | OPEN]
    if not pieces:
        return math.nan
    target = np.repeat([float(wide) for _, wide in pieces], [len(piece) for piece, _ in pieces])
    return synchrony.correlation(np.concatenate([piece for piece, _ in pieces]), target)


def pool_mouths(scores: list[MouthScore]) -> MouthScore:
    """One score over all recordings: counts add up, openings are means over phones, correlations over recordings."""

    def mean(field: str, weight: str) -> float:
        return _weighted([getattr(s, field) for s in scores], [getattr(s, weight) for s in scores])

    known = [s.correlation for s in scores if not math.isnan(s.correlation)]
    return MouthScore(
        "all",
        sum(s.closures_expected for s in scores),
        sum(s.closures_found for s in scores),
        mean("opening_at_closures_mm", "closures_expected"),
        sum(s.open_vowels for s in scores),
        mean("opening_at_vowels_mm", "open_vowels"),
        float(np.mean(known)) if known else math.nan,
    )
