"""Every dialect of ARKit's csv and json is the same motion, for the importer and for the avatar; time codes."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.support.arkit_files import (
    ARKIT_FILES,
    Recording,
    angles_of,
    columns_of,
    live_link,
    make_recording,
    write_json,
    write_live_link,
    write_take_folder,
)
from tests.support.tracker_files import import_motion, write_csv
from utils.errors import UserError
from utils.exports.arkit import BLEND_SHAPES
from utils.heads.joints import JAW_OPEN_RADIANS
from utils.trackers.arkit import read_track, unit_names
from utils.trackers.audio2face import POSES
from utils.trackers.timecodes import read_clock

UNITS = [[shape.lower() for shape in BLEND_SHAPES].index(name) for name in unit_names()]
JAW = BLEND_SHAPES.index("jawOpen")


def on_the_grid(take: Recording, values: np.ndarray, n_frames: int) -> np.ndarray:
    grid = np.arange(n_frames) / 25 + take.times[0]
    return np.stack([np.interp(grid, take.times, column) for column in values.T], axis=1)


def least_likeness(a: np.ndarray, b: np.ndarray) -> float:
    return min(float(np.corrcoef(x, y)[0, 1]) for x, y in zip(a.T, b.T))


def check_motion(path, take: Recording, tolerance: float = 2e-3) -> None:
    """Units, jaw and head are the recording's, in size and in time."""
    motion = import_motion(path).motion
    assert abs(len(motion) - (25 * (take.times[-1] - take.times[0]) + 1)) <= 1
    face = on_the_grid(take, take.weights, len(motion))
    turned = Rotation.from_rotvec(motion.pose[:, :3]).as_euler("YXZ")
    ours = np.concatenate([motion.exp, motion.pose[:, 3:4] / JAW_OPEN_RADIANS, turned], axis=1)
    wanted = [face[:, UNITS], face[:, [JAW]], on_the_grid(take, take.angles, len(motion))]
    assert least_likeness(ours, np.concatenate(wanted, axis=1)) >= 0.999
    np.testing.assert_allclose(ours, np.concatenate(wanted, axis=1), atol=tolerance)


def check_track(path, take: Recording, n_names: int = 52) -> None:
    track = read_track(path)
    np.testing.assert_allclose(track.times, take.times - take.times[0], atol=1.1e-3)
    np.testing.assert_allclose(track.weights[:, :n_names], take.weights[:, :n_names], atol=1e-5)
    np.testing.assert_allclose(track.angles[:, :3], take.angles, atol=1e-5)


@pytest.mark.parametrize("name", ARKIT_FILES)
def test_every_dialect_is_the_same_motion(tmp_path, name):
    take = make_recording()
    path = ARKIT_FILES[name](tmp_path, take)
    check_motion(path, take)
    check_track(path, take, 51 if name == "51 names" else 52)


def test_a_takes_folder_is_read(tmp_path):
    take = make_recording()
    write_take_folder(tmp_path, take)
    check_motion(tmp_path, take)
    check_track(tmp_path, take)


RATES = [24, 25, 30, 48, 50, 60, 90, 100, 120]


def codes_of(numbers: np.ndarray, rate: int, mark: str = ":") -> list[str]:
    """Numbers of frames since midnight as HH:MM:SS:FF."""
    seconds = numbers // rate % 86400
    return [f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}{mark}{n % rate:02d}" for s, n in zip(seconds, numbers)]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("case", ["plain", "lost", "wrap"])
