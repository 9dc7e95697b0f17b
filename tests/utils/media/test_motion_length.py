"""Motions that are longer or shorter than their sound, at other rates, in other units."""

import wave
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import export_motion
import render_motion
from models.metrics.result_files import read_samples, strangers
from tests.support.tracker_files import import_motion, make_truth, pose_of
from utils.errors import UserError
from utils.exports.arkit import warn_of_other_head
from utils.heads.head_file import load_head_file
from utils.media.motion_length import check_length, from_rate
from utils.motion_file import Motion, doubts, load_motion, load_shape
from utils.runs.run_dir import ROOT

BUNDLED = load_motion(ROOT / "demo/input/motion/smile.npz")


def speech(path, seconds):
    samples = (3000 * np.sin(np.arange(int(16000 * seconds)) / 20)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.tobytes())
    return str(path)


@pytest.mark.parametrize(("n", "sound", "rate"), [(150, 125, "30"), (300, 125, "60"), (120, 125, ""), (60, 125, "")])
def test_lengths(n, sound, rate, caplog):
    advice = "give --motion_fps {fps}"
    if abs(n - sound) <= 12:
        check_length(n, sound, "m.npz", advice)
        assert "4.80 s of motion at 25 fps for 5.00 s" in caplog.text
        return
    match = f"at {rate} fps they would fit; give --motion_fps {rate}" if rate else "give --motion_fps 25"
    with pytest.raises(UserError, match=match):
        check_length(n, sound, "m.npz", advice)
    check_length(n, sound, "m.npz")
    assert "s of sound" in caplog.text


def test_a_frame_or_two_are_not_worth_a_line(caplog):
    check_length(123, 125, "m.npz", "x")
    assert not caplog.text


@pytest.mark.parametrize("fps", [24, 30, 50, 59.94])
def test_other_rates(fps):
    """The same curves at another rate come back, expressions, rotations and tongue."""
    n, times = int(4 * fps) + 1, np.arange(int(4 * fps) + 1)[:, None] / fps
    exp = np.sin(2 * times + np.arange(50)).astype(np.float32)
    turn = Rotation.from_rotvec(0.3 * np.sin(times) * [0.5, 1, 0.2])
    pose = np.concatenate([turn.as_rotvec(), 0.1 + 0.1 * np.sin(3 * times) * [1, 0, 0]], axis=1).astype(np.float32)
    motion = from_rate(Motion(exp, pose, tongue=exp[:, :2]), fps)
    grid = np.arange(len(motion))[:, None] / 25
    assert abs(len(motion) - 25 * (n - 1) / fps - 1) < 1
    np.testing.assert_allclose(motion.exp, np.sin(2 * grid + np.arange(50)), atol=2e-3)
    wanted = Rotation.from_rotvec(0.3 * np.sin(grid) * [0.5, 1, 0.2])
    assert (Rotation.from_rotvec(motion.pose[:, :3]).inv() * wanted).magnitude().max() < 1e-3
    np.testing.assert_array_equal(motion.tongue, motion.exp[:, :2])


@pytest.mark.parametrize("program", ["export", "render"])
def test_the_programs_refuse_another_rate(tmp_path, program, capsys):
    """30 fps motion of 1 s with its speech: the file does not say its rate."""
    cut = BUNDLED.cut(30)
    np.savez(tmp_path / "m.npz", exp=cut.exp, pose=cut.pose)
    audio = speech(tmp_path / "s.wav", 1.0)
    out = tmp_path / ("a.mp4" if program == "render" else "a.glb")
    extra = ["--size", "32", "--look", "clay"] if program == "render" else ["-f", "csv"]
    main = render_motion.main if program == "render" else export_motion.main
    argv = [str(tmp_path / "m.npz"), "-a", audio, "-o", str(out), *extra]
    long = BUNDLED.cut(40)
    np.savez(tmp_path / "m.npz", exp=long.exp, pose=long.pose)
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2 and "1.60 s of motion at 25 fps for 1.00 s" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.npz", "s.wav"]
    main([*argv, "--motion_fps", "40"])
    if program == "export":
        assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + 25
    with pytest.raises(SystemExit):
        main([*argv, "--motion_fps", "0"])
    assert "--motion_fps 0" in capsys.readouterr().err


def test_results_of_another_length(tmp_path):
    truth = make_truth(150)
    np.savez(tmp_path / "a.npz", exp=truth.exp[:, :50], pose=pose_of(truth))
    for frames, good in ((150, True), (146, True), (155, True), (125, False), (200, False)):
        clip = SimpleNamespace(n_frames=frames, name="a")
        if not good:
            with pytest.raises(UserError, match="import_coefs --fps"):
                read_samples([tmp_path / "a.npz"], clip, torch.device("cpu"))
            continue
        assert read_samples([tmp_path / "a.npz"], clip, torch.device("cpu")).exp.shape[1] == min(150, frames)


def test_files_of_no_clip_are_named(tmp_path):
    for name in ("ann_000.npz", "ann_O01.npz", "evaluation/coef/ann_001.npz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert strangers(tmp_path, {"ann/000": [tmp_path / "ann_000.npz"]}) == ["ann_O01.npz"]


def other_unit(name):
    if name == "degrees":
        return replace(BUNDLED, pose=np.degrees(BUNDLED.pose))
    scaled = (BUNDLED.pose - BUNDLED.pose.mean(0)) / (BUNDLED.pose.std(0) + 1e-9)
    return replace(BUNDLED, pose=scaled.astype(np.float32))


@pytest.mark.parametrize(("name", "match"), [("degrees", "degrees"), ("normalised", "normalised")])
def test_other_units_are_warned_of_wherever_motion_is_read(tmp_path, name, match, caplog):
    other_unit(name).save(tmp_path / "m.npz")
    load_motion(tmp_path / "m.npz")
    assert match in caplog.text
    assert any(match in note for note in import_motion(tmp_path / "m.npz").notes)


def test_units_that_are_right_are_not_warned_of():
    for path in (ROOT / "demo/input/motion").glob("*.npz"):
        assert not doubts(load_motion(path))
    truth = make_truth(60)
    assert not doubts(Motion(truth.exp[:, :50], pose_of(truth)))
    flame = replace(BUNDLED, exp=truth.exp[:, :50], head_model="open head")
    assert "far below 0" in doubts(flame)[0] and not doubts(replace(flame, head_model="FLAME 2020"))


def test_flame_on_the_open_head_is_warned_of(caplog):
    warn_of_other_head(replace(BUNDLED, head_model="FLAME 2020"), load_head_file())
    assert "head shape will look wrong" in caplog.text


def test_a_flame_shape_on_the_open_head_is_warned_of(tmp_path, caplog):
    np.save(tmp_path / "mica.npy", np.ones(300, np.float32))
    np.savez(tmp_path / "flame.npz", shape=np.ones(100, np.float32), head_model="FLAME 2020")
    np.savez(tmp_path / "ours.npz", shape=np.ones(100, np.float32), head_model="open head")
    for name, warned in (("mica.npy", True), ("flame.npz", True), ("ours.npz", False)):
        for open_head in (True, False):
            caplog.clear()
            assert load_shape(tmp_path / name, open_head).shape == (100,)
            assert ("shape of FLAME" in caplog.text) == (warned and open_head), (name, open_head)
