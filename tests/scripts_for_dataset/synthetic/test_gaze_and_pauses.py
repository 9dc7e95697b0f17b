"""Where the speaker looks, and what the mouth does between phrases."""

import numpy as np
import pytest

from scripts_for_dataset.synthetic.clips import pause_seconds
from scripts_for_dataset.synthetic.gaze import Aversion, aversions, gaze_angles, saccade
from scripts_for_dataset.synthetic.pauses import breaths, pauses, presses
from scripts_for_dataset.synthetic.style import SpeakerStyle

PHRASES = [(0.5, 3.0), (4.4, 7.0), (7.3, 9.0)]


def frame(seconds):
    return int(seconds * 25)


def test_most_pauses_are_short_and_a_few_are_a_silent_face():
    rng = np.random.default_rng(0)
    seconds = np.array([pause_seconds(rng) for _ in range(4000)])
    assert 0.25 < np.median(seconds) < 0.35 and seconds.max() < 10
    assert 0.03 < (seconds > 4).mean() < 0.05 and not ((seconds > 2) & (seconds < 4)).any()


def test_pauses_lie_before_phrases():
    assert pauses(PHRASES) == [(0.0, 0.5), (3.0, 4.4), (7.0, 7.3)]
    assert pauses([]) == []


def test_breaths_come_before_phrases_and_are_deeper_after_long_pauses():
    track = breaths(250, PHRASES)
    long, short = track[frame(3.0) : frame(4.5)].max(), track[frame(7.0) : frame(7.4)].max()
    assert long > 0.9 and 0.2 < short < 0.5
    assert track[frame(3.0) : frame(3.65)].max() < 0.05  # not before the breath
    assert track[frame(4.6) : frame(6.9)].max() < 1e-6  # gone while talking
    assert breaths(50, []).max() == 0
    np.testing.assert_array_equal(breaths(50, [(0.0, 2.0)]), 0)  # speech from the first sample on


def test_breaths_do_not_depend_on_chance_and_lips_press_in_long_pauses_only():
    many = [(2.0 * k, 2.0 * k + 1.0) for k in range(1, 41)]
    pressed = presses(2100, many, np.random.default_rng(0))
    count = int(((pressed[1:] > 0.5) & (pressed[:-1] <= 0.5)).sum())
    assert 9 <= count <= 24  # 40 % of 40
    talking = np.concatenate([np.arange(frame(a), frame(b)) for a, b in many])
    assert pressed[talking].max() < 0.2
    close = [(1.2 * k, 1.2 * k + 0.9) for k in range(1, 41)]
    assert presses(1300, close[1:], np.random.default_rng(0))[frame(2.5) :].max() == 0


def test_a_saccade_is_over_in_a_few_frames():
    track = saccade(25, 0.4, np.array([2.0, -6.0]))
    assert np.abs(track[:10]).max() == 0
    np.testing.assert_allclose(track[13:], [[2.0, -6.0]] * 12)


def test_eyes_leave_the_listener_for_the_aversion_only():
    looks = [Aversion(2.0, 3.2, np.array([-2.0, 9.0]))]
    gaze = gaze_angles(200, np.zeros((200, 3)), looks, SpeakerStyle(gaze_activity=0.5), np.random.default_rng(1))
    assert gaze[frame(2.2) : frame(3.1), 1].min() > 4
    assert np.abs(np.concatenate([gaze[: frame(1.9)], gaze[frame(3.4) :]])[:, 1]).max() < 4


def test_aversions_are_in_pauses_and_grow_with_activity():
    many = [(2.5 * k, 2.5 * k + 1.6) for k in range(80)]
    few, more = (aversions(many, SpeakerStyle(gaze_activity=a), np.random.default_rng(0)) for a in (0.5, 1.4))
    assert 5 < len(few) < len(more) < 75
    for look in more:
        assert any(end - 0.11 <= look.start <= end + 0.26 for _, end in many)
        assert 0.35 < look.end - look.start < 2.5


def test_fixations_are_log_normal():
    still = np.zeros((50000, 3))
    gaze = gaze_angles(50000, still, [], SpeakerStyle(), np.random.default_rng(0))
    jumps = np.flatnonzero(np.abs(np.diff(gaze, axis=0)).max(1) > 0.05)
    starts = jumps[np.insert(np.diff(jumps) > 2, 0, True)]
    gaps = np.diff(starts) / 25
    assert np.median(gaps) == pytest.approx(0.9, abs=0.15)
    assert np.std(np.log(gaps)) == pytest.approx(0.55, abs=0.12)
    assert np.abs(gaze).max() < 16
