"""Flags and machines that will not do: one line, exit code 2, nothing written."""

import errno
import os
import shutil
import subprocess
import sys

import moderngl
import numpy as np
import pytest

import demo
import extract_style
import utils.atomic
import utils.rendering.gl_context
import utils.rendering.mesh_drawing
from tests.support.demo_workspace import DEMO, EXTRACT
from utils.motion_file import Motion
from utils.rendering import pyrender_drawing
from utils.runs.run_dir import ROOT

# Flags

BAD_FLAGS = [
    (["-o", "out.avi"], "--output out.avi: must end in .mp4"),
    (["-o", "out.npz"], "--no_video writes an npz alone"),
    (["-o", "out.avi", "--no_video"], "--output out.avi: must end in .npz"),
    (["-n", "0"], "--n_repetitions 0"),
    (["-n", "1000000000"], "--n_repetitions 1000000000"),
    (["--size", "100000"], "--size 100000"),
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
    (["--renderer", "blender"], "--renderer"),
    (["--nosuch"], "--nosuch"),
]


@pytest.mark.parametrize("extra,expected", BAD_FLAGS, ids=[" ".join(extra) for extra, _ in BAD_FLAGS])
def test_bad_flag(refused, no_generation, extra, expected):
    refused(demo.main, [*DEMO, *extra], expected)


# The machine


def test_no_opengl_is_found_before_generation(refused, no_generation, monkeypatch):
    def broken(**wanted):
        raise Exception("eglInitialize failed (0x3001)")

    monkeypatch.setattr(utils.rendering.mesh_drawing, "open_gl", utils.rendering.gl_context.open_gl.__wrapped__)
    monkeypatch.setattr(moderngl, "create_context", broken)
    refused(demo.main, DEMO, "OpenGL", "apt-get install", "--no_video")


def test_no_opengl_library_at_all(refused, no_generation, monkeypatch):
    monkeypatch.setattr(utils.rendering.mesh_drawing, "open_gl", utils.rendering.gl_context.open_gl.__wrapped__)
    monkeypatch.setattr(utils.rendering.gl_context, "LIBRARIES", {"libegl": "libNoEGL.so.1", "libgl": "libGL.so.1"})
    refused(demo.main, DEMO, "OpenGL", "apt-get install")


def test_no_pyrender_is_found_before_generation(refused, no_generation, monkeypatch):
    monkeypatch.setattr(pyrender_drawing, "open_pyrender", pyrender_drawing.open_pyrender.__wrapped__)
    monkeypatch.setitem(sys.modules, "pyrender", None)
    refused(demo.main, [*DEMO, "--renderer", "pyrender"], "--renderer pyrender", "pip install", "--no_video")


def test_full_disk_is_found_before_generation(refused, no_generation, monkeypatch):
    full = shutil._ntuple_diskusage(10**9, 10**9, 1000)
    monkeypatch.setattr(utils.atomic.shutil, "disk_usage", lambda path: full)
    refused(demo.main, DEMO, "out.mp4", "free some")


def disk_full(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_disk_fills_up_while_the_motion_is_written(refused, monkeypatch):
    monkeypatch.setattr(np, "savez_compressed", disk_full)
    monkeypatch.setattr("models.generation.animator.Animator.__call__", fake_motion)
    refused(demo.main, [*DEMO, "--no_video"], "out.npz", "no disk space")


def test_disk_fills_up_while_the_video_is_written(refused, monkeypatch):
    monkeypatch.setattr("utils.media.video._encode", disk_full)
    monkeypatch.setattr("models.generation.animator.Animator.__call__", fake_motion)
    refused(demo.main, DEMO, "out.mp4", "no disk space")


def test_disk_fills_up_while_the_style_is_written(refused, monkeypatch):
    monkeypatch.setattr(np, "save", disk_full)
    refused(extract_style.main, EXTRACT, "mine.npy", "no disk space")


def fake_motion(self, audio, person, config, seeds):
    n = len(audio) // 640
    return [Motion(np.zeros((n, 50), np.float32), np.zeros((n, 6), np.float32), person.shape) for _ in seeds]


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
