"""Recordings, coefficients, styles and motions that will not do: one line, exit code 2, nothing written."""

import os
import shutil

import numpy as np
import pytest
import soundfile

import demo
import extract_style
from tests.support.demo_workspace import DEMO, EXTRACT, SE_ITER, SE_RUN, speech
from tests.support.hostile import Calls
from utils.runs.run_dir import ROOT
from utils.timebase import SAMPLE_RATE


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
    with np.load("out.npz") as motion:
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
    np.save(space.styles / "evil.npy", np.array([Calls(os.mknod, str(flag))], dtype=object))
    refused(demo.main, [*DEMO, "-s", "evil.npy"], "evil.npy")
    assert not flag.exists()


# Motions for extract_style


def motion_file(space, **arrays):
    np.savez(space.root / "bad.npz", **arrays)
    return ["-c", "bad.npz"]


BAD_MOTIONS = {
    "short": ({"exp": np.zeros((99, 50)), "pose": np.zeros((99, 6))}, "99 frames"),
    "empty": ({"exp": np.zeros((0, 50)), "pose": np.zeros((0, 6))}, "holds no frames"),
    "narrow": ({"exp": np.zeros((120, 49)), "pose": np.zeros((120, 6))}, "(120, 49)"),
    "flat": ({"exp": np.zeros(120), "pose": np.zeros((120, 6))}, "(120,)"),
    "pose": ({"exp": np.zeros((120, 50)), "pose": np.zeros((120, 3))}, "(120, 3)"),
    "lengths": ({"exp": np.zeros((120, 50)), "pose": np.zeros((119, 6))}, "(119, 6)"),
    "nan": ({"exp": np.full((120, 50), np.nan), "pose": np.zeros((120, 6))}, "NaN"),
    "keys": ({"expression": np.zeros((120, 50))}, "no known tracker's arrays. Found: expression (120, 50)"),
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
