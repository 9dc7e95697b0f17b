"""extract_style: windows (one, best, mean of all) and trackers' files."""

import numpy as np
import pytest

import extract_style
from models.app.style_files import moving_windows, with_head_motion
from tests.support.demo_workspace import SE_RUN, STATS, write_workspace
from tests.support.tracker_files import make_truth, pose_of, write_spectre, write_vhap
from utils.motion_file import load_motion
from utils.runs.run_dir import DEFAULT_EXPERIMENT, ROOT

ARGS = ["--exp_name", SE_RUN, "-o", "mine.npy", "--coef_stats", str(STATS), "--device", "cpu"]


@pytest.fixture
def extract(tmp_path, experiments, monkeypatch, caplog):
    space = write_workspace(tmp_path / "repo é", experiments)
    space.use(monkeypatch)
    caplog.set_level("INFO")

    def run(*argv):
        caplog.clear()
        extract_style.main([*ARGS, *map(str, argv)])
        return np.load(space.styles / "mine.npy"), caplog.text

    run.space = space
    return run


def long_motion(folder, pause=False):
    """300 frames; with `pause` frames 120 to 239 are still."""
    truth = make_truth(300, seed=4)
    exp, pose = truth.exp[:, :50].astype(np.float32), pose_of(truth)
    if pause:
        exp[120:240], pose[120:240] = exp[120], pose[120]
    np.savez(folder / "long.npz", exp=exp, pose=pose)
    return folder / "long.npz"


def test_window_is_start(extract):
    path = long_motion(extract.space.root)
    (a, said), (b, _), (c, _) = (extract("-c", path, *w) for w in (("-s", 50), ("--window", 50), ()))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c) and "frames 50 to 149" in said


def test_all_is_the_mean(extract):
    path = long_motion(extract.space.root)
    mean, said = extract("-c", path, "--window", "all")
    each = [extract("-c", path, "-s", start)[0] for start in range(0, 201, 25)]
    np.testing.assert_allclose(mean, np.mean(each, axis=0), atol=1e-6)
    assert "9 windows between frames 0 and 299" in said


def test_best_is_the_window_most_like_the_mean(extract):
    path = long_motion(extract.space.root)
    best, said = extract("-c", path, "--window", "best")
    each = np.array([extract("-c", path, "-s", start)[0] for start in range(0, 201, 25)])
    mean = each.mean(axis=0)
    likeness = each @ mean / np.linalg.norm(each, axis=1)
    np.testing.assert_array_equal(best, each[likeness.argmax()])
    start = 25 * likeness.argmax()
    assert f"frames {start} to {start + 99}" in said


def test_a_head_that_was_not_recorded_is_taken_from_another_motion(extract, monkeypatch):
    monkeypatch.setattr("models.app.style_files.input_folder", lambda kind: ROOT / "demo" / "input" / kind)
    with np.load(long_motion(extract.space.root)) as file:
        exp, pose = file["exp"], file["pose"]
    pose[:, :3] = 0
    np.savez(extract.space.root / "still.npz", exp=exp, pose=pose)
    chosen = load_motion(ROOT / "demo/input/motion/smile.npz")
    pose[:, :3] = chosen.pose[:300, :3]
    np.savez(extract.space.root / "moving.npz", exp=exp, pose=pose)
    wanted, quiet = extract("-c", extract.space.root / "moving.npz")
    found, said = extract("-c", extract.space.root / "still.npz")
    np.testing.assert_array_equal(found, wanted)  # all bundled motions have one head motion
    assert "no head rotation" in said and "no head rotation" not in quiet
    other = ["--head_motion", long_motion(extract.space.root)]
    assert not np.array_equal(extract("-c", extract.space.root / "still.npz", *other)[0], wanted)
    long = with_head_motion(load_motion(extract.space.root / "still.npz"), ROOT / "demo/input/motion/smile.npz")
    assert np.abs(np.diff(long.pose[:, :3], axis=0)).max() < 0.1 and long.has_head_motion


def test_pauses_are_no_style(extract):
    motion = load_motion(long_motion(extract.space.root, pause=True))
    starts = np.arange(0, 201, 25)
    kept = moving_windows(motion, starts, 100)
    assert 125 not in kept and 0 in kept and 200 in kept


def test_a_trackers_file_is_read_and_its_notes_shown(extract):
    truth = make_truth(120)
    path = write_vhap(extract.space.root, truth)
    style, said = extract("-c", path)
    assert "FLAME 2023" in said and "120 frames of vhap" in said
    np.savez(extract.space.root / "same.npz", exp=truth.exp[:, :50], pose=pose_of(truth))
    np.testing.assert_allclose(style, extract("-c", extract.space.root / "same.npz")[0], atol=1e-4)
    slower, _ = extract("-c", write_spectre(extract.space.root, make_truth(250)), "--fps", 50)
    assert slower.shape == (128,)


@pytest.mark.parametrize(
    ("argv", "match"),
    [
        (["--window", "most"], "--window most: use best, all"),
        (["--window", "best", "-s", "3"], "--start: --window already"),
        (["--window", "500"], "out of range"),
    ],
)
def test_contradictions(extract, capsys, argv, match):
    with pytest.raises(SystemExit) as end:
        extract("-c", long_motion(extract.space.root), *argv)
    assert end.value.code == 2 and match in capsys.readouterr().err


def test_flame_for_the_open_heads_encoder_is_warned_of(extract, monkeypatch, caplog):
    """Only the file's own word counts: a plain npz says nothing."""
    monkeypatch.undo()
    target = extract.space.root / "warned.npy"
    for fmt, warned in ((["--head_model", "FLAME 2020"], True), (["--head_model", "open head"], False)):
        caplog.clear()
        extract_style.main(["-c", str(long_motion(extract.space.root)), "-o", str(target), "--device", "cpu", *fmt])
        assert ("will mean little" in caplog.text) == warned
    assert DEFAULT_EXPERIMENT and target.is_file()
