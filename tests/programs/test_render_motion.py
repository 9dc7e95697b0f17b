"""render_motion.py: one motion, several side by side, mistakes."""

import subprocess
import sys
from dataclasses import replace

import av
import numpy as np
import pytest
from PIL import Image

import render_motion
from tests.support.flame_fixtures import tiny_flame
from utils.motion_file import load_motion
from utils.runs.run_dir import ROOT


@pytest.fixture
def motions(tmp_path):
    paths = []
    for name in ("smile", "serious"):
        motion = load_motion(ROOT / f"demo/input/motion/{name}.npz")
        n = 6 if name == "smile" else 4
        replace(motion, exp=motion.exp[50 : 50 + n], pose=motion.pose[50 : 50 + n]).save(tmp_path / f"{name}.npz")
        paths.append(str(tmp_path / f"{name}.npz"))
    return paths


def frames(path) -> np.ndarray:
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def test_one(tmp_path, motions):
    sides = []
    for look, yaw in (("skin", "0"), ("clay", "60")):
        out = tmp_path / f"{look}.mp4"
        render_motion.main([motions[0], "-o", str(out), "--size", "96", "--look", look, "--yaw", yaw, "--no_head"])
        sides.append(frames(out))
    assert sides[0].shape == sides[1].shape == (6, 96, 96, 3)
    top = sides[0][0, 15:25, 44:52].mean() - sides[1][0, 15:25, 44:52].mean()
    assert top < -20  # hair


def test_side_by_side_with_labels_and_sound(tmp_path, motions):
    out = tmp_path / "two.mp4"
    audio = str(ROOT / "demo/input/audio/librivox_austen_0890.flac")
    flags = ["--size", "96", "--columns", "1", "--black_bg", "--caption", "x", "--labels", "a, b", "-a", audio]
    flags += ["--motion_fps", "25"]  # a short piece of a longer speech
    render_motion.main([*motions, "-o", str(out), *flags])
    found = frames(out)
    assert found.shape == (6, 192, 96, 3)
    assert np.abs(found[5, 96:].astype(int) - found[3, 96:]).mean() < 2  # the shorter one holds its last picture
    assert found[0, :12, :12].max() > 120  # a letter on black
    with av.open(str(out)) as file:
        assert file.streams.audio


def test_a_process_with_pyrender_ends_quietly(tmp_path, motions):
    command = [sys.executable, "render_motion.py", motions[0], "-o", str(tmp_path / "a.mp4"), "--size", "32"]
    done = subprocess.run([*command, "--renderer", "pyrender"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout == "", done.stdout
    assert done.stderr.splitlines()[-1] == f"wrote {tmp_path / 'a.mp4'}"


def test_pyrender_draws_the_same_film(tmp_path, motions):
    flags = ["--size", "96", "--look", "skin", "--yaw", "25", "--pitch", "5"]
    films = []
    for renderer in ("fast", "pyrender"):
        out = tmp_path / f"{renderer}.mp4"
        render_motion.main([*motions, "-o", str(out), "--renderer", renderer, *flags])
        films.append(frames(out).astype(int))
    assert films[0].shape == (6, 96, 192, 3) and np.ptp(films[0]) > 200
    assert np.abs(films[0] - films[1]).max() <= 8  # the encoder's answer to a difference of 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-o", "a.avi"], "must end in .mp4"),
        (["-o", "a.mp4", "--labels", "a,b,c"], "one each"),
        (["-o", "a.mp4", "--yaw", "200"], "--yaw"),
        (["-o", "a.mp4", "--columns", "0"], "--columns"),
        (["-o", "a.mp4", "--caption"], "no speech to name"),
        (["-o", "a.mp4", "--size", "17"], "size"),
        (["-o", "a.mp4", "-c", "none.npy"], "no such file"),
        (["-o", "a.mp4", "-t", "none.png"], "no such image"),
    ],
)
def test_mistakes(tmp_path, monkeypatch, capsys, motions, flags, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        render_motion.main([*motions, *flags])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert ended.value.code == 2 and error.startswith("error: ") and message in error
    assert not list(tmp_path.glob("*.mp4"))


def test_a_texture_for_other_coordinates(tmp_path, motions, capsys):
    """Skin is painted for the open head's coordinates; a head without any takes no image. One line, exit code 2."""
    np.savez(tmp_path / "flame.npz", **tiny_flame())
    Image.new("RGB", (8, 8)).save(tmp_path / "skin.png")
    for flags, message in ((["--look", "skin"], "--look skin: is painted for the open head, not for flame"),
                           (["-t", str(tmp_path / "skin.png")], "no texture coordinates")):  # fmt: skip
        with pytest.raises(SystemExit) as end:
            render_motion.main(
                [motions[0], "-o", str(tmp_path / "a.mp4"), "--head", str(tmp_path / "flame.npz"), *flags]
            )
        assert end.value.code == 2 and not (tmp_path / "a.mp4").exists()
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line


def test_the_tongue_is_drawn(tmp_path, motions):
    """A motion file's tongue changes the open mouth and nothing else of the picture."""
    motion, films = load_motion(motions[0]), []
    motion.pose[:, 3] = 0.25
    for name, driven in (("still", None), ("zero", 0.0), ("out", 1.0)):
        tongue = None if driven is None else np.full((len(motion), 2), driven, np.float32)
        replace(motion, tongue=tongue).save(tmp_path / f"{name}.npz")
        out = tmp_path / f"{name}.mp4"
        render_motion.main([str(tmp_path / f"{name}.npz"), "-o", str(out), "--size", "160", "--no_head"])
        films.append(frames(out).astype(int))
    np.testing.assert_array_equal(films[0], films[1])
    changed = np.abs(films[2] - films[0]).max(axis=(0, 3)) > 30
    rows, columns = np.nonzero(changed)
    assert len(rows) > 30 and rows.min() > 90 and columns.min() > 55 and columns.max() < 105
