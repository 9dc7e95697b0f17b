"""The arithmetic behind the data card's figures, on made-up takes."""

import numpy as np
import pytest

from benchmarks.corpus.data_card import Heads, Take, head_sizes, head_windows, lip_error, mouth, repeatability
from scripts_for_dataset.synthetic.motion import Speech
from scripts_for_dataset.synthetic.style import SpeakerStyle

PHONES = [("sil", 0.0, 0.4), ("m", 0.4, 0.48), ("aa", 0.48, 0.72), ("p", 0.72, 0.8), ("sil", 0.8, 1.2)]


def made(opening: np.ndarray) -> Take:
    lips = np.zeros((len(opening), 2, 3))
    lips[:, 1, 1] = -opening
    return Take(Speech(np.zeros(640 * len(opening), np.float32), PHONES), {}, opening, lips)


def test_closures_are_counted_and_openings_read_in_the_middle():
    track = np.full(30, 2.0)
    track[11], track[15], track[20:] = 0.4, 9.0, 3.0
    result = mouth([made(track)])
    assert (result["closures"], result["closures_missed"]) == (2, 1)
    assert result["closure_largest_mm"] == 2.0
    assert result["opening_p10_p50_p90_mm"]["aa ae ay"] == [9.0, 9.0, 9.0]
    assert result["opening_p10_p50_p90_mm"]["sil"][1] == pytest.approx(2.5)


def test_takes_are_compared():
    a, b = np.sin(np.arange(50)), np.sin(np.arange(50)) + 2.0
    assert lip_error(made(a).lips, made(b).lips) == pytest.approx(4)
    result = repeatability([(made(a), made(b))])
    assert result["opening_correlation_least"] == pytest.approx(1)
    assert result["lve_mm2"] == pytest.approx(4)
    assert result["lve_of_the_mean_shape_mm2"] == pytest.approx(np.var(a), rel=0.01)


def test_size_and_centroid_of_a_swing():
    time = np.arange(300) / 25
    track = np.stack([3 * np.sin(2 * np.pi * f * time) for f in (0.5, 1.0, 2.0)], axis=1)
    sizes = head_sizes(head_windows([track]))
    for axis, frequency in zip(("pitch", "yaw", "roll"), (0.5, 1.0, 2.0)):
        assert sizes[axis]["std_deg"] == pytest.approx(3 / np.sqrt(2), rel=0.02)
        assert sizes[axis]["centroid_hz"] == pytest.approx(frequency, abs=0.05)
        assert sizes[axis]["power_above_5hz"] < 1e-3


def test_head_amplitude_can_be_read_from_a_few_seconds():
    rng = np.random.default_rng(0)
    phones, now = [], 0.0
    while now < 40:
        phones += [("m", now, now + 0.1), ("aa", now + 0.1, now + 0.3)]
        now += 0.3
        if rng.random() < 0.08:
            phones.append(("sil", now, now + 0.7))
            now += 0.7
    seconds = np.arange(int(now * 16000)) / 16000
    speech = Speech((0.3 * np.sin(2 * np.pi * 140 * seconds) * (1.1 + np.sin(5 * seconds))).astype(np.float32), phones)
    heads = Heads([speech])
    found = heads.speakers(16)
    assert found["ratio"] < 0.6
    assert found["corr_with_amplitude"] > 0.8
    small, large = (head_windows(heads.tracks(SpeakerStyle(head_amplitude=a), 0, 2)).std(1) for a in (0.5, 1.5))
    assert large.mean() > 2.2 * small.mean()
