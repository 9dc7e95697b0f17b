"""The scale benchmark's verdicts and the grid of pictures, on made-up figures."""

import math

import numpy as np
import pytest
from PIL import Image

import benchmarks.styles.bundled as style_scale
from benchmarks.figures.readme import contact_sheet, grid_frames, write_gif
from benchmarks.report import Spread
from benchmarks.speech.speech_scores import Clip
from benchmarks.styles.bundled import STYLE_SCALES, monotone, trials, verdicts
from benchmarks.subject import INPUT, Subject
from models.diffusion.solvers import SamplerConfig
from models.generation.animator import Animator
from models.generation.windows import GenerationConfig
from models.heads.flame import load_flame
from tests.support.tiny_talker import make_talker
from utils.coefs import CoefStats, MotionCodec
from utils.motion_file import load_shape
from utils.speech import Phone


def test_monotone():
    assert monotone([1, 2, 3], rising=True)
    assert not monotone([1, 2, 2], rising=True)
    assert monotone([3, 2, 1], rising=False)
    assert not monotone([3, math.nan, 1], rising=False)


def rows(large_step: float, head: float = 1.0) -> dict:
    """Openings and head motion that grow by `large_step` per unit of the style scale in the large styles."""
    found = {}
    for trial in trials(1.15, 3.0):
        grows = trial.style in ("big_mouth", "large_head_movements")
        value = 5 + (large_step if grows else -1) * trial.style_scale
        found[trial] = {"opening_p90": Spread(value, 0), "head_deg": Spread(head * value, 0)}
    return found


def test_trials_cover_every_scale_once():
    all_trials = trials(1.15, 3.0)
    assert len(set(all_trials)) == len(all_trials) == 4 * len(STYLE_SCALES) + len(style_scale.AUDIO_SCALES)


def test_verdicts_follow_the_figures():
    good, bad = verdicts(rows(2.0)), verdicts(rows(-0.5))
    assert [v["monotone"] for v in good] == [True] * 6
    assert [v["monotone"] for v in bad] == [False, True, True] * 2
    assert good[0]["values"] == [5, 7, 9, 11]
    assert good[2]["values"] == pytest.approx([1, 7 / 4, 3, 5.5])
    assert len(verdicts(rows(2.0, head=0.0))) == 3  # nothing to say about a head that never moves


def test_a_run_generates_scale_zero_once(monkeypatch):
    talker = make_talker()
    animator = Animator(talker, MotionCodec(talker.config.layout, CoefStats.identity()), published=False)
    subject = Subject(animator, load_flame(), load_shape(INPUT / "coef" / "average.npy"), "tiny")
    monkeypatch.setattr(Subject, "style", lambda self, name: np.full(128, len(name), np.float32))
    monkeypatch.setattr(style_scale, "STYLE_SCALES", (0.0, 1.0))
    monkeypatch.setattr(style_scale, "AUDIO_SCALES", (1.0,))
    calls = []
    measure = style_scale.score_trial
    monkeypatch.setattr(style_scale, "score_trial", lambda *args: calls.append(args[2]) or measure(*args))
    rng = np.random.default_rng(0)
    clip = Clip(
        "x", 0.1 * rng.standard_normal(16_000).astype(np.float32), [Phone("aa", 0.1, 0.5), Phone("b", 0.5, 0.6)]
    )
    found = style_scale.run(subject, [clip], GenerationConfig(sampler=SamplerConfig("ddim", 2)), 2)
    assert len(found) == 9
    assert len(calls) == 6
    assert len(style_scale.trial_table(found).splitlines()) == 10
    json = style_scale.as_json(subject, 2, found)
    assert json["rows"][0]["style"] == "big_mouth"


def rendered() -> dict[str, list[list[np.ndarray]]]:
    """2 styles x 3 samples x 5 cells of one shade each."""
    return {
        style: [[np.full((40, 30, 3), 40 * k + 10 * i + s, np.uint8) for i in range(5)] for k in range(3)]
        for s, style in enumerate(("one", "two"))
    }


def test_pictures_are_laid_out(tmp_path):
    frames = grid_frames(rendered())
    assert len(frames) == 5
    assert frames[0].shape == (80, 90, 3)
    assert frames[2][75, 85].tolist() == [40 * 2 + 20 + 1] * 3  # second style, third sample, third instant
    sheet = contact_sheet(rendered(), 3)
    assert sheet.shape == (6 * 40, 3 * 30, 3)
    assert sheet[5 * 40 + 35, 85].tolist() == [40 * 2 + 40 + 1] * 3
    write_gif(tmp_path / "a.gif", frames, 80)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 5
        assert gif.info["duration"] == 80
        assert gif.info["loop"] == 0
