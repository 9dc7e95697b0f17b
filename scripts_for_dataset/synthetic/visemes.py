"""Phones -> mouth curves at 25 fps: viseme targets, dominance coarticulation, and closures that are really closed.

Coarticulation after Cohen and Massaro (1993): every phone pulls each articulator towards its target with a dominance
a * exp(-2.3 (d / T)^1.5), d being the distance in time from the phone's middle half; the curve is the weighted mean.
Curves are computed at 200 Hz. Lips of p, b, m are shut from 10 ms before the closure for at least 45 ms, so that a
25 fps frame always meets the shut mouth; that frame takes the shut shape instead of its mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from scripts_for_dataset.synthetic.style import SpeakerStyle
from utils.reading.json_file import read_json
from utils.timebase import FPS

MEASURED = Path(__file__).with_name("measured.json")  # fitted to people
ASSUMED = Path(__file__).with_name("assumed.json")  # what the author chose; where the fit begins

OVERSAMPLING = 8  # 200 Hz
TUCK_CLOSURE = 0.6  # share of the jaw's opening that the lower lip makes up to reach the teeth in f, v
VISUAL_LEAD = 0.02  # seconds: lips move before they are heard (Schwartz and Savariaux 2014: -20 to +70 ms)
PARTING = (("mouthUpperUp", 0.9), ("mouthLowerDown", 0.9), ("mouthFunnel", 0.6))  # what shut lips take away of a unit
PRESS, TUCK_ROLL = 0.35, 0.45  # least mouthPress in p, b, m and mouthRollLower in f, v
BRIEF_OPEN = 0.06  # jawOpen of short gaps
LOW_PASS = 0.035  # seconds SD of the low-pass at smoothness 1
CHANNELS = (
    "jawOpen", "jawForward", "mouthFunnel", "mouthPucker", "mouthSmile", "mouthStretch", "mouthRollLower",
    "mouthRollUpper", "mouthPress", "mouthShrugUpper", "mouthShrugLower", "mouthUpperUp", "mouthLowerDown",
)  # fmt: skip
CHANNEL = {name: i for i, name in enumerate(CHANNELS)}
GROUPS = {"jaw": slice(0, 2), "round": slice(2, 4), "spread": slice(4, 6), "lip": slice(6, 11), "open": slice(11, 13)}

VOWELS = ("aa", "ah", "ay", "aw", "E", "ae", "ey", "ih", "iy", "oh", "ow", "ou")
ROUNDED = ("oh", "ow", "ou", "ww")

# phone -> parts (viseme, gain of the jaw target, share of the phone's time); diphthongs split at 55 %
_PHONES: dict[str, list[tuple[str, float, float]]] = {"sil": [("sil", 1.0, 1.0)]}
for _phones, _name, _jaw in (
    ("p b m", "PP", 1), ("f v", "FF", 1), ("th dh", "TH", 1), ("t d dx", "DD", 1), ("n", "nn", 1), ("l", "ll", 1),
    ("k g ng", "kk", 1), ("hh", "kk", 1.1), ("ch jh sh zh", "CH", 1), ("s z", "SS", 1), ("r", "RR", 1),
    ("er", "RR", 1.4), ("aa", "aa", 1), ("ah", "ah", 1), ("ax", "ah", 0.8), ("eh", "E", 1), ("ae", "ae", 1),
    ("ih", "ih", 1), ("iy", "iy", 1), ("y", "iy", 0.93), ("ao", "oh", 1), ("uw", "ou", 1), ("uh", "ou", 1.6),
    ("w", "ww", 1),
):  # fmt: skip
    for _phone in _phones.split():
        _PHONES[_phone] = [(_name, float(_jaw), 1.0)]
for _phone, _first, _second in (
    ("ey", "ey", "ih"),
    ("ay", "ay", "ih"),
    ("aw", "aw", "ou"),
    ("oy", "oh", "ih"),
    ("ow", "ow", "ou"),
):
    _PHONES[_phone] = [(_first, 1.0, 0.55), (_second, 0.8, 0.45)]
PHONES = frozenset(_PHONES)


@dataclass(frozen=True)
class Breath:
    """The mouth before a phrase: units of a full breath, and its times in seconds (`pauses.breaths`)."""

    jawOpen: float
    mouthLowerDown: float
    mouthUpperUp: float
    rise: float
    peak: float
    close: float
    fall: float


@dataclass(frozen=True)
class Table:
    """Visemes V: targets (V, channels) in ARKit units; dominance by articulator, (V, 3): strength, lead, lag, the last
    two in seconds to about 10 %."""

    names: tuple[str, ...]
    targets: np.ndarray
    dominance: dict[str, np.ndarray]
    breath: Breath


def read_table(path: Path) -> Table:
    """A table as `fit_visemes` writes it."""
    file = read_json(path)
    rows = file["visemes"]
    targets = [[row["targets"].get(channel, 0.0) for channel in CHANNELS] for row in rows.values()]
    dominance = {group: np.array([row[group] for row in rows.values()], np.float32) for group in GROUPS}
    return Table(tuple(rows), np.array(targets, np.float32), dominance, Breath(**file["breath"]))


_TABLE = read_table(MEASURED)
VISEMES, _TARGET_TABLE, _TABLES, BREATH = _TABLE.names, _TABLE.targets, _TABLE.dominance, _TABLE.breath
_VISEME = {name: i for i, name in enumerate(VISEMES)}


@dataclass(frozen=True)
class Segments:
    """Viseme intervals of an utterance: arrays (S,) of viseme ids, times in seconds, and gains of the jaw target."""

    viseme: np.ndarray
    start: np.ndarray
    end: np.ndarray
    jaw: np.ndarray

    def of(self, *names: str) -> np.ndarray:
        """Mask (S,) of the segments with one of the named visemes."""
        return np.isin(self.viseme, [_VISEME[name] for name in names])


def segments(phones: list[tuple[str, float, float]], effort: np.ndarray | None = None) -> Segments:
    """Split phones (ARPAbet or "sil", start, end) into viseme segments; an unknown phone counts as silence.

    Args:
        effort: (P,) gain of the vowels' jaw targets (loud syllables open wider); 1 if None.
    """
    rows = []
    for k, (phone, start, end) in enumerate(phones):
        at = start
        for name, jaw, share in _PHONES.get(phone, _PHONES["sil"]):
            gain = jaw * (effort[k] if effort is not None and name in VOWELS else 1.0)
            rows.append((_VISEME[name], at, at + share * (end - start), gain))
            at += share * (end - start)
    viseme, start, end, jaw = (np.array(column) for column in zip(*rows)) if rows else (np.zeros(0),) * 4
    return Segments(viseme.astype(int), start.astype(np.float32), end.astype(np.float32), jaw.astype(np.float32))


def mouth_curves(segs: Segments, n_frames: int, style: SpeakerStyle) -> tuple[np.ndarray, np.ndarray]:
    """Articulation of n_frames at 25 fps.

    Returns:
        curves (n_frames, len(CHANNELS)) in ARKit units, style applied; closure (n_frames,) 0..1, 1 = lips shut, to be
        turned into mouthClose = closure * jawOpen * (the identity's factor).
    """
    rate = FPS * OVERSAMPLING
    time = ((np.arange(n_frames * OVERSAMPLING) + 0.5) / rate).astype(np.float32)
    shifted = Segments(segs.viseme, segs.start - VISUAL_LEAD, segs.end - VISUAL_LEAD, segs.jaw)
    curves = _soften(_coarticulate(time, shifted, style) * _gains(style), style.mouth_smoothness)
    ramp = ramp_of(style)
    close = plateaus(time, segs.start[segs.of("PP")], segs.end[segs.of("PP")], ramp)
    tuck = plateaus(time, segs.start[segs.of("FF")], segs.end[segs.of("FF")], ramp)
    _constrain(curves, close, tuck)
    frames, closure = _to_frames(curves, close, n_frames)
    tucked = tuck.reshape(n_frames, OVERSAMPLING).mean(1)
    return frames, np.maximum(closure, TUCK_CLOSURE * tucked)


def ramp_of(style: SpeakerStyle) -> float:
    """Length of the ways into and out of closures; soft mouths take longer."""
    return 0.8 + 0.7 * style.mouth_smoothness


def _gains(style: SpeakerStyle) -> np.ndarray:
    gains = np.ones(len(CHANNELS), np.float32)
    gains[CHANNEL["jawOpen"]] = style.jaw
    gains[GROUPS["round"]] = style.rounding
    gains[GROUPS["spread"]] = style.spread
    gains[GROUPS["open"]] = style.lips
    return gains


def _coarticulate(time: np.ndarray, segs: Segments, style: SpeakerStyle) -> np.ndarray:
    """Dominance-weighted mean of the targets, (T, channels); in blocks of 2 s, each with the phones near it."""
    targets = _TARGET_TABLE[segs.viseme].copy()
    targets[:, CHANNEL["jawOpen"]] *= segs.jaw
    silent = segs.of("sil")
    brief = np.clip(1 - (segs.end - segs.start - 0.15) / 0.35, 0, 1)  # short gaps do not shut the mouth
    targets[silent, CHANNEL["jawOpen"]] = (style.rest_open + BRIEF_OPEN * brief[silent]) / max(style.jaw, 0.3)
    out = np.zeros((len(time), len(CHANNELS)), np.float32)
    block, reach = 2 * FPS * OVERSAMPLING, 0.7 * max(1.0, style.coarticulation)
    for first in range(0, len(time), block):
        t = time[first : first + block]
        near = (segs.end > t[0] - reach) & (segs.start < t[-1] + reach)
        part = Segments(segs.viseme[near], segs.start[near], segs.end[near], segs.jaw[near])
        for group, columns in GROUPS.items():
            weight = _dominance(t, part, _TABLES[group][part.viseme], style.coarticulation)
            total = weight @ targets[near, columns]
            out[first : first + block, columns] = total / (weight.sum(1, keepdims=True) + 0.02)
    return out


def _dominance(time: np.ndarray, segs: Segments, table: np.ndarray, width: float) -> np.ndarray:
    """(T, S) dominance: full over the middle half of a segment, falling off on both sides; short phones count less."""
    middle, half = (segs.start + segs.end) / 2, _full_half(segs.end - segs.start)
    offset = time[:, None] - middle
    scale = np.where(offset < 0, table[:, 1], table[:, 2]) * np.float32(width)
    distance = np.maximum(np.abs(offset) - half, 0) / scale
    strength = table[:, 0] * np.minimum(1, 0.35 + (segs.end - segs.start) / 0.08)
    return strength * np.exp(-2.3 * distance * np.sqrt(distance))


def _full_half(duration: np.ndarray) -> np.ndarray:
    """Half the time of full dominance: a quarter of the phone; long pauses keep theirs to 0.12 s from their ends."""
    return np.maximum(np.maximum(duration / 4, duration / 2 - 0.12), 0.005)


def _soften(curves: np.ndarray, smoothness: float) -> np.ndarray:
    """Low-pass of (T, channels) at 200 Hz: Gaussian, up to 35 ms SD."""
    sigma = LOW_PASS * smoothness * FPS * OVERSAMPLING  # samples
    radius = int(np.ceil(2.5 * sigma))
    if radius < 1 or not len(curves):
        return curves
    return gaussian_filter1d(curves, sigma, 0, mode="nearest", radius=radius)


def plateaus(time: np.ndarray, start: np.ndarray, end: np.ndarray, ramp: float = 1.0) -> np.ndarray:
    """(T,) 1 during every interval (10 ms early, at least 45 ms long), smooth ramps of 45 and 40 ms * ramp around."""
    level = np.zeros(len(time), np.float32)
    rate = FPS * OVERSAMPLING
    rise, fall = 0.045 * ramp, 0.040 * ramp
    for a, b in zip(start - 0.010, end - 0.005):
        if b - a < 0.045:
            a, b = (a + b) / 2 - 0.0225, (a + b) / 2 + 0.0225
        window = slice(max(0, int((a - rise) * rate) - 1), max(0, int((b + fall) * rate) + 1))
        t = time[window]
        x = np.clip(np.minimum((t - a + rise) / rise, (b + fall - t) / fall), 0, 1)
        level[window] = np.maximum(level[window], x * x * (3 - 2 * x))
    return level


def _constrain(curves: np.ndarray, close: np.ndarray, tuck: np.ndarray) -> None:
    """Hard rules in place: nothing parts the lips during p, b, m; the lower lip is tucked during f, v."""
    for name, share in PARTING:
        curves[:, CHANNEL[name]] *= 1 - share * close
    for name, level in (("mouthPress", PRESS * close), ("mouthRollLower", TUCK_ROLL * tuck)):
        curves[:, CHANNEL[name]] = np.maximum(curves[:, CHANNEL[name]], level)


def _to_frames(curves: np.ndarray, close: np.ndarray, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """200 Hz -> 25 fps means, except that frames which meet a full closure show its shut instant."""
    fine, shut = curves.reshape(n_frames, OVERSAMPLING, -1), close.reshape(n_frames, OVERSAMPLING)
    frames, closure = fine.mean(1), shut.mean(1)
    full = shut.max(1) > 0.998
    instant = shut.argmax(1)
    lips = slice(GROUPS["round"].start, None)  # the jaw keeps its mean: it moves on smoothly behind shut lips
    frames[full, lips] = fine[np.arange(n_frames), instant][full, lips]
    closure[full] = 1.0
    return np.clip(frames, 0, 1), closure
