"""The user's mistakes: one line that names the file or flag, exit code 2, nothing written."""

import errno
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

import demo
import extract_style
import utils.atomic
import utils.gl_context
from models.animator import Animator
from tests.demo_workspace import SE_ITER, SE_RUN, STATS, speech, write_experiments, write_workspace
from utils.motion_file import Motion
from utils.run_dir import ROOT
from utils.timebase import SAMPLE_RATE

DEMO = ["--exp_name", "head", "-a", "speech.wav", "-o", "out.mp4", "--coef_stats", str(STATS), "--device", "cpu"]
EXTRACT = ["--exp_name", SE_RUN, "-c", "motion.npz", "-o", "mine.npy", "--coef_stats", str(STATS), "--device", "cpu"]


@pytest.fixture(scope="module")
def experiments(tmp_path_factory):
    return write_experiments(tmp_path_factory.mktemp("experiments"))


@pytest.fixture
def space(tmp_path, experiments, monkeypatch):
    found = write_workspace(tmp_path / "repo", experiments)
    found.use(monkeypatch)
    return found


@pytest.fixture
def refused(space, capsys):
    """Run a command; it must end with exit code 2, one line that has all of `expected`, and no file written."""

    def check(main, argv, *expected):
        before = sorted(p for p in space.input.rglob("*"))
        with pytest.raises(SystemExit) as end:
            main(argv)
        assert end.value.code == 2
        shown = capsys.readouterr().err.replace("\r", "\n").splitlines()
        lines = [line for line in shown if line.strip() and "frame/s]" not in line]  # progress bars may stay
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
        for part in expected:
            assert str(part) in lines[0], lines[0]
        assert space.written() == []
        assert sorted(p for p in space.input.rglob("*")) == before
        return lines[0]

    return check


@pytest.fixture
def no_generation(monkeypatch):
    """Fail if a mistake is only found after the slow part."""
    monkeypatch.setattr(Animator, "batch", lambda *_: pytest.fail("generation had already begun"))


def put(space, name, data: bytes):
    path = space.input / "audio" / name
    path.write_bytes(data)
    return path


def sound(space, name, samples):
    path = space.input / "audio" / name
    soundfile.write(path, samples, SAMPLE_RATE)
    return path


# Audio


def test_missing_audio_lists_the_bundled_ones(refused, no_generation):
    refused(demo.main, [*DEMO, "-a", "nosuch.wav"], "nosuch.wav", "no such file", "speech.wav")


def test_unreadable_audio(space, refused, no_generation):
    path = put(space, "text.wav", b"this is not audio " * 100)
    refused(demo.main, [*DEMO, "-a", str(path)], path, "not readable as audio")


def test_truncated_audio_header(space, refused, no_generation):
    path = put(space, "cut.flac", (ROOT / "demo/input/audio/arctic_a0007.flac").read_bytes()[:30])
    refused(demo.main, [*DEMO, "-a", str(path)], path)


@pytest.mark.parametrize("name,samples", [("zero.wav", np.zeros(0)), ("silent.wav", np.zeros(16000))])
def test_empty_or_silent_audio(space, refused, no_generation, name, samples):
    path = sound(space, name, samples)
    refused(demo.main, [*DEMO, "-a", str(path)], path, "empty" if name == "zero.wav" else "silent")


def test_audio_of_zero_bytes(space, refused, no_generation):
    refused(demo.main, [*DEMO, "-a", str(put(space, "nothing.wav", b""))], "nothing.wav", "empty")


def test_audio_with_nan(space, refused, no_generation):
    path = space.input / "audio" / "nan.wav"
    soundfile.write(path, np.full(4000, np.nan, np.float32), SAMPLE_RATE, subtype="FLOAT")
    refused(demo.main, [*DEMO, "-a", str(path)], path, "NaN")


def test_audio_is_a_folder(space, refused, no_generation):
    refused(demo.main, [*DEMO, "-a", str(space.input)], space.input, "folder")


def test_audio_shorter_than_a_frame(space, refused):
    path = sound(space, "click.wav", speech(0.03))
    refused(demo.main, [*DEMO, "-a", str(path), "--no_video"], path, "0.04 s")


def test_a_tenth_of_a_second_works(space):
    sound(space, "short.wav", speech(0.1))
    demo.main([*DEMO, "-a", "short.wav", "--no_video"])
    with np.load(space.output / "head" / "iter_0110000" / "out.npz") as motion:
        assert motion["exp"].shape == (2, 50)
        assert np.isfinite(motion["exp"]).all()
        assert np.isfinite(motion["pose"]).all()


