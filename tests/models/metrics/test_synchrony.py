"""Correlation and lag of tracks whose answer is known; whole frames and fractions of one agree."""

import math

import numpy as np
import pytest

from models.metrics.score import LAG_OVERLAP, LAG_REACH
from models.metrics.synchrony import correlation, lag_curve, subframe_lag, whole_lag


def sync_lag(predicted: np.ndarray, truth: np.ndarray) -> int | None:
    """The reach that evaluate.py uses for a clip of this length."""
    return whole_lag(lag_curve(predicted, truth, min(LAG_REACH, max(len(truth) - LAG_OVERLAP, 0))))


def wave(late: float) -> np.ndarray:
    """A smooth track of 300 frames that comes `late` frames late."""
    time = (np.arange(300) - late) / 25
    return np.sin(2 * np.pi * 1.3 * time) + 0.5 * np.sin(2 * np.pi * 0.7 * time)


def test_correlation_by_hand():
    a, b = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 1.0, 4.0, 3.0])
    assert correlation(a, b) == pytest.approx(0.6)  # covariance 3 / sqrt(5 * 5)
    assert correlation(a, -2 * a) == pytest.approx(-1)
    assert math.isnan(correlation(a, np.ones(4)))
    assert math.isnan(correlation(a[:2], b[:2]))
    assert correlation(a.astype(np.float32) + 1e6, b.astype(np.float32)) == pytest.approx(0.6)  # summed in float64


@pytest.mark.parametrize("shift", [-7, -1, 0, 2, 12])
def test_lag_of_a_shifted_track(shift):
    track = np.random.default_rng(0).standard_normal(200).cumsum()
    assert sync_lag(np.roll(track, shift)[20:180], track[20:180]) == shift


def test_lag_of_what_has_none():
    track = np.random.default_rng(0).standard_normal(100)
    assert sync_lag(np.ones(100), track) is None
    assert math.isnan(subframe_lag(lag_curve(np.ones(100), track, 8)))
    assert sync_lag(track[:26], np.roll(track[:26], 5)) in (-1, 0, 1)  # too short for more
    assert sync_lag(track[:10], track[:10]) == 0


@pytest.mark.parametrize("late", [-3.4, -0.5, 0.0, 0.2, 0.5, 2.0, 6.75])
def test_fractions_of_a_frame_are_found(late):
    curve = lag_curve(wave(late), wave(0.0), 8)
    assert subframe_lag(curve) == pytest.approx(late, abs=0.05)
    assert abs(subframe_lag(curve) - whole_lag(curve)) <= 0.5


def test_the_peak_at_an_end_or_beside_nothing_stays_whole():
    assert subframe_lag(np.array([0.9, 0.5, 0.1])) == -1.0
    assert subframe_lag(np.array([np.nan, 0.5, 0.1])) == 0.0
    assert whole_lag(np.array([0.5, 0.1, 0.5])) == 1  # of equals, the later


def test_tracks_of_unequal_length_and_short_ones():
    assert lag_curve(wave(1.0), wave(0.0)[:200], 8).tolist() == lag_curve(wave(1.0)[:200], wave(0.0)[:200], 8).tolist()
    short = lag_curve(wave(0.0)[:5], wave(0.0)[:5], 8)
    assert np.isfinite(short).tolist() == [False] * 6 + [True] * 5 + [False] * 6  # at least 3 frames overlap
