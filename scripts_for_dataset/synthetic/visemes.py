"""Phones -> mouth curves at 25 fps: viseme targets, dominance coarticulation, and closures that are really closed.

Coarticulation after Cohen and Massaro (1993): every phone pulls each articulator towards its target with a dominance
a * exp(-2.3 (d / T)^1.5), d being the distance in time from the phone's middle half; the curve is the weighted mean.
Curves are computed at 200 Hz. Lips of p, b, m are shut from 10 ms before the closure for at least 45 ms, so that a
25 fps frame always meets the shut mouth; that frame takes the shut shape instead of its mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scripts_for_dataset.synthetic.style import SpeakerStyle
from utils.timebase import FPS

OVERSAMPLING = 8  # 200 Hz
_TUCK_CLOSURE = 0.6  # share of the jaw's opening that the lower lip makes up to reach the teeth in f, v
VISUAL_LEAD = 0.02  # seconds: lips move before they are heard (Schwartz and Savariaux 2014: -20 to +70 ms)
_LOW_PASS = 0.035  # seconds SD of the low-pass at smoothness 1
CHANNELS = (
    "jawOpen", "jawForward", "mouthFunnel", "mouthPucker", "mouthSmile", "mouthStretch", "mouthRollLower",
    "mouthRollUpper", "mouthPress", "mouthShrugUpper", "mouthShrugLower", "mouthUpperUp", "mouthLowerDown",
)  # fmt: skip
CHANNEL = {name: i for i, name in enumerate(CHANNELS)}
_GROUPS = {"jaw": slice(0, 2), "round": slice(2, 4), "spread": slice(4, 6), "lip": slice(6, 11), "open": slice(11, 13)}

_TARGETS: dict[str, dict[str, float]] = {
    "sil": {},
    "PP": {"jawOpen": 0.10, "mouthPress": 0.36, "mouthRollLower": 0.16, "mouthRollUpper": 0.12,
           "mouthShrugLower": 0.08},
    "FF": {"jawOpen": 0.10, "mouthRollLower": 0.50, "mouthUpperUp": 0.22, "mouthShrugLower": 0.12, "mouthSmile": 0.04},
    "TH": {"jawOpen": 0.17, "mouthLowerDown": 0.22, "mouthUpperUp": 0.12},
    "DD": {"jawOpen": 0.13, "mouthLowerDown": 0.16, "mouthUpperUp": 0.09, "mouthStretch": 0.08},
    "kk": {"jawOpen": 0.22, "mouthLowerDown": 0.15, "mouthUpperUp": 0.07},
    "CH": {"jawOpen": 0.10, "jawForward": 0.10, "mouthFunnel": 0.50, "mouthPucker": 0.20, "mouthUpperUp": 0.18,
           "mouthLowerDown": 0.22},
    "SS": {"jawOpen": 0.05, "jawForward": 0.06, "mouthStretch": 0.20, "mouthSmile": 0.12, "mouthUpperUp": 0.15,
           "mouthLowerDown": 0.32},
    "nn": {"jawOpen": 0.15, "mouthLowerDown": 0.16, "mouthUpperUp": 0.07, "mouthStretch": 0.06},
    "RR": {"jawOpen": 0.15, "mouthFunnel": 0.32, "mouthPucker": 0.25, "mouthLowerDown": 0.12},
    "aa": {"jawOpen": 0.48, "mouthLowerDown": 0.32, "mouthUpperUp": 0.14, "mouthStretch": 0.06},
    "E": {"jawOpen": 0.32, "mouthSmile": 0.18, "mouthStretch": 0.18, "mouthLowerDown": 0.30, "mouthUpperUp": 0.16},
    "ih": {"jawOpen": 0.18, "mouthSmile": 0.28, "mouthStretch": 0.22, "mouthLowerDown": 0.24, "mouthUpperUp": 0.12},
    "oh": {"jawOpen": 0.34, "mouthFunnel": 0.45, "mouthPucker": 0.22, "mouthLowerDown": 0.15},
    "ou": {"jawOpen": 0.12, "mouthFunnel": 0.30, "mouthPucker": 0.65},
}  # fmt: skip
VISEMES = tuple(_TARGETS)
_VISEME = {name: i for i, name in enumerate(VISEMES)}
_VOWELS = ("aa", "E", "ih", "oh", "ou")

# phone -> parts (viseme, gain of the jaw target, share of the phone's time); diphthongs split at 55 %
_PHONES: dict[str, list[tuple[str, float, float]]] = {"sil": [("sil", 1.0, 1.0)]}
for _phones, _name, _jaw in (
    ("p b m", "PP", 1), ("f v", "FF", 1), ("th dh", "TH", 1), ("t d dx", "DD", 1), ("n", "nn", 1), ("l", "nn", 1.4),
    ("k g ng", "kk", 1), ("hh", "kk", 1.1), ("ch jh sh zh", "CH", 1), ("s z", "SS", 1), ("r", "RR", 1),
    ("er", "RR", 1.4), ("aa", "aa", 1), ("ah", "aa", 0.7), ("eh", "E", 1), ("ae", "E", 1.35), ("ax", "E", 0.55),
    ("ih", "ih", 1), ("iy", "ih", 0.75), ("y", "ih", 0.7), ("ao", "oh", 1), ("uw", "ou", 1), ("uh", "ou", 1.6),
    ("w", "ou", 0.7),
):  # fmt: skip
    for _phone in _phones.split():
        _PHONES[_phone] = [(_name, float(_jaw), 1.0)]
for _phone, _first, _second in (
    ("ey", "E", "ih"),
    ("ay", "aa", "ih"),
    ("aw", "aa", "ou"),
    ("oy", "oh", "ih"),
    ("ow", "oh", "ou"),
):
    _PHONES[_phone] = [(_first, 1.0, 0.55), (_second, 0.8, 0.45)]
PHONES = frozenset(_PHONES)

# articulator -> viseme class -> (dominance, lead, lag), the last two in seconds to about 10 %
_DOMINANCE: dict[str, dict[str, tuple[float, float, float]]] = {
    "jaw": {"V": (0.8, 0.12, 0.12), "SS": (0.9, 0.08, 0.08), "CH": (0.9, 0.09, 0.09), "PP": (0.75, 0.08, 0.08),
            "FF": (0.75, 0.08, 0.08), "DD": (0.45, 0.07, 0.07), "nn": (0.4, 0.07, 0.07), "TH": (0.5, 0.07, 0.07),
            "kk": (0.25, 0.06, 0.06), "RR": (0.5, 0.10, 0.10), "sil": (0.6, 0.14, 0.16)},
    "round": {"ou": (1.0, 0.20, 0.13), "oh": (0.9, 0.16, 0.12), "CH": (0.9, 0.14, 0.12), "RR": (0.6, 0.12, 0.10),
              "V": (0.55, 0.10, 0.10), "ih": (0.8, 0.10, 0.10), "SS": (0.25, 0.06, 0.06), "PP": (0.1, 0.05, 0.05),
              "FF": (0.3, 0.06, 0.06), "C": (0.1, 0.05, 0.05), "sil": (0.25, 0.12, 0.14)},
    "spread": {"ih": (0.8, 0.12, 0.10), "E": (0.6, 0.10, 0.10), "SS": (0.4, 0.08, 0.08), "ou": (0.9, 0.15, 0.12),
               "oh": (0.7, 0.12, 0.10), "V": (0.4, 0.10, 0.10), "C": (0.12, 0.06, 0.06), "sil": (0.25, 0.12, 0.14)},
    "lip": {"PP": (1.0, 0.06, 0.05), "FF": (1.0, 0.06, 0.05), "C": (0.25, 0.05, 0.05), "V": (0.6, 0.06, 0.06),
            "sil": (0.3, 0.10, 0.12)},
    "open": {"PP": (1.0, 0.06, 0.05), "FF": (0.9, 0.06, 0.05), "V": (0.6, 0.09, 0.09), "C": (0.5, 0.07, 0.07),
             "sil": (0.4, 0.12, 0.14)},
}  # fmt: skip


def _dominance_table(group: str) -> np.ndarray:
    """(visemes, 3): dominance, lead, lag of one articulator, own entry first, then the class."""
    table = _DOMINANCE[group]
    rows = [table.get(v) or table.get("V" if v in _VOWELS else "C") or table["V"] for v in VISEMES]
    return np.array(rows, np.float32)


_TABLES = {group: _dominance_table(group) for group in _GROUPS}
_TARGET_TABLE = np.array([[_TARGETS[v].get(c, 0.0) for c in CHANNELS] for v in VISEMES], np.float32)


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
            gain = jaw * (effort[k] if effort is not None and name in _VOWELS else 1.0)
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
    ramp = 0.8 + 0.7 * style.mouth_smoothness
    close = _plateaus(time, segs.start[segs.of("PP")], segs.end[segs.of("PP")], ramp)
    tuck = _plateaus(time, segs.start[segs.of("FF")], segs.end[segs.of("FF")], ramp)
    _constrain(curves, close, tuck)
    frames, closure = _to_frames(curves, close, n_frames)
    tucked = tuck.reshape(n_frames, OVERSAMPLING).mean(1)
    return frames, np.maximum(closure, _TUCK_CLOSURE * tucked)


def _gains(style: SpeakerStyle) -> np.ndarray:
    gains = np.ones(len(CHANNELS), np.float32)
    gains[CHANNEL["jawOpen"]] = style.jaw
    gains[_GROUPS["round"]] = style.rounding
    gains[_GROUPS["spread"]] = style.spread
    gains[_GROUPS["open"]] = style.lips
    return gains


def _coarticulate(time: np.ndarray, segs: Segments, style: SpeakerStyle) -> np.ndarray:
    """Dominance-weighted mean of the targets, (T, channels); in blocks of 2 s, each with the phones near it."""
    targets = _TARGET_TABLE[segs.viseme].copy()
    targets[:, CHANNEL["jawOpen"]] *= segs.jaw
    silent = segs.of("sil")
    brief = np.clip(1 - (segs.end - segs.start - 0.15) / 0.35, 0, 1)  # short gaps do not shut the mouth
    targets[silent, CHANNEL["jawOpen"]] = (style.rest_open + 0.06 * brief[silent]) / max(style.jaw, 0.3)
    out = np.zeros((len(time), len(CHANNELS)), np.float32)
    block, reach = 2 * FPS * OVERSAMPLING, 0.7 * max(1.0, style.coarticulation)
    for first in range(0, len(time), block):
        t = time[first : first + block]
        near = (segs.end > t[0] - reach) & (segs.start < t[-1] + reach)
        part = Segments(segs.viseme[near], segs.start[near], segs.end[near], segs.jaw[near])
        for group, columns in _GROUPS.items():
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
    sigma = _LOW_PASS * smoothness * FPS * OVERSAMPLING  # samples
    radius = int(np.ceil(2.5 * sigma))
    if radius < 1 or not len(curves):
        return curves
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    padded = np.pad(curves, {0: (radius, radius)}, mode="edge")
    return np.stack([np.convolve(column, kernel, mode="valid") for column in padded.T], axis=1)


def _plateaus(time: np.ndarray, start: np.ndarray, end: np.ndarray, ramp: float = 1.0) -> np.ndarray:
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
    for name, share in (("mouthUpperUp", 0.9), ("mouthLowerDown", 0.9), ("mouthFunnel", 0.6)):
        curves[:, CHANNEL[name]] *= 1 - share * close
    for name, level in (("mouthPress", 0.35 * close), ("mouthRollLower", 0.45 * tuck)):
        curves[:, CHANNEL[name]] = np.maximum(curves[:, CHANNEL[name]], level)


def _to_frames(curves: np.ndarray, close: np.ndarray, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """200 Hz -> 25 fps means, except that frames which meet a full closure show its shut instant."""
    fine, shut = curves.reshape(n_frames, OVERSAMPLING, -1), close.reshape(n_frames, OVERSAMPLING)
    frames, closure = fine.mean(1), shut.mean(1)
    full = shut.max(1) > 0.998
    instant = shut.argmax(1)
    lips = slice(_GROUPS["round"].start, None)  # the jaw keeps its mean: it moves on smoothly behind shut lips
    frames[full, lips] = fine[np.arange(n_frames), instant][full, lips]
    closure[full] = 1.0
    return np.clip(frames, 0, 1), closure
