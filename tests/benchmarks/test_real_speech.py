"""The arithmetic of the benchmarks on real speech: known curves, known phones, and a whole run on a tiny talker."""

import json
import math

import numpy as np
import pytest

import benchmarks.speech.real_speech as real_speech
from benchmarks.report import Spread, read_flags, text_table, write_json
from benchmarks.speech.speech_scores import (
    FLOOR_DB,
    LAGS,
    MEASURES,
    Clip,
    best_lag,
    chance_level,
    envelope_db,
    lag_curve,
    pool,
    pooled_curve,
    score_clip,
    summary,
    viseme_track,
)
from benchmarks.subject import INPUT, ModelFlags, Subject, generation_config
from models.app.bundled import style_encoder_file
from models.app.sampling_flags import SamplingFlags
from models.generation.animator import Animator
from models.heads.flame import load_flame
from models.metrics.synchrony import correlation
from tests.support.tiny_talker import make_talker
from utils.coefs import CoefStats, MotionCodec
from utils.errors import UserError
from utils.motion_file import load_shape
from utils.speech import Phone

PHONES = [Phone("sil", 0, 0.4), Phone("aa", 0.4, 1.0), Phone("m", 1.0, 1.08), Phone("aa", 1.08, 1.6),
          Phone("b", 1.6, 1.64), Phone("ay", 1.64, 2.0), Phone("sil", 2.0, 2.4)]  # fmt: skip


def clip(phones=PHONES) -> Clip:
    rng = np.random.default_rng(0)
    audio = 0.2 * rng.standard_normal(int(2.4 * 16_000)).astype(np.float32)
    return Clip("x", audio * np.repeat([0.01, 1, 0.01], [6400, 25_600, 6400]).astype(np.float32), phones)


def opening() -> np.ndarray:
    """(60,) mm: rest, open, shut at the m only."""
    track = np.full(60, 0.2)
    track[10:50] = 9.0
    track[25:27] = 0.4
    return track


@pytest.mark.parametrize("shift", [-3, 0, 2])
def test_lag_of_a_shifted_curve(shift):
    b = np.convolve(np.random.default_rng(1).standard_normal(200), np.ones(5), "same")
    a = np.roll(b, shift)  # positive: a is late
    curve = lag_curve(a, b)
    assert best_lag(curve) == pytest.approx(shift, abs=0.1)
    assert curve[shift == LAGS] == pytest.approx(1, abs=0.02)


def test_lag_between_two_frames():
    t = np.arange(300) / 25
    wave = np.sin(2 * np.pi * 1.3 * t) + 0.5 * np.sin(2 * np.pi * 0.7 * t)
    late = np.sin(2 * np.pi * 1.3 * (t - 0.02)) + 0.5 * np.sin(2 * np.pi * 0.7 * (t - 0.02))
    assert best_lag(lag_curve(late, wave)) == pytest.approx(0.5, abs=0.1)


def test_flat_curves_have_no_correlation_and_no_lag():
    assert math.isnan(correlation(np.ones(9), np.arange(9.0)))
    flat = lag_curve(np.ones(50), np.arange(50.0))
    assert math.isnan(best_lag(flat))
    assert np.isnan(pooled_curve([flat], [50])).all()


def test_pooled_curves_weigh_by_length():
    a, b = np.zeros(len(LAGS)), np.ones(len(LAGS))
    assert pooled_curve([a, b, np.full(len(LAGS), np.nan)], [100, 300, 999]) == pytest.approx(0.75)


def test_envelope_is_in_decibels_and_has_a_floor():
    level = np.repeat([1.0, 0.1, 1e-9], 640 * 10)
    envelope = envelope_db(level)
    assert envelope.shape == (30,)
    assert envelope[[0, 10, 20]] == pytest.approx([0, -20, -FLOOR_DB])


def test_closures_within_one_frame_and_by_chance():
    score = score_clip(clip(), opening(), None)
    assert score.shut[1].tolist() == [0.4, 9.0]
    assert score.vowels == pytest.approx([9, 9, 9])
    # the speech is frames 10 to 49; the windows have 4 and 3 frames and meet the shut frames 25, 26 at 5 and 4 places
    assert score.chance[1] == pytest.approx((5 / 37 + 4 / 38) / 2)
    values = pool([score])
    assert values["recall_1"] == 0.5
    assert math.isnan(values["lag"])
    assert values["energy_correlation"] > 0.8
    assert set(values) == set(MEASURES)


