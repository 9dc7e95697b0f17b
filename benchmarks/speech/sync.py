"""Curves at 25 fps against each other: correlation, the lag at which it is best, and the loudness of a recording."""

from __future__ import annotations

import math

import numpy as np

from utils.timebase import FPS, samples_per_frame

REACH = 8  # frames; lags are searched from -REACH to REACH
FLOOR_DB = 40.0  # loudness is cut off this far below the clip's loudest frames
LAGS = np.arange(-REACH, REACH + 1)


def envelope_db(audio: np.ndarray) -> np.ndarray:
    """Loudness of each motion frame's 640 samples: audio (n,) -> (n // 640,) in dB.

    0 dB is the clip's 95th percentile; everything below -40 dB counts as -40 dB.
    """
    unit = samples_per_frame(FPS)
    frames = np.asarray(audio, np.float64)[: len(audio) // unit * unit].reshape(-1, unit)
    level = 10 * np.log10((frames**2).mean(1) + 1e-12)
    return np.maximum(level - np.percentile(level, 95), -FLOOR_DB)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r; NaN if a curve is flat or shorter than 3 frames."""
    if len(a) < 3 or np.std(a) < 1e-9 or np.std(b) < 1e-9:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def lag_curve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's r of a[t + lag] with b[t] over the frames both have, for every lag of LAGS: (T,), (T,) -> (17,)."""
    n = min(len(a), len(b))
    a, b = a[:n], b[:n]
    return np.array([correlation(a[max(lag, 0) : n + min(lag, 0)], b[max(-lag, 0) : n - max(lag, 0)]) for lag in LAGS])


def best_lag(curve: np.ndarray) -> float:
    """Lag of the largest value of a lag curve, in frames, refined by a parabola; positive: the first curve is late."""
    if np.isnan(curve).any():
        return math.nan
    peak = int(curve.argmax())
    if not 0 < peak < len(curve) - 1:
        return float(LAGS[peak])
    left, top, right = curve[peak - 1 : peak + 2]
    bend = left - 2 * top + right
    return float(LAGS[peak] + (0.5 * (left - right) / bend if bend < -1e-12 else 0.0))


def pooled_curve(curves: list[np.ndarray], lengths: list[int]) -> np.ndarray:
    """Mean of the clips' lag curves, weighted by their lengths; clips without one do not count."""
    known = [(c, n) for c, n in zip(curves, lengths) if not np.isnan(c).any()]
    if not known:
        return np.full(len(LAGS), np.nan)
    return np.average([c for c, _ in known], axis=0, weights=[n for _, n in known])
