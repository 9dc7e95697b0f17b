"""A model against real people: known openings, known words, and a whole run on a cache without videos."""

import json

import numpy as np
import pytest
import torch

from benchmarks.people.mouth import main, near, rank_correlation
from benchmarks.people.mouth_scores import REACH, Row, as_seen, at_onsets, curves, middle, person_row, ruler_openings
from benchmarks.people.recordings import Cache, Recording, choose, spread
from datasets.splits import split_of
from models.heads.flame import load_flame
from models.heads.mouth import opening_mm
from models.tracking.embedding import LandmarkHead
from utils.coefs import N_EXP
from utils.motion_file import Motion


def motion(n: int, jaw: float = 0.0) -> Motion:
    pose = np.zeros((n, 6), np.float32)
    pose[:, 3] = jaw
    return Motion(np.zeros((n, N_EXP), np.float32), pose)


def recording(clip="a/1", n=75, words=(("sil", 0.0, 0.4), ("bin", 0.4, 0.8), ("phone", 1.0, 1.4)), seed=0) -> Recording:
    rng = np.random.default_rng(seed)
    seen = np.abs(np.convolve(rng.standard_normal(n + 8), np.ones(9), "valid")).astype(np.float32) + 2
    audio = (0.1 * rng.standard_normal(640 * n)).astype(np.float32)
    return Recording(clip, audio, seen, motion(n), words)


def row(**values) -> Row:
    usual = dict.fromkeys(Row.__dataclass_fields__, 1.0) | {"person": "a", "kind": "", "clips": 2, "onsets": 4}
    return Row(**(usual | values))


def test_recording_survives_the_cache(tmp_path):
    saved = recording()
    saved.save(tmp_path / "a" / "1.npz")
    (read,) = Cache(None, tmp_path).read(["a/1"])
    assert read.words == list(saved.words) and read.person == "a"
    assert np.abs(read.audio - saved.audio).max() <= 1 / 32768
    np.testing.assert_array_equal(read.seen, saved.seen)


def test_words_beside_the_videos_count(tmp_path):
    recording().save(tmp_path / "cache" / "a" / "1.npz")
    (tmp_path / "faces" / "a").mkdir(parents=True)
    (tmp_path / "faces" / "a" / "1.mkv").touch()  # in the cache, so it is not read
    (tmp_path / "words.jsonl").write_text('{"clip": "a/1", "words": [["please", 1.0, 1.5]]}\n')
    (read,) = Cache(tmp_path / "faces", tmp_path / "cache").read(["a/1"])
    assert read.onsets == [1.0]


def test_clips_without_a_mouth_are_left_out(tmp_path):
    hidden = recording()
    hidden.seen[:20] = np.nan
    hidden.save(tmp_path / "a" / "1.npz")
    assert Cache(None, tmp_path).read(["a/1"]) == []


def test_only_spoken_b_and_p_are_onsets():
    assert recording().onsets == [0.4]


def test_held_out_clips_alone_are_measured_of_whom_the_model_knows():
    clips = [f"s/{i}" for i in range(200)]
    choice = choose(clips, True, 10, 5)
    assert len(choice.measured) == 10 and len(choice.style) == 5
    assert all(split_of(clip) != "train" for clip in choice.measured)
    assert all(split_of(clip) == "train" for clip in choice.style)
    stranger = choose(clips[:2], False, 10, 5)
    assert stranger.measured == stranger.style == clips[:2]


def test_spread_keeps_both_ends():
    assert spread(list("abcde"), 3) == ["a", "c", "e"]


def test_a_late_model_is_found_late():
    one = recording()
    late = np.roll(one.seen, 2)[None]
    curve = curves(late, one.seen)[0]
    assert np.argmax(curve) == REACH + 2 and curve[REACH + 2] == pytest.approx(1, abs=0.02)
    assert person_row("a", "", [one], [late], None).lag == pytest.approx(2, abs=0.3)


def test_a_peak_far_away_is_no_lag():
    one = recording()
    assert np.isnan(person_row("a", "", [one], [np.roll(one.seen, 6)[None]], None).lag)


