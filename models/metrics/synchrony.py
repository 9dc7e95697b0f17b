"""Correlation of two tracks at 25 fps, and the lag at which it is highest.

Every program uses these definitions: `lag_curve` correlates the stretches that overlap at each lag, `subframe_lag` is
the place of its peak, and `whole_lag` the same place in whole frames.
"""

from __future__ import annotations

import math

import numpy as np

SHORTEST = 3  # frames that a correlation needs


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson correlation of two tracks (n,); NaN if one is constant or shorter than 3."""
    if len(a) < SHORTEST:
        return math.nan
    a, b = (np.asarray(track, np.float64) - np.mean(track, dtype=np.float64) for track in (a, b))
    size = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / size) if size > 1e-12 else math.nan


def lag_curve(late: np.ndarray, early: np.ndarray, reach: int) -> np.ndarray:
    """Correlation of late[t + lag] with early[t] over their common frames, for lags -reach..reach.

    late (T,), early (T',) -> (2 * reach + 1,); NaN where a stretch is constant or shorter than 3.
    """
    n = min(len(late), len(early))
    late, early = late[:n], early[:n]
    lags = range(-reach, reach + 1)
    return np.array([
        correlation(late[max(lag, 0) : max(n + min(lag, 0), 0)], early[max(-lag, 0) : max(n - max(lag, 0), 0)])
        for lag in lags
    ])  # fmt: skip


def whole_lag(curve: np.ndarray) -> int | None:
    """Frames by which the first track of a lag curve (2 * reach + 1,) is late: the place of the highest value.

    Of equal values, the one nearest to lag 0 counts. None if no lag has a correlation.
    """
    reach = len(curve) // 2
    known = [(value, -abs(i - reach), i - reach) for i, value in enumerate(curve) if not math.isnan(value)]
    return max(known)[2] if known else None


def subframe_lag(curve: np.ndarray) -> float:
    """`whole_lag` refined by the parabola through the peak and its neighbours, at most half a frame; NaN without one.

    At an end of the curve, or beside a lag without correlation, it is not refined.
    """
    whole = whole_lag(curve)
    if whole is None:
        return math.nan
    peak = whole + len(curve) // 2
    if not 0 < peak < len(curve) - 1:
        return float(whole)
    left, top, right = curve[peak - 1 : peak + 2]
    bend = left - 2 * top + right
    return whole + (float(0.5 * (left - right) / bend) if bend < -1e-12 else 0.0)  # false for NaN as well
