"""Folders of trackers' files and audio -> a data set: step by step and in one command; what is skipped and why."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import savgol_filter

from datasets.clip_store import ClipStore
from datasets.splits import read_list
from scripts_for_dataset import (
    combine_mica_and_spectre,
    fix_pose_prediction,
    generate_split_file,
    make_combined_dataset,
    prepare_dataset,
)
from scripts_for_dataset.preparing.batch import COEFS, clip_of, find_clips
from scripts_for_dataset.preparing.preparation import read_head_rotations
from tests.support.arkit_files import make_recording, write_list_of_frames, write_take_folder
from tests.support.films import CLICKS, Film, click_times, clicks, write_film
from tests.support.tracker_files import make_truth, pose_of, write_emoca, write_spectre, write_vhap
from utils.coefs import CoefStats
from utils.errors import UserError
from utils.motion_file import load_motion

ROOT = Path(__file__).resolve().parents[2]
ONE = ["--workers", "1"]


def write_sound(path, seconds, rate=16_000, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    soundfile.write(path, (0.1 * random.standard_normal((round(seconds * rate), 2))).clip(-1, 1), rate)


def write_clips(root, names, n_frames=110):
    """SPECTRE files, head rotations, one MICA shape per person, stereo audio at 22.05 kHz."""
    for i, name in enumerate(names):
        truth = make_truth(n_frames, seed=i)
        folder = (root / "spectre" / name).parent
        folder.mkdir(parents=True, exist_ok=True)
        write_spectre(folder, truth).rename(folder / f"{Path(name).name}.npz")
        (root / "rot" / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(root / "rot" / f"{name}.npy", truth.head.as_matrix())
        mica = root / "mica" / Path(name).parent
        mica.mkdir(parents=True, exist_ok=True)
        np.save(mica / "identity.npy", truth.shape.astype(np.float32))
        write_sound(root / "audio" / f"{name}.wav", n_frames / 25, 22_050, i)
    return root


NAMES = [f"Pérson {p}/{v:03d}" for p in range(4) for v in range(2)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("my data é"), NAMES)


def flags(**paths):
    return [text for name, path in paths.items() for text in (f"--{name}", str(path))] + ONE


def test_the_published_steps(files, tmp_path, caplog):
    caplog.set_level("INFO")
    combine = flags(spectre=files / "spectre", mica=files / "mica", out=tmp_path / "1")
    combine_mica_and_spectre.main([*combine, "--dry_run"])
    assert "8 to do" in caplog.text and not (tmp_path / "1").exists()
    combine_mica_and_spectre.main(combine)
    combined = load_motion(tmp_path / "1" / f"{NAMES[3]}.npz")
    truth = make_truth(110, seed=3)
    np.testing.assert_allclose(combined.exp, truth.exp[:, :50], atol=1e-6)
    np.testing.assert_allclose(combined.shape, make_truth(110, seed=3).shape[:100], atol=1e-6)
    caplog.clear()
    combine_mica_and_spectre.main(combine)
    assert "8 there already" in caplog.text

    fix_pose_prediction.main(flags(coefs=tmp_path / "1", rotations=files / "rot", out=tmp_path / "2"))
    fixed = load_motion(tmp_path / "2" / f"{NAMES[3]}.npz")
    np.testing.assert_allclose(fixed.exp, savgol_filter(combined.exp, 5, 2, axis=0), atol=1e-5)
    np.testing.assert_allclose(fixed.pose[:, :3], savgol_filter(truth.head.as_rotvec(), 7, 2, axis=0), atol=1e-5)
    np.testing.assert_allclose(fixed.pose[:, 3], savgol_filter(combined.pose[:, 3], 5, 2), atol=1e-5)
    assert not fixed.pose[:, 4:].any()

    make_combined_dataset.main(flags(coefs=tmp_path / "2", audio=files / "audio", out=tmp_path / "lmdb"))
    store = ClipStore(tmp_path / "lmdb")
    assert store.clips() == sorted(NAMES)
    frames = store.read_frames(NAMES[3], 0, 110)
    np.testing.assert_array_equal(frames.coefs["exp"], fixed.exp)
    assert len(frames.audio) == 110 * 640 and 0.05 < frames.audio.std() < 0.1
    generate_split_file.main(["--data_root", str(tmp_path / "lmdb")])

    one_go = flags(coefs=files / "spectre", audio=files / "audio", shapes=files / "mica", rotations=files / "rot")
    prepare_dataset.main([*one_go, "--out", str(tmp_path / "all")])
    again = ClipStore(tmp_path / "all")
    for name in NAMES:
        a, b = store.read_frames(name, 0, 110), again.read_frames(name, 0, 110)
        np.testing.assert_array_equal(a.audio, b.audio)
        for key in a.coefs:
            np.testing.assert_allclose(a.coefs[key], b.coefs[key], atol=2e-6)


def test_one_command_makes_what_training_takes(files, tmp_path, caplog):
    caplog.set_level("INFO")
    argv = flags(coefs=files / "spectre", audio=files / "audio", shapes=files / "mica", out=tmp_path / "lmdb")
    prepare_dataset.main([*argv, "--dry_run"])
    assert not (tmp_path / "lmdb").exists() and "8 to do" in caplog.text
    prepare_dataset.main(argv)
    parts = {name: read_list(tmp_path / "lmdb" / f"{name}.txt") for name in ("train", "val", "test")}
    assert sorted(sum(parts.values(), [])) == sorted(NAMES)
    assert len({clip.split("/")[0] for clip in parts["train"]}) == 2
    CoefStats.load(tmp_path / "lmdb" / "stats_train.npz")
    report = json.loads((tmp_path / "lmdb" / "preparation.json").read_text())
    assert report["counts"] == {"done": 8} and report["head_models"] == {"FLAME 2020": 8}
    assert any("frame rate" in note for note in report["clips"][0]["notes"])
    assert "8 clips: shorter than 210 frames" in caplog.text

    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "lmdb").glob("*.[tn]*")}
    run = subprocess.run(  # this process holds the data set open for reading
        [sys.executable, "-m", "scripts_for_dataset.prepare_dataset", *argv], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0 and "8 there already" in run.stderr
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "lmdb").glob("*.[tn]*")}
    assert {k: v for k, v in after.items() if k != "keys.txt"} == {k: v for k, v in before.items() if k != "keys.txt"}
    assert json.loads((tmp_path / "lmdb" / "preparation.json").read_text())["clips"][0]["notes"]


def test_what_cannot_be_used_is_said(tmp_path, caplog):
    caplog.set_level("INFO")
    write_clips(tmp_path, ["p/000", "p/001", "p/002", "p/003", "p/004", "p/005", "p/006"])
    (tmp_path / "audio/p/001.wav").unlink()
    (tmp_path / "spectre/p/002.npz").write_bytes(b"broken")
    write_sound(tmp_path / "audio/p/003.wav", 6.0)  # 1.6 s too long
    write_sound(tmp_path / "audio/p/004.wav", 4.2)  # 0.2 s too short
    soundfile.write(tmp_path / "audio/p/005.wav", np.zeros(40_000), 16_000)
    (tmp_path / "spectre/p/006.npz").unlink()
    prepare_dataset.main(flags(coefs=tmp_path / "spectre", audio=tmp_path / "audio", out=tmp_path / "out"))
    clips = json.loads((tmp_path / "out" / "preparation.json").read_text())["clips"]
    found = {clip["clip"]: (clip["status"], clip["reason"]) for clip in clips}
    assert found["p/000"][0] == found["p/004"][0] == "done"
    for clip, reason in (("1", "no audio"), ("2", "not an npz"), ("3", "6.00 s of audio for 4.40 s"), ("5", "silent"),
                         ("6", "no coefficients")):  # fmt: skip
        status, said = found[f"p/00{clip}"]
        assert status == "skipped" and reason in said
    assert ClipStore(tmp_path / "out").n_frames("p/004") == 105
    assert "audio and motion differ by" in caplog.text
    assert read_list(tmp_path / "out" / "train.txt") == ["p/000", "p/004"]
    assert "too few to keep any for testing" in caplog.text


def test_a_dry_run_says_what_the_run_will_do(tmp_path, caplog):
    """The same clips, reasons, remarks, lists and size; nothing is written, and what the run refuses is refused."""
    caplog.set_level("INFO")
    write_clips(tmp_path, ["p/000", "p/001", "p/002", "q/000", "r/000"], n_frames=220)
    (tmp_path / "spectre/p/001.npz").write_bytes(b"broken")
    soundfile.write(tmp_path / "audio/p/002.wav", np.zeros(140_800), 16_000)
    out = tmp_path / "my set"
    argv = flags(coefs=tmp_path / "spectre", audio=tmp_path / "audio", out=out)
    said = []
    for more in (["--dry_run"], []):
        caplog.clear()
        prepare_dataset.main([*argv, *more])
        said.append(caplog.messages)
        assert out.exists() == (not more)
    dry, real = said
    as_real = [line.replace(" (dry run)", "").replace("to do", "done") for line in dry]
    size = next(line for line in as_real if "would take" in line)
    assert set(as_real) - {size} <= set(real)
    assert {line.split()[0] for line in real if ".txt" in line} == {"train.txt:", "val.txt:", "test.txt:"}
    assert "3 clips of 8.8 to 8.8 s" in size
    assert float(size.split()[-2]) == pytest.approx((out / "data.mdb").stat().st_size / 1e6, rel=0.1)
    command = next(line for line in real if "is ready" in line).partition(": ")[2]
    assert shlex.split(command) == ["python", "main_se.py", "--exp_name", "my_set", "--data_root", str(out)]
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    caplog.clear()
    prepare_dataset.main([*argv, "--dry_run"])
    assert any("3 there already" in line for line in caplog.messages)
    with pytest.raises(SystemExit):
        prepare_dataset.main([*argv, "--no_smooth", "--dry_run"])
    assert {path: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_a_dry_run_without_a_usable_clip_fails(tmp_path, capsys):
    write_clips(tmp_path, ["p/000"])
    (tmp_path / "spectre/p/000.npz").write_bytes(b"broken")
    argv = flags(coefs=tmp_path / "spectre", audio=tmp_path / "audio", out=tmp_path / "out")
    with pytest.raises(SystemExit) as end:
        prepare_dataset.main([*argv, "--dry_run"])
    assert end.value.code == 2 and "no clip can be used" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_cut_off_run_is_continued(files, tmp_path, monkeypatch, capsys):
    argv = flags(coefs=files / "spectre", audio=files / "audio", out=tmp_path / "lmdb")
    real, calls = make_combined_dataset.build.__globals__["run_all"], []

    def three(task, jobs, workers, label):
        for result in list(real(task, jobs[:3], workers, label)):
            calls.append(result)
            yield result
        raise KeyboardInterrupt

    monkeypatch.setitem(make_combined_dataset.build.__globals__, "run_all", three)
    with pytest.raises(SystemExit) as end:
        prepare_dataset.main(argv)
    assert end.value.code == 130
    monkeypatch.undo()
    prepare_dataset.main(argv)
    report = json.loads((tmp_path / "lmdb" / "preparation.json").read_text())
    assert report["counts"] == {"there already": 3, "done": 5}
    with pytest.raises(SystemExit):
        prepare_dataset.main([*argv, "--no_smooth"])
    assert "its clips were made with {'smooth': True" in capsys.readouterr().err
    assert ClipStore(tmp_path / "lmdb").clips() == sorted(NAMES)


def test_several_processes_make_the_same(files, tmp_path):
    for workers in ("1", "2"):
        argv = flags(coefs=files / "spectre", audio=files / "audio", out=tmp_path / workers)
        make_combined_dataset.main([*argv, "--workers", workers])
    one, two = ClipStore(tmp_path / "1"), ClipStore(tmp_path / "2")
    np.testing.assert_array_equal(one.read_frames(NAMES[5], 0, 110).audio, two.read_frames(NAMES[5], 0, 110).audio)
    assert (tmp_path / "1" / "keys.txt").read_text() == (tmp_path / "2" / "keys.txt").read_text()


def test_folders_of_any_tracker_are_clips(tmp_path, caplog):
    root = tmp_path / "coefs"
    for person, write in (("a", write_emoca), ("b", write_vhap)):
        (root / person).mkdir(parents=True)
        write(root / person, make_truth(30)).rename(root / person / "007")
    np.savez(root / "solo.npz", exp=np.zeros((30, 50)), pose=pose_of(make_truth(30)))
    np.savez(root / "a" / "001.npz", exp=np.zeros((30, 50)), pose=pose_of(make_truth(30)))
    found = find_clips(root, (".npz", ".npy"), tracked=True)
    assert list(found) == ["a/001", "a/007", "b/007", "solo/000"]
    assert clip_of(root / "a" / "001.npz", tmp_path) == "coefs/a/001"
    for clip in found:
        write_sound(tmp_path / "audio" / f"{clip}.flac", 1.2)
    prepare_dataset.main(
        flags(coefs=root, audio=tmp_path / "audio", out=tmp_path / "out", max_mismatch=0.1) + ["--dry_run"]
    )
    make_combined_dataset.main(flags(coefs=root, audio=tmp_path / "audio", out=tmp_path / "out"))
    assert ClipStore(tmp_path / "out").clips() == list(found)
    assert "several head models (FLAME" in caplog.text


def test_head_rotations_of_other_lengths(tmp_path):
    matrices = make_truth(30).head.as_matrix()
    np.save(tmp_path / "r.npy", matrices)
    vectors, notes = read_head_rotations(tmp_path / "r.npy", 31)
    assert len(vectors) == 30 and "1 frame fewer or more" in notes[0]
    with pytest.raises(UserError, match="30 rotations for 40 frames"):
        read_head_rotations(tmp_path / "r.npy", 40)
    np.save(tmp_path / "bad.npy", matrices * 3)
    with pytest.raises(UserError, match="not rotations"):
        read_head_rotations(tmp_path / "bad.npy", 30)
    np.savez(tmp_path / "two.npz", a=matrices, b=matrices)
    with pytest.raises(UserError, match="2 arrays"):
        read_head_rotations(tmp_path / "two.npz", 30)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"coefs": "nowhere"}, "no such folder"),
        ({"audio": "empty"}, "holds no"),
        ({"audio": "other"}, "no clip is in both"),
        ({"out": "file/x"}, "cannot write"),
        ({"max_mismatch": "-1"}, "--max_mismatch"),
        ({"fps": "nan"}, "make no sense"),
    ],
)
def test_mistakes(files, tmp_path, capsys, change, match):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    write_sound(tmp_path / "other" / "x" / "y.wav", 1)
    paths = {"coefs": files / "spectre", "audio": files / "audio", "out": tmp_path / "out"}
    paths |= {k: v if k in ("max_mismatch", "fps") else tmp_path / v for k, v in change.items()}
    with pytest.raises(SystemExit) as end:
        prepare_dataset.main(flags(**paths))
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert end.value.code == 2 and len(error) == 1 and match in error[0]


def test_json_of_motion_is_a_clip_and_notes_beside_motion_are_not(tmp_path):
    take = make_recording(30)
    for name in ("ann/000", "bob/take"):
        (tmp_path / name).mkdir(parents=True)
    write_list_of_frames(tmp_path / "ann", take)
    (tmp_path / "ann" / "notes.json").write_text('{"camera": 1}')
    write_take_folder(tmp_path / "bob" / "take", take)
    assert list(find_clips(tmp_path, COEFS, tracked=True)) == ["ann/take", "bob/take"]


@pytest.mark.parametrize(
    ("late", "begins_with"), [(0.4, "picture"), (0.146, "picture"), (0.4, "sound"), (0.01, "sound")]
)
def test_late_sound_lies_under_its_picture(tmp_path, late, begins_with):
    """Motion of pictures starts with the first of them; track_video's may start with the sound, and says so."""
    (tmp_path / "audio" / "p").mkdir(parents=True)
    write_film(tmp_path / "audio" / "p" / "v.mp4", Film(sound=late, seconds=4))
    (tmp_path / "coefs" / "p").mkdir(parents=True)
    path = tmp_path / "coefs" / "p" / "v.npz"
    write_spectre(tmp_path, make_truth(100)).rename(path)
    if begins_with == "sound":
        with np.load(path) as file:
            np.savez(path, **file, begins_with="sound")
    prepare_dataset.main(flags(coefs=tmp_path / "coefs", audio=tmp_path / "audio", out=tmp_path / "set"))
    audio = ClipStore(tmp_path / "set").read_frames("p/v", 0, 90).audio
    shift = late if begins_with == "picture" else 0
    np.testing.assert_allclose(
        click_times(audio), np.add(CLICKS, shift), atol=0.024 if begins_with == "sound" else 0.002
    )
    notes = json.loads((tmp_path / "set" / "preparation.json").read_text())["clips"][0]["notes"]
    said = [note for note in notes if "ms after the picture" in note]
    assert len(said) == (shift > 0.025)


def test_the_track_of_a_data_set(tmp_path):
    (tmp_path / "audio" / "p").mkdir(parents=True)
    music = 0.3 * np.random.default_rng(0).standard_normal((1, 48_000 * 3)).astype(np.float32)
    write_film(tmp_path / "audio" / "p" / "v.mkv", Film(), [music, clicks()[None]])
    (tmp_path / "coefs" / "p").mkdir(parents=True)
    write_spectre(tmp_path, make_truth(75)).rename(tmp_path / "coefs" / "p" / "v.npz")
    common = flags(coefs=tmp_path / "coefs", audio=tmp_path / "audio")
    prepare_dataset.main([*common, "--out", str(tmp_path / "second"), "--audio_track", "2"])
    audio = ClipStore(tmp_path / "second").read_frames("p/v", 0, 75).audio
    np.testing.assert_allclose(click_times(audio), CLICKS, atol=0.002)