def test_gaps_in_what_is_seen_are_bridged():
    one = recording()
    track = one.seen.copy()[None]
    one.seen[30] = np.nan
    assert curves(track, one.seen)[0, REACH] > 0.98


def test_least_opening_about_an_onset():
    track = np.full(30, 5.0)
    track[12], track[13] = 0.5, -1.0  # 0.4 s is frame 10
    assert at_onsets(track, [0.4, 9.0]) == [0.5]


def test_a_persons_row_by_hand():
    one, two = recording("a/1"), recording("a/2", seed=1)
    made = [np.stack([2 * r.seen, 2 * r.seen]) for r in (one, two)]
    made[0][:, 10] = -3  # shut at the onset of the first clip; the second stays open
    seen = np.concatenate([one.seen, two.seen])
    found = person_row("a", "", [one, two], made, made[0])
    assert (found.clips, found.onsets, found.shut, found.shut_seen) == (2, 2, 0.5, 0.0)
    assert found.r > 0.9 > found.wrong
    joined = np.maximum(np.concatenate([made[0][0], made[1][0]]), 0)
    assert found.sd_ratio == pytest.approx(joined.std() / seen.std())
    assert found.p90_ratio == pytest.approx(np.quantile(joined, 0.9) / np.quantile(seen, 0.9))
    assert found.sentence_sd == pytest.approx(as_seen(made[0]).std(axis=1).mean())


def test_one_clip_has_no_wrong_one():
    found = person_row("a", "", [recording()], [recording().seen[None]], None)
    assert np.isnan(found.wrong) and found.r == pytest.approx(1) and found.mtm == 0


def test_the_median_person_and_pooled_closures():
    found = middle([row(r=0.2, onsets=1, shut=1.0), row(r=0.4, onsets=3, shut=0.0), row(r=0.9, onsets=0, shut=np.nan)])
    assert (found.r, found.onsets, found.shut, found.clips) == (0.4, 4, 0.25, 6)


def test_style_and_amplitude_over_people():
    rows = [
        row(own_sd=x, sentence_sd=y, sd_ratio=z) for x, y, z in ((1, 5, 0.7), (2, 6, 0.9), (3, 9, 1.2), (4, 7, 1.3))
    ]
    assert rank_correlation(rows) == pytest.approx(0.8)
    assert near(rows) == 0.5


def test_the_ruler_reads_the_head_in_units_of_its_eyes():
    flame = load_flame()
    open_mouth = motion(2, 0.2)
    ruler = ruler_openings(LandmarkHead(flame.head), [motion(2), open_mouth])
    assert ruler.shape == (2, 2)
    assert ruler[1, 0] == pytest.approx(opening_mm(flame, open_mouth)[0] / 0.97, rel=0.05)  # eyes are 87.3 mm apart


def test_a_run_without_videos(tmp_path, capsys):
    for k, clip in enumerate(("a/1", "a/2", "b/1")):
        recording(clip, seed=k).save(tmp_path / "cache" / f"{clip}.npz")
    torch.manual_seed(0)
    main(["--cache", str(tmp_path / "cache"), "--samples=2", "--steps=2", "--style=person", "--device=cpu",
          "--json", str(tmp_path / "out.json")])  # fmt: skip
    written = json.loads((tmp_path / "out.json").read_text())
    assert [r["person"] for r in written["rows"]] == ["a", "all"]  # b has too little for a style
    assert np.isfinite(written["rows"][0]["r"]) and written["people"] == 1
    assert "amplitude within" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "said"),
    [([], "holds no <person>"), (["--trained=x"], "--trained x"), (["--sentence=a/9"], "--sentence a/9")],
)
def test_bad_flags(tmp_path, capsys, flags, said):
    if flags:
        recording().save(tmp_path / "a" / "1.npz")
    with pytest.raises(SystemExit) as stop:
        main(["--cache", str(tmp_path), "--device=cpu", *flags])
    assert stop.value.code == 2 and said in capsys.readouterr().err
