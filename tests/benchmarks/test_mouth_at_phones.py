"""The benchmark's arithmetic, on made-up phones and openings."""

import json
import math

import numpy as np
import pytest

from benchmarks.report import table
from benchmarks.speech import real_speech
from benchmarks.speech.real_speech import read_opening
from benchmarks.speech.speech_scores import MouthScore, near, pool_mouths, score_mouth
from benchmarks.subject import INPUT
from models.heads.flame import load_flame
from models.metrics.lips import ClosureRule
from utils.errors import UserError
from utils.media.alignment import read_transcripts, words_of
from utils.speech import Phone

PHONES = [Phone("m", 0.40, 0.48), Phone("aa", 0.48, 0.72), Phone("b", 0.80, 0.84), Phone("t", 0.9, 1.0)]


def opening_track() -> np.ndarray:
    """(30,) mm: shut two frames before the m, open in the vowel, never shut near the b."""
    track = np.full(30, 5.0)
    track[8] = 0.6
    track[12:18] = 10.0
    track[19:23] = 1.5
    return track


def test_frames_of_a_phone():
    assert Phone("p", 0.40, 0.48).frames() == range(10, 12)
    assert Phone("p", 0.41, 0.42).frames() == range(10, 11)  # shorter than a frame: the one it falls into
    assert len(Phone("p", 0.40, 0.56).frames(fps=50)) == 8


def test_near_stays_within_the_clip():
    track = np.arange(12.0)
    assert near(Phone("p", 0.0, 0.04), track, 2).tolist() == [0, 1, 2]
    assert near(Phone("p", 0.40, 0.48), track, 3).tolist() == [7, 8, 9, 10, 11]
    assert near(Phone("p", 2.0, 2.1), track, 2).size == 0


def test_closures_and_vowels_are_counted():
    result = score_mouth("x", PHONES, opening_track(), ClosureRule(1.0, 2))
    assert (result.closures_expected, result.closures_found, result.open_vowels) == (2, 1, 1)
    assert result.opening_at_closures_mm == pytest.approx((0.6 + 1.5) / 2)
    assert result.opening_at_vowels_mm == pytest.approx(10)
    assert result.correlation > 0.9


@pytest.mark.parametrize(
    ("rule", "found"),
    [(ClosureRule(2.0, 2), 2), (ClosureRule(1.0, 1), 0), (ClosureRule(0.5, 2), 0), (ClosureRule(1.0, 9), 1)],
)
def test_the_rule_decides(rule, found):
    assert score_mouth("x", PHONES, opening_track(), rule).closures_found == found


def test_nothing_to_measure_is_nan_not_a_crash():
    result = score_mouth("x", [Phone("t", 0, 0.2)], opening_track(), ClosureRule())
    assert result.closures_expected == 0
    assert math.isnan(result.opening_at_closures_mm)
    assert math.isnan(result.correlation)
    assert math.isnan(pool_mouths([result]).opening_at_vowels_mm)


def test_pool_weights_by_phones():
    a = MouthScore("a", 1, 1, 0.0, 1, 10.0, 0.5)
    b = MouthScore("b", 3, 0, 4.0, 0, math.nan, math.nan)
    both = pool_mouths([a, b])
    assert (both.closures_expected, both.closures_found, both.open_vowels) == (4, 1, 1)
    assert both.opening_at_closures_mm == pytest.approx(3.0)
    assert both.opening_at_vowels_mm == pytest.approx(10.0)
    assert both.correlation == pytest.approx(0.5)
    assert len(table([a, b, both]).splitlines()) == 4


def test_opening_of_a_coefficient_file(tmp_path):
    pose = np.zeros((6, 6), np.float32)
    pose[:, 3] = np.linspace(0, 0.3, 6)
    pose[:, 1] = 0.5  # turning the head is not opening the mouth
    np.savez(tmp_path / "a.npz", exp=np.zeros((6, 50), np.float32), pose=pose, shape=np.zeros(100, np.float32))
    opening = read_opening(tmp_path / "a.npz", load_flame())
    assert opening.shape == (6,)
    assert abs(opening[0]) < 1.0
    assert (np.diff(opening) > 3).all()
    assert 20 < opening[-1] < 35


def test_bad_coefficient_files_are_user_errors(tmp_path):
    flame = load_flame()
    (tmp_path / "a.npz").write_text("nothing")
    np.savez(tmp_path / "b.npz", exp=np.zeros((5, 50)))
    np.savez(tmp_path / "c.npz", exp=np.zeros((5, 50)), pose=np.zeros((4, 6)), shape=np.zeros(100))
    for name in "abc":
        with pytest.raises(UserError, match=f"{name}.npz"):
            read_opening(tmp_path / f"{name}.npz", flame)


def test_transcripts(tmp_path):
    path = tmp_path / "transcripts.tsv"
    path.write_text("file\ttranscript\none.flac\tHello, you there\n\ntwo.wav\tit's fine\n", encoding="utf-8")
    assert read_transcripts(path) == {"one": "Hello, you there", "two": "it's fine"}
    assert words_of("Hello, you THERE - it's") == ["hello", "you", "there", "it's"]
    path.write_text("file\ttranscript\nbroken line\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 2"):
        read_transcripts(path)
    with pytest.raises(UserError, match="no such transcript list"):
        read_transcripts(tmp_path / "none.tsv")


def test_motion_that_exists_is_scored(tmp_path, capsys):
    with np.load(INPUT / "motion" / "normal.npz") as motion:
        arrays = {"exp": motion["exp"], "pose": motion["pose"], "shape": np.zeros(100, np.float32)}
    np.savez(tmp_path / "sphinx_cards_005.npz", **arrays)
    real_speech.main(["--coefs", str(tmp_path), "--json", str(tmp_path / "out.json")])
    assert "sphinx_cards_005      2" in capsys.readouterr().out
    found = json.loads((tmp_path / "out.json").read_text())
    assert [score["name"] for score in found["scores"]] == ["sphinx_cards_005", "all"]
    assert found["rule"] == {"closed_mm": 1.0, "tolerance": 1}
