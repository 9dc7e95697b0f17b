"""A small copy of what the two user commands work on: golden checkpoints in the published format, audio, a shape."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

import demo
import models.app.bundled
import models.generation.animator
import utils.runs.run_dir
from models.app.bundled import DEFAULT_SHAPE
from models.heads.flame import load_flame
from models.networks.loading import load_talker
from tests.support.golden_weights import HERE, legacy_checkpoint
from utils.timebase import SAMPLE_RATE

SE_RUN, SE_ITER = "head-L4H4-T0.1-BS32", "iter_0026000"
STATS = HERE / "legacy_lmdb" / "stats_train.npz"
DEMO = ["--exp_name", "head", "-a", "speech.wav", "-o", "out.mp4", "--coef_stats", str(STATS), "--device", "cpu"]
EXTRACT = ["--exp_name", SE_RUN, "-c", "motion.npz", "-o", "mine.npy", "--coef_stats", str(STATS), "--device", "cpu"]
RUNS = {"SE": {SE_RUN: "se_head"}, "DPT": {"head": "dpt_head", "nohead": "dpt_nohead", "nostyle": "dpt_nostyle"}}


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise with a syllable-like envelope, float32 (n,)."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    noise = np.random.default_rng(seed).standard_normal(len(t))
    return (0.1 * noise * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * t))).astype(np.float32)


@dataclass(frozen=True)
class Workspace:
    """Folders of one test; `use` points the commands at them."""

    root: Path
    experiments: Path

    @property
    def input(self) -> Path:
        return self.root / "demo" / "input"

    @property
    def output(self) -> Path:
        return self.root / "demo" / "output"

    @property
    def styles(self) -> Path:
        return self.input / "style" / SE_RUN / SE_ITER

    def written(self) -> list[str]:
        """Files in the output folder, relative to it."""
        return sorted(str(p.relative_to(self.output)) for p in self.output.rglob("*") if p.is_file())

    def made(self) -> list[str]:
        """Files in the current folder that the workspace did not begin with."""
        return sorted(p.name for p in self.root.iterdir() if p.is_file() and p.name != "motion.npz")

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(utils.runs.run_dir, "EXPERIMENTS", self.experiments)
        monkeypatch.setattr(models.app.bundled, "INPUT", self.input)
        monkeypatch.setattr(models.app.bundled, "OUTPUT", self.output)
        monkeypatch.setattr(models.generation.animator, "load_talker", read_talker)
        monkeypatch.setattr(demo, "load_flame", read_flame)
        monkeypatch.chdir(self.root)


@functools.cache
def read_talker(path: Path):
    """Every test loads the same few files; nobody changes the networks."""
    return load_talker(path)


@functools.cache
def read_flame(path: Path | None):
    return load_flame(path)


def write_experiments(folder: Path) -> Path:
    """Golden checkpoints as runs; returns `folder`."""
    for kind, runs in RUNS.items():
        for name, case in runs.items():
            checkpoints = folder / kind / name / "checkpoints"
            checkpoints.mkdir(parents=True)
            legacy_checkpoint(case, checkpoints / f"{SE_ITER if kind == 'SE' else 'iter_0110000'}.pt")
    return folder


def write_workspace(root: Path, experiments: Path) -> Workspace:
    """0.3 s of speech, a neutral shape, a style and a motion of 120 frames."""
    space = Workspace(root, experiments)
    for folder in (space.input / "audio", space.input / "coef", space.styles, space.output):
        folder.mkdir(parents=True)
    soundfile.write(space.input / "audio" / "speech.wav", speech(0.3), SAMPLE_RATE)
    np.save(space.input / "coef" / DEFAULT_SHAPE, np.zeros(100, np.float32))
    rng = np.random.default_rng(1)
    np.save(space.styles / "smile.npy", rng.standard_normal(128).astype(np.float32))
    motion = {"exp": rng.standard_normal((120, 50)), "pose": 0.1 * rng.standard_normal((120, 6))}
    np.savez(root / "motion.npz", **{key: value.astype(np.float32) for key, value in motion.items()})
    return space
