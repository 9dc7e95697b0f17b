"""How fast a data set is prepared and converted, against FLAC coding alone.

    python -m benchmarks.speed.preparing [--clips 32] [--workers 1 2] [--json out.json]

One-minute clips of random motion (SPECTRE's layout) with noise under a speech-like envelope, in a temporary folder.
Figures: hours of data an hour, i.e. times real time; the start of worker processes is included.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from benchmarks.report import text_table, write_json
from benchmarks.speed.machine import machine
from benchmarks.speed.random_store import speech_like_noise
from benchmarks.speed.reading import as_published
from datasets.clip_store import ClipStore
from scripts_for_dataset import convert_dataset, make_combined_dataset
from utils.config import UserParser
from utils.errors import cli
from utils.media.audio import encode_flac, load_audio
from utils.timebase import FPS, SAMPLE_RATE

SECONDS = 60


@dataclass(frozen=True)
class Row:
    """One way of working."""

    what: str
    times_real_time: float


def write_inputs(folder: Path, n_clips: int) -> None:
    """`coefs/<person>/000.npz` and `audio/<person>/000.wav`."""
    random = np.random.default_rng(0)
    for i in range(n_clips):
        for part in ("coefs", "audio"):
            (folder / part / f"p{i:03d}").mkdir(parents=True)
        n = SECONDS * FPS
        exp, pose = (0.1 * random.standard_normal((n, width)).astype(np.float32) for width in (50, 6))
        np.savez(
            folder / f"coefs/p{i:03d}/000.npz", exp=exp, pose=pose * [1, 1, 1, 1, 0, 0], shape=np.zeros(100), fps=25
        )
        audio = speech_like_noise(random, SECONDS * SAMPLE_RATE)
        soundfile.write(folder / f"audio/p{i:03d}/000.wav", audio, SAMPLE_RATE)


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def flac_alone(folder: Path) -> None:
    """Code every clip's audio in pieces of 4 s, as a data set holds it, on one core."""
    for path in sorted((folder / "audio").rglob("*.wav")):
        audio = load_audio(path)
        for start in range(0, len(audio), 4 * SAMPLE_RATE):
            encode_flac(audio[start : start + 4 * SAMPLE_RATE])


def measure_all(folder: Path, args) -> list[Row]:
    write_inputs(folder, args.clips)
    hours = args.clips * SECONDS
    rows = [Row("FLAC coding alone, 1 process", hours / timed(lambda: flac_alone(folder)))]
    for workers in args.workers:
        argv = ["--coefs", folder / "coefs", "--audio", folder / "audio", "--out", folder / f"out{workers}"]
        argv = [*map(str, argv), "--workers", str(workers)]
        rows.append(Row(f"make_combined_dataset --workers {workers}",
                        hours / timed(lambda argv=argv: make_combined_dataset.main(argv))))  # fmt: skip
    (folder / "published").mkdir()
    as_published(ClipStore(folder / f"out{args.workers[0]}"), folder / "published")
    argv = [str(folder / "published"), str(folder / "converted")]
    rows.append(Row("convert_dataset", hours / timed(lambda: convert_dataset.main(argv))))
    return rows


@cli
def main(argv: list[str] | None = None) -> None:
    parser = UserParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--clips", type=int, default=32, help="of a minute each (default: 32)")
    workers = [1, os.cpu_count() or 1]
    add(
        "--workers", type=int, nargs="+", default=workers, help="(default: 1 and all cores; fewer under 200 clips each)"
    )
    add("--json", type=Path, help="also write the figures here")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure_all(Path(folder), args)
    title = f"{machine(torch.device('cpu'))}, {os.cpu_count()} cores: {args.clips} clips of {SECONDS} s"
    print(title)
    print(text_table([("what", "x real time"), *((row.what, f"{row.times_real_time:.0f}") for row in rows)]))
    if args.json:
        write_json(args.json, {"machine": title, "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
