"""Loudness, pitch and accents of speech: what the head, the brows and the mouth's effort follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from utils.timebase import SAMPLE_RATE

HOP = 160  # samples: prosody at 100 Hz
RATE = SAMPLE_RATE / HOP
_FRAME = 640  # samples per analysis window, 40 ms: more than two periods of 60 Hz at half the rate
_F0_RANGE = (65.0, 400.0)  # Hz
_VOICED = 0.55  # normalised autocorrelation above which a frame counts as voiced
_VOWELS = frozenset({"aa", "ae", "ah", "ao", "aw", "ax", "ay", "eh", "er", "ey", "ih", "iy", "ow", "oy", "uh", "uw"})


@dataclass(frozen=True)
class Prosody:
    """Tracks at 100 Hz, all (m,)."""

    loudness: np.ndarray
    """dB relative to the utterance's loud parts (90th percentile), floored at -40."""
    pitch: np.ndarray
    """Semitones above the speaker's median, interpolated through unvoiced parts; 0 if nothing is voiced."""
    voiced: np.ndarray
    """True where the autocorrelation is periodic."""


@dataclass(frozen=True)
class Accents:
    """Prominent syllables: arrays (k,)."""

    time: np.ndarray
    """Seconds, the middle of the vowel."""
    strength: np.ndarray
    """Prominence, about 0.5 to 3 standard deviations above the utterance's mean."""
    rise: np.ndarray
    """Semitones of F0 above the neighbourhood."""


def analyse(audio: np.ndarray) -> Prosody:
    """Loudness and F0 of mono 16 kHz audio (n,), by RMS and the autocorrelation of 40 ms windows at 8 kHz."""
    half = _halve(audio)
    hop, size = HOP // 2, _FRAME // 2
    padded = np.pad(half, (size // 2, size))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)[: len(half) + 1 : hop]
    energy = np.sqrt(np.mean(windows**2, axis=1) + 1e-12)
    level = 20 * np.log10(energy / (np.percentile(energy, 90) + 1e-9) + 1e-6)
    pitch, voiced = _pitch(windows, level)
    return Prosody(np.clip(level, -40, 12).astype(np.float32), pitch.astype(np.float32), voiced)


def _halve(audio: np.ndarray) -> np.ndarray:
    """16 kHz -> 8 kHz by averaging pairs: enough for F0 below 400 Hz."""
    audio = np.asarray(audio, np.float32)
    return audio[: len(audio) // 2 * 2].reshape(-1, 2).mean(1)


def _pitch(windows: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Semitones about the median (m,) and the voiced mask (m,) of windows (m, size) at 8 kHz."""
    rate = SAMPLE_RATE // 2
    taper = np.hanning(windows.shape[1]).astype(np.float32)
    n_fft = 2 * windows.shape[1]
    power = np.abs(np.fft.rfft((windows - windows.mean(1, keepdims=True)) * taper, n_fft)) ** 2
    correlation = np.fft.irfft(power)[:, : windows.shape[1]]
    own = np.fft.irfft(np.abs(np.fft.rfft(taper, n_fft)) ** 2)[: windows.shape[1]]
    low, high = int(rate / _F0_RANGE[1]), int(rate / _F0_RANGE[0])
    lags = np.arange(low, high)
    score = correlation[:, low:high] / (correlation[:, :1] + 1e-9) / (own[low:high] / own[0])
    score = score - 0.0008 * (lags - low)  # prefer the shorter of two equally periodic lags (octave errors)
    best = score.argmax(1)
    voiced = (score[np.arange(len(best)), best] > _VOICED) & (level > -25)
    if voiced.sum() < 5:
        return np.zeros(len(best)), np.zeros(len(best), bool)
    semitones = 12 * np.log2(rate / lags[best])
    semitones = np.clip(semitones - np.median(semitones[voiced]), -9, 9)
    index = np.arange(len(best))
    track = np.interp(index, index[voiced], semitones[voiced])
    return smooth(median_filter(track, 5, mode="nearest"), 3.0), voiced  # without single octave jumps


def smooth(track: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian smoothing of (m,) or of the columns of (m, k), sigma in samples; edges are held."""
    radius = int(np.ceil(3 * sigma))
    return gaussian_filter1d(np.asarray(track, np.float64), sigma, 0, mode="nearest", radius=radius).astype(np.float32)


def phone_means(track: np.ndarray, phones: list[tuple[str, float, float]]) -> np.ndarray:
    """Mean of a 100 Hz track (m,) over every phone, (P,)."""
    total = np.concatenate([[0.0], np.cumsum(track, dtype=np.float64)])
    bounds = np.array([(start, end) for _, start, end in phones]).reshape(-1, 2)
    first = np.clip((bounds[:, 0] * RATE).astype(int), 0, len(track) - 1)
    last = np.clip(np.ceil(bounds[:, 1] * RATE).astype(int), first + 1, len(track))
    return (total[last] - total[first]) / (last - first)


def vowel_loudness(prosody: Prosody, phones: list[tuple[str, float, float]]) -> np.ndarray:
    """(P,) loudness of every phone in standard deviations about the vowels' mean, clipped to +-2; 0 for consonants."""
    vowel = np.array([phone in _VOWELS for phone, _, _ in phones], bool)
    if vowel.sum() < 2:
        return np.zeros(len(phones))
    level = phone_means(prosody.loudness, phones)
    score = (level - level[vowel].mean()) / (level[vowel].std() + 1.0)
    return np.where(vowel, np.clip(score, -2, 2), 0.0)


def find_accents(prosody: Prosody, phones: list[tuple[str, float, float]]) -> Accents:
    """Vowels that stand out in loudness, F0 and duration over the vowels around them (about one per second)."""
    vowels = [(s, e) for phone, s, e in phones if phone in _VOWELS]
    if len(vowels) < 3:
        return Accents(*(np.zeros(0),) * 3)
    spans = [("aa", s, e) for s, e in vowels]
    middle = np.array([(s + e) / 2 for s, e in vowels])
    rise = phone_means(prosody.pitch - smooth(prosody.pitch, 50), spans)
    loud = phone_means(prosody.loudness - smooth(prosody.loudness, 60), spans)
    length = np.array([e - s for s, e in vowels])
    score = 0.9 * _z(rise) + 0.7 * _z(loud) + 0.4 * _z(np.minimum(length, 0.25))
    near = np.abs(middle[:, None] - middle) < 0.3
    peak = score >= np.where(near, score, -np.inf).max(1)
    chosen = peak & (score > 0.35)
    return Accents(middle[chosen], np.clip(score[chosen], 0, 3), rise[chosen])


def _z(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / (values.std() + 1e-6)