# Coefficients and styles


def shape_file(space, array, suffix=".npy"):
    path = space.input / f"shape{suffix}"
    np.save(path, array) if suffix == ".npy" else np.savez(path, **array)
    return path


BAD_SHAPES = {
    "short": (np.zeros(50), "50 numbers"),
    "scalar": (np.float32(1), "1 numbers"),
    "no_columns": (np.zeros((5, 0)), "0 numbers"),
    "no_rows": (np.zeros((0, 100)), "0 numbers"),
    "a_style": (np.zeros(128), "128 numbers"),
    "nan": (np.full(100, np.nan), "NaN"),
    "text": (np.array(["a"] * 100), "not numbers"),
    "huge": (np.full(100, 1e300), "infinite"),
}


@pytest.mark.parametrize("kind", BAD_SHAPES)
@pytest.mark.filterwarnings("error")
def test_bad_shape(space, refused, no_generation, kind):
    array, reason = BAD_SHAPES[kind]
    path = shape_file(space, array)
    refused(demo.main, [*DEMO, "-c", str(path)], path, reason)


def test_shape_npz_without_shape(space, refused, no_generation):
    path = shape_file(space, {"exp": np.zeros((5, 50))}, ".npz")
    refused(demo.main, [*DEMO, "-c", str(path)], path, "no 'shape'", "exp")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_damaged_numpy_file(space, refused, no_generation, suffix):
    path = shape_file(space, np.zeros(300) if suffix == ".npy" else {"shape": np.zeros(300)}, suffix)
    path.write_bytes(path.read_bytes()[:-700])
    refused(demo.main, [*DEMO, "-c", str(path)], path, "not a readable")


def test_numpy_file_of_the_other_kind(space, refused, no_generation):
    np.save(space.input / "one.npy", np.zeros(100))
    shutil.copy(space.input / "one.npy", space.input / "one.npz")
    refused(demo.main, [*DEMO, "-c", str(space.input / "one.npz")], "one.npz", "not a readable npz")


def test_style_of_the_wrong_size(space, refused, no_generation):
    np.save(space.styles / "wide.npy", np.zeros(256, np.float32))
    refused(demo.main, [*DEMO, "-s", "wide.npy"], "wide.npy", "256", "128")


def test_style_with_nan(space, refused, no_generation):
    np.save(space.styles / "nan.npy", np.full(128, np.inf, np.float32))
    refused(demo.main, [*DEMO, "-s", "nan.npy"], "nan.npy", "NaN or infinite")


def test_style_of_another_encoder(space, refused, no_generation):
    """The no-head encoder gives the same size, so only its folder tells."""
    folder = space.input / "style" / "nohead-L4H4" / SE_ITER
    folder.mkdir(parents=True)
    np.save(folder / "smile.npy", np.zeros(128, np.float32))
    refused(demo.main, [*DEMO, "-s", f"nohead-L4H4/{SE_ITER}/smile.npy"], "nohead-L4H4", SE_RUN, "extract")


def test_missing_style_lists_the_present_ones(refused, no_generation):
    refused(demo.main, [*DEMO, "-s", "happy.npy"], "happy.npy", "smile.npy")


def test_style_for_a_model_without_style(refused, no_generation):
    refused(demo.main, [*DEMO, "--exp_name", "nostyle", "-s", "smile.npy"], "--style", "smile.npy")


def test_pickled_style_is_not_executed(space, refused, no_generation, tmp_path):
    flag = tmp_path / "executed"
    np.save(space.styles / "evil.npy", np.array([Touch(flag)], dtype=object))
    refused(demo.main, [*DEMO, "-s", "evil.npy"], "evil.npy")
    assert not flag.exists()


# Motions for extract_style


def motion_file(space, **arrays):
    np.savez(space.root / "bad.npz", **arrays)
    return ["-c", "bad.npz"]


BAD_MOTIONS = {
    "short": ({"exp": np.zeros((99, 50)), "pose": np.zeros((99, 6))}, "99 frames"),
    "empty": ({"exp": np.zeros((0, 50)), "pose": np.zeros((0, 6))}, "0 frames"),
    "narrow": ({"exp": np.zeros((120, 49)), "pose": np.zeros((120, 6))}, "(120, 49)"),
    "flat": ({"exp": np.zeros(120), "pose": np.zeros((120, 6))}, "(120,)"),
    "pose": ({"exp": np.zeros((120, 50)), "pose": np.zeros((120, 3))}, "(120, 3)"),
    "lengths": ({"exp": np.zeros((120, 50)), "pose": np.zeros((119, 6))}, "(119, 6)"),
    "nan": ({"exp": np.full((120, 50), np.nan), "pose": np.zeros((120, 6))}, "NaN"),
    "keys": ({"expression": np.zeros((120, 50))}, "no 'exp'"),
}


