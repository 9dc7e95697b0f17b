"""ARKit values and the Live Link Face csv: columns against the published list, signs against the moving head."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from models.heads.flame import load_flame
from utils.errors import UserError
from utils.exports.arkit import (
    BLEND_SHAPES,
    ArkitTrack,
    arkit_of_open_head,
    gaze_angles,
    has_arkit_expressions,
    yaw_pitch_roll,
)
from utils.exports.livelink import timecode, write_livelink
from utils.heads.joints import JAW_OPEN_RADIANS
from utils.motion_file import Motion, load_motion
from utils.runs.run_dir import ROOT
from utils.trackers.arkit import read_track

# The header line of recordings of Epic's Live Link Face app, as its importers quote it.
APP_HEADER = (
    "Timecode,BlendShapeCount,EyeBlinkLeft,EyeLookDownLeft,EyeLookInLeft,EyeLookOutLeft,EyeLookUpLeft,EyeSquintLeft,"
    "EyeWideLeft,EyeBlinkRight,EyeLookDownRight,EyeLookInRight,EyeLookOutRight,EyeLookUpRight,EyeSquintRight,"
    "EyeWideRight,JawForward,JawRight,JawLeft,JawOpen,MouthClose,MouthFunnel,MouthPucker,MouthRight,MouthLeft,"
    "MouthSmileLeft,MouthSmileRight,MouthFrownLeft,MouthFrownRight,MouthDimpleLeft,MouthDimpleRight,MouthStretchLeft,"
    "MouthStretchRight,MouthRollLower,MouthRollUpper,MouthShrugLower,MouthShrugUpper,MouthPressLeft,MouthPressRight,"
    "MouthLowerDownLeft,MouthLowerDownRight,MouthUpperUpLeft,MouthUpperUpRight,BrowDownLeft,BrowDownRight,BrowInnerUp,"
    "BrowOuterUpLeft,BrowOuterUpRight,CheekPuff,CheekSquintLeft,CheekSquintRight,NoseSneerLeft,NoseSneerRight,"
    "TongueOut,HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw,LeftEyePitch,LeftEyeRoll,RightEyeYaw,RightEyePitch,RightEyeRoll"
)


@pytest.fixture(scope="module")
def flame():
    return load_flame(None)


@pytest.fixture(scope="module")
def motion() -> Motion:
    return load_motion(ROOT / "demo/input/motion/large_head_movements.npz")


def posed(rotvec: tuple[float, float, float]) -> Motion:
    pose = np.zeros((1, 6), np.float32)
    pose[0, :3] = rotvec
    return Motion(np.zeros((1, 50), np.float32), pose)


def test_columns_are_the_apps(tmp_path, flame, motion):
    write_livelink(tmp_path / "a.csv", arkit_of_open_head(flame.head, motion))
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert ",".join(rows[0]) == APP_HEADER
    assert len(rows) == 1 + len(motion)
    assert {len(row) for row in rows} == {63}
    assert {row[1] for row in rows[1:]} == {"61"}
    values = np.array([[float(x) for x in row[2:]] for row in rows[1:]])
    assert np.isfinite(values).all()
    assert values[:, :52].min() >= 0 and values[:, :52].max() <= 1


def test_timecodes_divide_by_60(tmp_path, flame, motion):
    """Unreal's importer: seconds + the last field / 60."""
    write_livelink(tmp_path / "a.csv", arkit_of_open_head(flame.head, motion))
    codes = [line.split(",")[0] for line in (tmp_path / "a.csv").read_text().splitlines()[1:]]
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d:\d\d\.\d{3}", code) for code in codes)
    parts = np.array([[float(x) for x in code.split(":")] for code in codes])
    seconds = parts @ [3600, 60, 1, 1 / 60]
    np.testing.assert_allclose(seconds, np.arange(len(motion)) / 25, atol=1e-5)
    assert parts[:, 3].max() < 60
    assert timecode(3661.5) == "01:01:01:30.000"
    assert timecode(0.9999999) == "00:00:01:00.000"  # never frame 60


def test_values_come_from_the_axes(flame, motion):
    track = arkit_of_open_head(flame.head, motion)
    for name in ("mouthSmileLeft", "browInnerUp", "eyeBlinkRight", "mouthClose"):
        expected = np.clip(motion.exp[:, flame.head.exp_names.index(name)], 0, 1)
        np.testing.assert_array_equal(track.column(name), expected)
    np.testing.assert_allclose(track.column("jawOpen"), np.clip(motion.pose[:, 3] / JAW_OPEN_RADIANS, 0, 1), atol=1e-6)
    assert track.column("tongueOut").max() == 0