@pytest.mark.parametrize("hours", [True, False])
def test_time_codes(tmp_path, rate, case, hours):
    """HH:MM:SS:FF and MM:SS:FF (no video is so slow that these are hours, minutes and seconds), past 24 h or 1 h."""
    take, wrap, start = make_recording(5 * rate + 1, rate), *((86400, 36000) if hours else (3600, 700))
    first = wrap * rate - 3 * rate + 7 if case == "wrap" else start * rate + 11
    codes = np.array([code if hours else code[3:] for code in codes_of(first + np.arange(5 * rate + 1), rate)])
    if case == "lost":
        lost = np.random.default_rng(rate).random(len(codes)) < 0.27
        lost[rate : rate + rate // 2] |= hours
        lost[[0, -1]] = False
        take, codes = take.without(lost), codes[~lost]
    path = write_csv(tmp_path / "t.csv", live_link(take, list(codes)))
    check_track(path, take)
    if hours:
        check_motion(path, take, 0.02 if case == "lost" else 5e-3)  # the head is interpolated on the sphere


@pytest.mark.parametrize("every", [1, 2])
def test_whole_seconds_stay_seconds(tmp_path, every):
    """HH:MM:SS of 24 frames a second, and every other row of it: rows of one second share its time."""
    codes = [code[:8] for code in codes_of(36000 * 24 + np.arange(0, 241, every), 24)]
    clock = read_clock(codes, "t.csv")
    assert clock.seconds is not None and clock.seconds[-1] - clock.seconds[0] == 10


@pytest.mark.parametrize("mark", [":", ";"])
@pytest.mark.parametrize("rate", [30, 60])
def test_drop_frame_codes(tmp_path, rate, mark):
    """Frames 0 and 1 (0 to 3 at 60) of every minute but each tenth do not exist; 29.97 frames last one second."""
    numbers = 36000 * rate + np.arange(150 * rate)
    numbers = numbers[(numbers % (60 * rate) >= rate // 15) | (numbers // (60 * rate) % 10 == 0)]
    take = make_recording(len(numbers), rate * 1000 / 1001)
    path = write_csv(tmp_path / "t.csv", live_link(take, codes_of(numbers, rate, mark)))
    times = read_track(path).times
    assert np.abs(times - take.times).max() < 1 / rate
    assert times[-1] == pytest.approx(take.times[-1], abs=1e-3)


@pytest.mark.parametrize("scale", [1, 1e3, 1e6, 1e9])
@pytest.mark.parametrize("name", ["timestamp", "time", "Timestamp_ms", "seconds"])
def test_times_count_in_what_their_values_say(tmp_path, name, scale):
    take = make_recording(151, 30)
    path = write_csv(tmp_path / "t.csv", {name: scale * (take.times + 1000)} | columns_of(take) | angles_of(take))
    check_motion(path, take)
    check_track(path, take)


@pytest.mark.parametrize("text", ["{h:02d}:{m:02d}:{s:06.3f}", "2024-05-17T{h:02d}:{m:02d}:{s:06.3f}Z"])
def test_clock_times(tmp_path, text):
    take = make_recording(151, 30)
    clocks = [text.format(h=9, m=59 + int(t + 57) // 60, s=(t + 57) % 60) if t + 57 < 60 else
              text.format(h=10, m=0, s=t - 3) for t in take.times]  # fmt: skip
    check_track(write_csv(tmp_path / "t.csv", {"time": clocks} | columns_of(take) | angles_of(take)), take)


def test_frames_behind_a_point(tmp_path):
    """HH:MM:SS.FF: no frame number reaches 60, as hundredths of a second would."""
    take = make_recording(121, 30)
    codes = [code[:8] + "." + code[9:] for code in codes_of(36000 * 30 + np.arange(121), 30)]
    check_track(write_csv(tmp_path / "t.csv", {"time": codes} | columns_of(take) | angles_of(take)), take)


def test_numbers_of_frames_are_no_seconds(tmp_path):
    take = make_recording(151, 25)
    path = write_csv(tmp_path / "t.csv", {"time": np.arange(151)} | columns_of(take) | angles_of(take))
    assert any("numbers of frames" in note for note in import_motion(path).notes)
    check_motion(path, take)


OLD_POSES = """
browLowerL browLowerR innerBrowRaiserL innerBrowRaiserR outerBrowRaiserL outerBrowRaiserR eyesLookLeft eyesLookRight
eyesLookUp eyesLookDown eyesCloseL eyesCloseR eyesUpperLidRaiserL eyesUpperLidRaiserR squintL squintR cheekRaiserL
cheekRaiserR cheekPuffL cheekPuffR noseWrinklerL noseWrinklerR jawDrop jawDropLipTowards jawThrust jawSlideLeft
jawSlideRight mouthSlideLeft mouthSlideRight dimplerL dimplerR lipCornerPullerL lipCornerPullerR lipCornerDepressorL
lipCornerDepressorR lipStretcherL lipStretcherR upperLipRaiserL upperLipRaiserR lowerLipDepressorL lowerLipDepressorR
chinRaiser lipPressor pucker funneler lipSuck
"""


def test_the_46_poses_of_older_audio2face(tmp_path):
    """Every pose alone moves the shapes of its movement; two poses of one shape add up."""
    names = OLD_POSES.split()
    assert len(names) == 46 and {name.lower() for name in names} == set(POSES) - {"dimplel", "dimpler"}
    weights = 0.5 * np.eye(46)
    path = write_json(tmp_path, {"exportFps": 30, "facsNames": names, "weightMat": weights.tolist(), "numFrames": 46})
    track = read_track(path)
    assert len(track) == 46 and track.fps == pytest.approx(30)
    for name, row in zip(names, track.weights):
        moved = {BLEND_SHAPES[k]: float(row[k]) for k in np.flatnonzero(row)}
        assert moved == pytest.approx({shape: 0.5 * gain for shape, gain in POSES[name.lower()]}), name
    assert dict(zip(BLEND_SHAPES, track.weights[22]))["jawOpen"] == 0.5
    assert {shape for pose in POSES.values() for shape, _ in pose} <= set(BLEND_SHAPES)
    both = read_track(write_json(tmp_path, {"exportFps": 30, "facsNames": names, "weightMat": [[0.4] * 46] * 3}))
    assert both.column("jawOpen") == pytest.approx(0.8) and both.column("browInnerUp") == pytest.approx(0.4)


def test_lost_frames_and_units_of_json(tmp_path):
    take = make_recording()
    frames = [{"time": t, "blendshapes": dict(zip(BLEND_SHAPES, 100 * row)), "rotation": np.degrees(turn).tolist()}
              for t, row, turn in zip(take.times, take.weights, take.head.as_rotvec())]  # fmt: skip
    for number in (40, 41, 90):
        frames[number]["blendshapes"] = {}
    path = write_json(tmp_path, frames)
    notes = " | ".join(import_motion(path).notes)
    assert "percent" in notes and "degrees" in notes and "3 lost frames" in notes
    check_motion(path, take, 0.02)


@pytest.mark.parametrize(
    "tree",
    [
        {"frames": []},
        [],
        {},
        {"names": list(BLEND_SHAPES), "frames": [{"weights": [1]}]},
        [{"time": "x", "jawOpen": 1}],
        {"facsNames": list(BLEND_SHAPES), "weightMat": [[1]]},
    ],
)
def test_json_without_motion(tmp_path, tree):  # fmt: skip
    with pytest.raises(UserError, match=r"take\.json: "):
        import_motion(write_json(tmp_path, tree))


def test_a_cut_json_is_damaged(tmp_path):
    path = write_json(tmp_path, [{"time": 0, "blendshapes": dict.fromkeys(BLEND_SHAPES, 0.5)}])
    path.write_text(path.read_text()[:-9])
    with pytest.raises(UserError, match="not readable JSON"):
        import_motion(path)


def test_rows_without_a_face(tmp_path):
    """Live Link Face counts 0 blendshapes, and writes no values, where it sees no face."""
    take = make_recording()
    path = write_live_link(tmp_path, take)
    lines = path.read_text().splitlines()
    for number in (50, 51, 52):
        lines[number] = lines[number].split(",")[0] + ",0"
    path.write_text("\n".join(lines) + "\n")
    assert any("3 lost frames" in note for note in import_motion(path).notes)
    check_motion(path, take, 0.02)
    assert len(read_track(path)) == len(take.times)


def test_short_drop_frame_codes_count_30(tmp_path):
    take = make_recording(15, 30 * 1000 / 1001)
    codes = codes_of(36000 * 30 + np.arange(15), 30, ";")
    assert read_track(write_csv(tmp_path / "t.csv", live_link(take, codes))).times[-1] == pytest.approx(14 * 1.001 / 30)


def test_weights_that_are_no_weights(tmp_path):
    take = make_recording(30)
    with pytest.raises(UserError, match="neither 0 to 1 nor percent"):
        import_motion(write_csv(tmp_path / "t.csv", {"time": take.times} | columns_of(take, scale=3000)))