@pytest.mark.parametrize("kind", BAD_MOTIONS)
def test_bad_motion(space, refused, kind):
    arrays, reason = BAD_MOTIONS[kind]
    refused(extract_style.main, [*EXTRACT, *motion_file(space, **arrays)], "bad.npz", reason)


@pytest.mark.parametrize("start", ["-1", "21", "1000000"])
def test_start_out_of_range(refused, start):
    refused(extract_style.main, [*EXTRACT, "-s", start], f"--start {start}", "0 to 20")


def test_missing_motion(refused):
    refused(extract_style.main, [*EXTRACT, "-c", "nosuch.npz"], "nosuch.npz")


# Experiments and checkpoints


@pytest.mark.parametrize("main,argv,existing", [(demo.main, DEMO, "nostyle"), (extract_style.main, EXTRACT, SE_RUN)])
def test_unknown_experiment_lists_what_exists(refused, main, argv, existing):
    refused(main, [*argv, "--exp_name", "nosuch"], "--exp_name nosuch", existing)


@pytest.mark.parametrize("main,argv,existing", [(demo.main, DEMO, "110000"), (extract_style.main, EXTRACT, "26000")])
def test_unknown_iteration_lists_what_exists(refused, main, argv, existing):
    refused(main, [*argv, "--iter", "7"], "--iter 7", existing)


def test_experiment_without_checkpoints(tmp_path, refused, monkeypatch):
    (tmp_path / "other" / "DPT" / "fresh" / "checkpoints").mkdir(parents=True)
    monkeypatch.setattr("utils.run_dir.EXPERIMENTS", tmp_path / "other")
    line = refused(demo.main, [*DEMO, "--exp_name", "fresh"], "fresh", "no checkpoint")
    assert "None" not in line


def use_checkpoint(monkeypatch, tmp_path, content, kind="DPT"):
    folder = tmp_path / "other" / kind / "bad" / "checkpoints"
    folder.mkdir(parents=True)
    path = folder / "iter_0000001.pt"
    path.write_bytes(content)
    monkeypatch.setattr("utils.run_dir.EXPERIMENTS", tmp_path / "other")
    return path


def test_checkpoint_of_the_wrong_kind(space, refused, monkeypatch, tmp_path):
    style_encoder = space.experiments / "SE" / SE_RUN / "checkpoints" / f"{SE_ITER}.pt"
    path = use_checkpoint(monkeypatch, tmp_path, style_encoder.read_bytes())
    refused(demo.main, [*DEMO, "--exp_name", "bad"], path, "style encoder", "denoising network")


def test_talker_given_to_extract_style(space, refused, monkeypatch, tmp_path):
    talker = space.experiments / "DPT" / "head" / "checkpoints" / "iter_0110000.pt"
    path = use_checkpoint(monkeypatch, tmp_path, talker.read_bytes(), "SE")
    refused(extract_style.main, [*EXTRACT, "--exp_name", "bad"], path, "denoising network", "style encoder")


