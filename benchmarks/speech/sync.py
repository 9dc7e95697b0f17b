"""A mouth against its recording: loudness at 25 fps, and the lag curves of several clips as one."""

from __future__ import annotations

import numpy as np

from models.metrics import synchrony
from models.metrics.synchrony import correlation
from models.metrics.synchrony import subframe_lag as best_lag
from utils.timebase import FPS, samples_per_frame

__all__ = ["FLOOR_DB", "LAGS", "best_lag", "correlation", "envelope_db", "lag_curve", "pooled_curve"]
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


def lag_curve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation of a[t + lag] with b[t] for every lag of LAGS: (T,), (T,) -> (17,)."""
    return synchrony.lag_curve(a, b, REACH)


def pooled_curve(curves: list[np.ndarray], lengths: list[int]) -> np.ndarray:
    """Mean of the clips' lag curves, weighted by their lengths; clips without one do not count."""
    known = [(c, n) for c, n in zip(curves, lengths) if not np.isnan(c).any()]
    if not known:
        return np.full(len(LAGS), np.nan)
    return np.average([c for c, _ in known], axis=0, weights=[n for _, n in known])