def test_a_mouth_that_never_opens_passes_everywhere():
    assert chance_level(clip(), np.zeros(60), 1) == 1
    assert math.isnan(chance_level(clip([]), np.zeros(60), 1))


def test_the_viseme_track_is_shut_at_closures_and_correlates_with_itself():
    shape = load_shape(INPUT / "coef" / "average.npy")
    track = viseme_track(clip(), load_flame(), shape)
    assert track.shape == (60,)
    score = score_clip(clip(), track, track)
    assert (score.shut[1] < 1.0).all()
    assert score.vowels.min() > 5
    values = pool([score])
    assert (values["correlation"], values["size"]) == pytest.approx((1, 1))
    assert values["lag"] == pytest.approx(0, abs=0.01)
    late = pool([score_clip(clip(), np.roll(track, 2), track)])
    assert late["lag"] == pytest.approx(2, abs=0.3)


def test_spread_over_samples():
    track = opening()
    found = summary([[score_clip(clip(), track, None)], [score_clip(clip(), np.where(track > 1, 0.5, track), None)]])
    assert (found["recall_1"].mean, found["recall_1"].std) == pytest.approx((0.75, 0.25))
    assert found["lag"].text() == "-"
    assert Spread.of([1.0, math.nan, 3.0]) == Spread(2.0, 1.0)


def test_report_files(tmp_path):
    write_json(tmp_path / "a.json", {"x": [math.nan, np.float32(1)], "s": Spread(0.5, math.nan)})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [None, 1.0], "s": {"mean": 0.5, "std": None}}
    assert text_table([("a", "bb"), ("ccc", "d")]).splitlines() == ["a    bb", "ccc   d"]


@pytest.fixture
def subject() -> Subject:
    talker = make_talker()
    codec = MotionCodec(talker.config.layout, CoefStats.identity())
    animator = Animator(talker, codec, published=False)
    return Subject(animator, load_flame(), load_shape(INPUT / "coef" / "average.npy"), "tiny/iter_0000001")


def flags(*words: str) -> SamplingFlags:
    return read_flags(ModelFlags, "A benchmark.", words).sampling


def test_guidance_is_the_models_own(subject):
    config = generation_config(subject, flags("--steps", "4", "-sa", "2"))
    assert (config.sampler.name, config.sampler.steps, config.progress) == ("dpmpp_2m", 4, False)
    assert config.guidance.scales == {"audio": 2.0, "style": 1.5}
    assert config.guidance.guided == ("audio", "style")
    with pytest.raises(UserError, match="--steps 7"):
        generation_config(subject, flags("--steps", "7"))


@pytest.mark.parametrize("words", [("--samples", "0"), ("--json", f"{__file__}/a.json"), ("-ss", "nan")])
def test_flags_are_checked_before_the_work(words):
    with pytest.raises(UserError):
        flags(*words)


def test_missing_style_and_encoder_are_named(subject):
    with pytest.raises(UserError, match=r"tiny.*iter_0000001"):
        subject.style("normal")
    with pytest.raises(UserError, match="style encoder is missing"):
        style_encoder_file("experiments\\SE\\none\\checkpoints\\iter_0000001.pt")


def test_a_whole_run(subject, monkeypatch):
    monkeypatch.setattr(Subject, "style", lambda self, name: np.zeros(128, np.float32))
    result = real_speech.evaluate(subject, [clip()], "normal", generation_config(subject, flags("--steps", "2")), 3)
    assert result["bilabials"] == 2
    assert len(result["per_sample"]) == 3
    assert result["viseme_track"]["recall_1"].mean == 1
    assert all(0 < row["missed"] <= 1 for row in result["misses"])
    lines = real_speech.measure_table({"all": result["all"]}).splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("all")


def test_bundled_recordings_align():
    clips = real_speech.read_clips(INPUT / "audio", "sphinx_cards_005")
    assert [phone.name for phone in clips[0].bilabials()] == ["p", "b"]
    with pytest.raises(UserError, match="--recordings nobody"):
        real_speech.read_clips(INPUT / "audio", "nobody")