@pytest.mark.parametrize(
    ("column", "rotvec", "axis", "sign"),
    [
        ("headYaw", (0, 0.2, 0), 0, 1),  # positive yaw: the nose moves to the person's left, +x
        ("headPitch", (0.2, 0, 0), 1, -1),  # positive pitch: the nose goes down
        ("headRoll", (0, 0, 0.2), 0, -1),  # positive roll: the crown leans to the person's right, -x
    ],
)
def test_head_signs(flame, column, rotvec, axis, sign):
    track = arkit_of_open_head(flame.head, posed(rotvec))
    assert track.column(column)[0] == pytest.approx(0.2, abs=1e-6)
    assert np.count_nonzero(np.abs(track.angles[0, :3]) > 1e-6) == 1
    with torch.no_grad():
        shape, exp = torch.zeros(1, 100), torch.zeros(1, 50)
        moved = flame(shape, exp, torch.from_numpy(posed(rotvec).pose)) - flame(shape, exp, torch.zeros(1, 6))
    crown = int(flame.head.v_template[:, 1].argmax())
    vertex = crown if column == "headRoll" else flame.head.landmark("nose_tip")
    assert sign * float(moved[0, vertex, axis]) > 0.005


def test_angles_compose():
    yaw, pitch, roll = 0.5, -0.3, 0.2
    axes = np.eye(3)
    rotation = Rotation.from_rotvec(yaw * axes[1]) * Rotation.from_rotvec(pitch * axes[0])
    rotation = rotation * Rotation.from_rotvec(roll * axes[2])
    np.testing.assert_allclose(yaw_pitch_roll(rotation), [yaw, pitch, roll], atol=1e-6)


def test_eyes_turn_where_their_names_say(flame):
    head = flame.head
    assert gaze_angles(head, "eyeLookOutLeft", "left_eyeball")[0] > 0.2  # to the person's left
    assert gaze_angles(head, "eyeLookOutRight", "right_eyeball")[0] < -0.2
    assert gaze_angles(head, "eyeLookInLeft", "left_eyeball")[0] < -0.2
    assert gaze_angles(head, "eyeLookDownLeft", "left_eyeball")[1] > 0.1
    assert gaze_angles(head, "eyeLookUpRight", "right_eyeball")[1] < -0.1
    exp = np.zeros((1, 50), np.float32)
    exp[0, head.exp_names.index("eyeLookOutLeft")] = 0.5
    track = arkit_of_open_head(head, Motion(exp, np.zeros((1, 6), np.float32)))
    expected = 0.5 * gaze_angles(head, "eyeLookOutLeft", "left_eyeball")[0]
    assert track.column("leftEyeYaw")[0] == pytest.approx(expected, abs=1e-6)
    assert track.column("rightEyeYaw")[0] == 0


def test_reading_back(tmp_path, flame, motion):
    track = arkit_of_open_head(flame.head, motion)
    write_livelink(tmp_path / "a.csv", track)
    back = read_track(tmp_path / "a.csv")
    np.testing.assert_allclose(back.weights, track.weights, atol=1e-6)
    np.testing.assert_allclose(back.angles, track.angles, atol=1e-6)
    assert back.fps == pytest.approx(25, rel=1e-4)


def test_bad_csv(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_track(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_text("Timecode,BlendShapeCount,JawOpen\n00:00:00:00,1,0.5\n")
    with pytest.raises(UserError, match="no ARKit blend shapes"):
        read_track(tmp_path / "a.csv")
    write_livelink(tmp_path / "b.csv", ArkitTrack(np.zeros((2, 52), np.float32), np.zeros((2, 9), np.float32)))
    (tmp_path / "b.csv").write_text((tmp_path / "b.csv").read_text().replace("0.000000", "x", 1))
    with pytest.raises(UserError, match="numbers only"):
        read_track(tmp_path / "b.csv")


def test_other_heads_must_be_fitted(flame, motion):
    other = replace(flame.head, exp_names=None)
    assert has_arkit_expressions(flame.head)
    assert not has_arkit_expressions(other)
    with pytest.raises(UserError, match="fitted"):
        arkit_of_open_head(other, motion)
    assert len(BLEND_SHAPES) == len(set(BLEND_SHAPES)) == 52
