"""evaluate.py on several processes against one: `benchmarks.speed.gradient_sharing --evaluate CLIPS`."""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.report import column
from benchmarks.speed.data import speech_like_noise
from benchmarks.speed.workload import run_together
from datasets.clip_store import ClipWriter
from utils.coefs import CoefStats
from utils.errors import UserError
from utils.runs.run_dir import ROOT
from utils.speech import PHONES_FILE, Phone, write_phones
from utils.timebase import FPS, samples_per_frame

SECONDS, SAMPLES = 20, 10  # of a clip; for each clip
_VIDEOS = 5  # clips of a speaker
_PHONES = ("aa", "m", "s", "iy", "b", "uw", "t", "p", "eh", "n")
_COMPARED = ("metrics.json", "metrics.csv", "protocol.json", "report.html")


@dataclass(frozen=True)
class EvaluationRow:
    """One number of processes."""

    clips: int = column("clips")
    processes: int = column("processes")
    seconds: float = column("seconds", "{:.1f}")
    clips_per_second: float = column("clips/s", "{:.2f}")
    speedup: float = column("x one", "{:.2f}")
    same: bool = column("same files")


def write_set(root: Path, n_clips: int) -> Path:
    """A test split of clips with smooth random motion, noise for speech, and phones."""
    random, n = np.random.default_rng(0), SECONDS * FPS
    names = [f"p{i // _VIDEOS:04d}/{i % _VIDEOS:03d}" for i in range(n_clips)]
    time_s = np.arange(n)[:, None] / FPS
    with ClipWriter(root) as writer:
        for name in names:
            exp, pose, phase = (random.random((1, width)) for width in (50, 6, 6))
            moving = {
                "exp": 0.2 * exp * np.abs(np.sin(2 * np.pi * (1 + exp) * time_s)),
                "pose": 0.1 * pose * (1 + np.sin(2 * np.pi * (pose * time_s * 3 + phase))) * [1, 1, 1, 1, 0, 0],
                "shape": np.repeat(random.standard_normal((1, 100)), n, axis=0),
            }
            audio = speech_like_noise(random, n * samples_per_frame())
            writer.add_clip(name, audio, {key: value.astype(np.float32) for key, value in moving.items()})
    phones = [Phone(_PHONES[k % len(_PHONES)], 0.1 * k, 0.1 * k + 0.1) for k in range(10 * SECONDS)]
    write_phones(root / PHONES_FILE, dict.fromkeys(names, phones))
    CoefStats.identity().save(root / "stats_train.npz")
    (root / "test.txt").write_text("".join(f"{name}\n" for name in names))
    return root


def seconds_of(root: Path, out: Path, processes: int, device: str, *more: str) -> float:
    """Time of the whole program, from its start to the merged report.

    Raises:
        UserError: it failed.
    """
    command = [sys.executable, str(ROOT / "evaluate.py"), "--data_root", str(root), "-o", str(out), "--no_pictures"]
    start = time.perf_counter()
    if code := run_together([*command, "-n", str(SAMPLES), "--device", device, *more], processes):
        raise UserError(f"evaluate.py on {processes} processes: exit code {code}; see above")
    return time.perf_counter() - start


def measure(n_clips: int, processes: Sequence[int], device: str) -> Iterator[EvaluationRow]:
    """What one clip takes alone, nearly all of it start; then all clips, in each number of processes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = write_set(folder / "set", n_clips)
        start = seconds_of(root, folder / "start", 1, device, "--limit", "1")
        yield EvaluationRow(1, 1, start, 1 / start, math.nan, True)
        first = None
        for number in processes:
            used = seconds_of(root, folder / str(number), number, device)
            first = first or used
            one, other = ([(folder / str(n) / file).read_bytes() for file in _COMPARED] for n in (processes[0], number))
            yield EvaluationRow(n_clips, number, used, n_clips / used, first / used, one == other)
