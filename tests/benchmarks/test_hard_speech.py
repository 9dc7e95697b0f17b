"""Noise levels, time scaling and pauses are what they say; the lists of recordings are read."""

import numpy as np
import pytest

from benchmarks.speech.hard_speech import (
    babble,
    conditions,
    faster,
    mixed,
    pink_noise,
    read_languages,
    rest_measures,
    stretch,
    with_pause,
)
from benchmarks.speech.speech_scores import Clip
from benchmarks.subject import INPUT
from utils.errors import UserError
from utils.speech import Phone

PHONES = [Phone("sil", 0, 0.2), Phone("aa", 0.2, 0.9), Phone("b", 0.9, 1.0), Phone("aa", 1.0, 1.8)]


def tone(seconds: float = 2.0, pitch: float = 200.0) -> np.ndarray:
    t = np.arange(int(seconds * 16_000)) / 16_000
    return (0.3 * np.sin(2 * np.pi * pitch * t) + 0.1 * np.sin(4 * np.pi * pitch * t)).astype(np.float32)


def clip() -> Clip:
    return Clip("x", tone(), PHONES)


@pytest.mark.parametrize("snr", [20, 5, -3])
def test_noise_has_the_level_it_says(snr):
    noise = pink_noise(32_000, np.random.default_rng(0))
    added = mixed(clip(), noise, snr).audio - clip().audio
    assert 20 * np.log10(clip().audio.std() / added.std()) == pytest.approx(snr, abs=0.01)


def test_pink_noise_falls_3_decibels_per_octave():
    power = np.abs(np.fft.rfft(pink_noise(2**17, np.random.default_rng(1)))) ** 2
    frequency = np.fft.rfftfreq(2**17, 1 / 16_000)

    def level(low: float) -> float:
        return 10 * np.log10(power[(frequency >= low) & (frequency < 1.2 * low)].mean())

    assert level(200) - level(1600) == pytest.approx(9, abs=1)


def test_babble_has_every_voice():
    voices = [tone(0.5, 300), tone(0.7, 1000)]
    spectrum = np.abs(np.fft.rfft(babble(16_000, voices, np.random.default_rng(0))))
    assert {300, 1000} <= set(np.argsort(spectrum)[-2:])


@pytest.mark.parametrize("rate", [1.3, 1.6, 0.8])
def test_stretching_changes_the_length_and_not_the_pitch(rate):
    fast = stretch(tone(), rate)
    assert len(fast) == round(32_000 / rate)
    spectrum = np.abs(np.fft.rfft(fast[1600:-1600] * np.hanning(len(fast) - 3200)))
    peak = np.fft.rfftfreq(len(fast) - 3200, 1 / 16_000)[spectrum.argmax()]
    assert peak == pytest.approx(200, abs=3)
    assert fast[1600:-1600].std() == pytest.approx(tone().std(), rel=0.1)


@pytest.mark.parametrize("rate", [1.3, 1.6, 0.8])
def test_stretching_keeps_events_in_their_place(rate):
    """Bursts of noise every 0.3 s stay where the phone times say, to 5 ms in the mean."""
    at = np.arange(0.3, 2.8, 0.3)
    t = np.arange(3 * 16_000) / 16_000
    size = sum(np.exp(-(((t - centre) / 0.03) ** 2)) for centre in at)
    fast = stretch(size * np.random.default_rng(0).standard_normal(len(t)), rate)
    time = np.arange(len(fast)) / 16_000
    found = []
    for centre in at / rate:
        near = np.abs(time - centre) < 0.12 / rate
        found.append(np.average(time[near], weights=fast[near] ** 2) - centre)
    assert abs(np.mean(found)) < 0.005
    assert np.abs(found).max() < 0.02


def test_phones_follow():
    fast = faster(clip(), 2.0)
    assert fast.phones[2] == Phone("b", 0.45, 0.5)
    paused, where = with_pause(clip(), 2.0, np.random.default_rng(0))
    assert (where.start, where.stop) == (1.0, 3.0)  # after the b, the border nearest to the middle
    assert len(paused.audio) == 4 * 16_000
    assert paused.phones[-1] == Phone("aa", 3.0, 3.8)
    assert paused.phones[3].name == "sil"
    hush = paused.audio[16_000:48_000]
    assert 20 * np.log10(hush.std() / clip().audio.std()) == pytest.approx(-60, abs=0.1)


def test_conditions_disturb_every_clip_the_same_way_each_time():
    first, again = (conditions([clip()], [tone(1.0, 500)]) for _ in range(2))
    assert len(first) == 8
    for name in first:
        np.testing.assert_array_equal(first[name][0].audio, again[name][0].audio)
    assert len({clips[0].audio.tobytes() for clips in first.values()}) == 8


def test_rest():
    measures = rest_measures(np.array([[0.0, 0, 0, 4], [0, 0, 4, 4]]))
    assert measures["mean_mm"].mean == pytest.approx(1.5)
    assert measures["at_rest"].mean == pytest.approx(0.625)


def test_languages_align():
    clips = read_languages(INPUT / "audio")
    assert {"Spanish", "French", "Italian", "Russian"} <= set(clips)
    for spoken in clips.values():
        assert len(spoken.bilabials()) >= 6
        assert spoken.phones[-1].end <= len(spoken.audio) / 16_000 + 1e-6


def test_lists_at_fault(tmp_path):
    with pytest.raises(UserError, match="no such list"):
        read_languages(tmp_path)
    (tmp_path / "languages.tsv").write_text("file\tlanguage\twords\tpronunciation\na.flac\tGerman\tja\n")
    with pytest.raises(UserError, match="line 2: 3 columns"):
        read_languages(tmp_path)