class Touch:
    """Creates a file when unpickled by a careless reader."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mknod, (str(self.path),)


def test_malicious_checkpoint_is_not_executed(refused, monkeypatch, tmp_path):
    flag = tmp_path / "executed"
    path = use_checkpoint(
        monkeypatch, tmp_path, pickle.dumps({"args": Touch(flag), "model": {}, "iter": 1}, protocol=2)
    )
    refused(demo.main, [*DEMO, "--exp_name", "bad"], path)
    assert not flag.exists()
    torch.save({"args": Touch(flag), "model": {}, "iter": 1}, path)
    refused(demo.main, [*DEMO, "--exp_name", "bad"], path, "could run code")
    assert not flag.exists()


def test_published_checkpoint_without_statistics(refused, no_generation):
    argv = [arg for arg in DEMO if arg not in ("--coef_stats", str(STATS))]
    refused(demo.main, argv, "--coef_stats", "iter_0110000.pt")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", None])
def test_bad_statistics(space, refused, no_generation, content):
    path = space.root / "stats.npz"
    if content is not None:
        path.write_bytes(content)
    refused(demo.main, [*DEMO, "--coef_stats", str(path)], path)


# Flags

BAD_FLAGS = [
    (["-o", "out.avi"], "--output out.avi"),
    (["-n", "0"], "--n_repetitions 0"),
    (["-n", "two"], "--n_repetitions"),
    (["-dtr", "1.5"], "--dtr 1.5"),
    (["-dtr", "nan"], "--dtr nan"),
    (["-dtr", "0.9", "-dtmin", "5"], "--dynamic_threshold_min 5"),
    (["-ss", "nan"], "--scale_style nan"),
    (["-sa", "inf"], "--scale_audio inf"),
    (["--cfg_cond", "audio,mood"], "--cfg_cond audio,mood"),
    (["--cfg_mode", "both"], "--cfg_mode"),
    (["--steps", "0"], "--steps 0"),
    (["--sampler", "ddim", "--steps", "9"], "--steps 9"),
    (["--sampler", "euler"], "--sampler"),
    (["--device", "tpu"], "--device tpu"),
    (["--device", "meta"], "--device meta"),
    (["--head", "nosuch.npz"], "nosuch.npz"),
    (["-t", "nosuch.png"], "--texture nosuch.png"),
    (["--seed", "99999999999999999999"], "--seed 99999999999999999999"),
    (["--nosuch"], "--nosuch"),
]


@pytest.mark.parametrize("extra,expected", BAD_FLAGS, ids=[" ".join(extra) for extra, _ in BAD_FLAGS])
def test_bad_flag(refused, no_generation, extra, expected):
    refused(demo.main, [*DEMO, *extra], expected)


# The machine


def test_no_opengl_is_found_before_generation(refused, no_generation, monkeypatch):
    def broken(name):
        raise AttributeError("'NoneType' object has no attribute 'eglQueryDevicesEXT'")

    utils.gl_context.open_gl.cache_clear()
    monkeypatch.setattr(utils.gl_context, "_make_context", broken)
    refused(demo.main, DEMO, "OpenGL", "apt-get install", "--no_video")
    utils.gl_context.open_gl.cache_clear()


def test_no_opengl_library_at_all(refused, no_generation, monkeypatch):
    utils.gl_context.open_gl.cache_clear()
    monkeypatch.delenv("PYOPENGL_PLATFORM", raising=False)
    monkeypatch.setattr(utils.gl_context, "working_egl_device", lambda: None)
    monkeypatch.setattr(utils.gl_context.ctypes.util, "find_library", lambda name: None)
    refused(demo.main, DEMO, "OpenGL", "apt-get install")
    utils.gl_context.open_gl.cache_clear()


def test_full_disk_is_found_before_generation(refused, no_generation, monkeypatch):
    full = shutil._ntuple_diskusage(10**9, 10**9, 1000)
    monkeypatch.setattr(utils.atomic.shutil, "disk_usage", lambda path: full)
    refused(demo.main, DEMO, "out.mp4", "free some")


def disk_full(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_disk_fills_up_while_the_motion_is_written(refused, monkeypatch):
    monkeypatch.setattr(np, "savez_compressed", disk_full)
    monkeypatch.setattr("models.animator.Animator.__call__", fake_motion)
    refused(demo.main, [*DEMO, "--no_video"], "out.npz", "no disk space")


def test_disk_fills_up_while_the_video_is_written(refused, monkeypatch):
    monkeypatch.setattr("utils.media._encode", disk_full)
    monkeypatch.setattr("models.animator.Animator.__call__", fake_motion)
    refused(demo.main, DEMO, "out.mp4", "no disk space")


def test_disk_fills_up_while_the_style_is_written(refused, monkeypatch):
    monkeypatch.setattr(np, "save", disk_full)
    refused(extract_style.main, EXTRACT, "mine.npy", "no disk space")


def fake_motion(self, audio, shape, style, config, seeds):
    n = len(audio) // 640
    return [Motion(np.zeros((n, 50), np.float32), np.zeros((n, 6), np.float32), shape) for _ in seeds]


def test_output_is_a_folder(space, refused, no_generation):
    (space.root / "taken.mp4").mkdir()
    refused(demo.main, [*DEMO, "-o", str(space.root / "taken.mp4")], "taken.mp4", "folder")


def test_output_below_a_file(space, refused, no_generation):
    refused(demo.main, [*DEMO, "-o", str(space.root / "motion.npz" / "out.mp4")], "motion.npz", "not a folder")


def test_output_name_too_long(space, refused, no_generation):
    refused(demo.main, [*DEMO, "-o", "x" * 300 + ".mp4"], "xxx.mp4", "cannot write")


def test_real_command_line(space):
    """Once through the shell: exit code and stderr as a user sees them."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "demo.py"), "--exp_name", "no-such-experiment"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: --exp_name no-such-experiment:")
