"""Very large data sets and shared work: what starts in seconds, what it takes in memory, what a second process brings.

    python -m benchmarks.corpus.scale [--parts reader sharing kills] [--clips 10000000] [--sources 10] [--json out.json]

- reader: fake sources (an index of --clips clips, 10 of each person; the data itself is missing) are opened as training
  opens them, in a process of its own: lists joined and checked, statistics merged, items, an epoch's order, the first
  batch. Memory is what a process holds alone (USS), after --draws random items have been located. The rates of what is
  done once per data set, by Python, are measured on --listed clips: writing the index, and the split by speaker.
- sharing: --files clips of a minute prepared by one process, and by two parts at once, with one worker each; merging.
- kills: --kills SIGKILLs at random moments. One half hit two parts of a preparation, which are continued by the same
  command; the others one of two processes that train, which torchrun starts again. Nothing may differ in the end.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from benchmarks.corpus.killed_training import killed_training
from benchmarks.report import Flags, column, read_flags, table, write_json
from benchmarks.speed.data import write_random_files
from datasets.clip_encoding import encode_metadata
from datasets.clip_store import ClipStore
from datasets.clip_writer import ClipWriter
from datasets.sources.clip_index import write_index
from datasets.splits import generate_split, write_list
from utils.coefs import CoefStats
from utils.config import check_least, flag
from utils.errors import UserError, cli
from utils.runs.run_dir import ROOT

PARTS = ("reader", "sharing", "kills")
VIDEOS, FRAMES = 10, 250  # of each fake person; of each of their clips
_PREPARE = [sys.executable, "-m", "scripts_for_dataset.make_combined_dataset"]


@dataclass(frozen=True, kw_only=True)
class ScaleFlags(Flags):
    """What is measured."""

    parts: tuple[str, ...] = flag(("reader",), choices=PARTS)
    """{choices}."""
    clips: int = 10_000_000
    """Clips of the fake sources."""
    sources: int = 10
    """Folders that hold them."""
    listed: int = 100_000
    """Clips of the data set on which the work of Python is measured."""
    draws: int = 100_000
    """Random items that a reader locates before its memory is measured."""
    files: int = 60
    """Clips to prepare."""
    kills: int = 20
    """SIGKILLs in all."""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        super().check()
        check_least(self, clips=1000, sources=1, listed=1000, draws=1, files=4, kills=1)


@dataclass(frozen=True)
class Measured:
    """One line of a table."""

    what: str = column("what")
    value: float = column("value", "{:.2f}")
    unit: str = column("unit")


def names_of(n_clips: int, source: int = 0, sources: int = 1) -> list[bytes]:
    """Names of a source's clips in key order; its persons are those that shared work gives to part `source`."""
    return [f"person_{i // VIDEOS * sources + source:08d}/video_{i % VIDEOS:03d}".encode() for i in range(n_clips)]


def fake_source(folder: Path, source: int, sources: int, n_clips: int) -> None:
    """A data set whose values are missing: an index, the last persons for validation and test, statistics."""
    with ClipWriter(folder, may_be_empty=True):
        pass
    names = np.array(names_of(n_clips, source, sources))
    rows = np.zeros(n_clips, [("clip", names.dtype), ("n_frames", "<i4"), ("split", "u1"), ("place", "<i4")])
    held = min(64, max(1, n_clips // VIDEOS // 20)) * VIDEOS
    rows["clip"], rows["n_frames"] = names, FRAMES
    rows["split"][-2 * held : -held], rows["split"][-held:] = 1, 2
    for split in range(3):
        of_split = np.flatnonzero(rows["split"] == split)
        rows["place"][of_split] = np.random.default_rng(source).permutation(len(of_split))  # lists are in no order
    CoefStats.identity().save(folder / "stats_train.npz")
    np.save(folder / "index.npy", rows)


def reader(flags: ScaleFlags, folder: Path) -> list[Measured]:
    """What opening the fake sources takes in a fresh process, and the work of Python on fewer clips."""
    folders = [folder / f"source{k}" for k in range(flags.sources)]
    for k, one in enumerate(folders):
        fake_source(one, k, flags.sources, flags.clips // flags.sources)
    words = [sys.executable, "-m", "benchmarks.corpus.scale_reader", ",".join(map(str, folders)), str(flags.draws)]
    rows = [Measured(*row) for row in json.loads(subprocess.run(words, cwd=ROOT, check=True, stdout=-1).stdout)]
    listed = names_of(flags.listed)
    start = time.perf_counter()
    parts = generate_split([name.decode() for name in listed], 0)
    rows.append(Measured("split by speaker", flags.listed / (time.perf_counter() - start) / 1000, "1000 clips/s"))
    real = listed_set(folder / "listed", listed)
    for name, part in parts.items():
        write_list(real / f"{name}.txt", part)
    start = time.perf_counter()
    write_index(real)
    return [*rows, Measured("index_dataset", flags.listed / (time.perf_counter() - start) / 1000, "1000 clips/s")]


def listed_set(folder: Path, names: list[bytes]) -> Path:
    """A finished data set of clips without values."""
    with ClipWriter(folder, may_be_empty=True):
        pass
    length = encode_metadata(n_frames=FRAMES)
    with lmdb.open(str(folder), map_size=1 << 34) as file, file.begin(write=True) as transaction:
        for name in names:
            transaction.put(name + b"/metadata", length)
    return folder


def preparing(folder: Path, out: Path, *more: str) -> list[str]:
    return [*_PREPARE, "--coefs", str(folder / "coefs"), "--audio", str(folder / "audio"), "--out", str(out),
            "--workers", "1", *more]  # fmt: skip


def content(folder: Path) -> dict[str, dict[str, bytes]]:
    """Every clip's values."""
    store = ClipStore(folder)
    return {clip: store.values(clip) for clip in store.clips()}


def sharing(flags: ScaleFlags, folder: Path) -> list[Measured]:
    """One process against two parts at once, and the merging."""
    write_random_files(folder, flags.files)

    def run(*commands: list[str]) -> tuple[float, float]:
        """Seconds by the clock, and the most processor seconds of a command."""
        start = time.perf_counter()
        running = [subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL) for words in commands]
        ends = [os.wait4(process.pid, 0) for process in running]
        if any(status for _, status, _ in ends):
            raise UserError("make_combined_dataset failed; give its command by hand")
        return time.perf_counter() - start, max(used.ru_utime + used.ru_stime for *_, used in ends)

    out = folder / "two"
    alone = run(preparing(folder, folder / "one"))
    both = run(*(preparing(folder, out, "--shard", f"{i}/2") for i in (0, 1)))
    merged = run(preparing(folder, out))
    check_same(folder / "one", out)
    rows = [
        (name, *times) for name, times in (("one process", alone), ("two parts at once", both), ("merging", merged))
    ]
    return [
        *(Measured(f"{name}, by the clock", clock, "s") for name, clock, _ in rows),
        *(Measured(f"{name}, processor time of each", used, "s") for name, _, used in rows),
        Measured("speed of the parts, by the clock", alone[0] / both[0], "times"),
        Measured("by processor time, if each has a core", alone[1] / both[1], "times"),
    ]


def kills(flags: ScaleFlags, folder: Path) -> list[Measured]:
    """Parts killed at random moments, continued, merged, and compared with one process; training likewise."""
    write_random_files(folder, flags.files)
    subprocess.run(preparing(folder, folder / "one"), cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    draw, done = random.Random(0), 0
    for number in range(flags.kills - flags.kills // 2):
        record = folder / "two" / ".shards" / f"{number % 2}-of-2" / "shard.json"  # written when the work begins
        before = record.stat().st_mtime_ns if record.is_file() else 0
        words = preparing(folder, folder / "two", "--shard", f"{number % 2}/2")
        process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (record.is_file() and record.stat().st_mtime_ns > before):
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.5))
        done += process.poll() is None
        process.kill()
        process.wait()
    for more in (["--shard", "0/2"], ["--shard", "1/2"], []):
        subprocess.run(preparing(folder, folder / "two", *more), cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    check_same(folder / "one", folder / "two")
    rows = [Measured("SIGKILLs that found the process at work, content the same", done, "")]
    if flags.kills > 1:
        done = killed_training(folder / "one", folder / "runs", flags.kills // 2)
        rows.append(Measured("SIGKILLs of one of two that train, weights and log the same", done, ""))
    return rows


def check_same(one: Path, two: Path) -> None:
    """Raises UserError if the parts' merged data set is not what one process makes."""
    if content(one) != content(two):
        raise UserError("the merged parts hold something else than what one process makes")


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(ScaleFlags, __doc__, argv)
    found: dict[str, Any] = {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
    for part in flags.parts:
        with tempfile.TemporaryDirectory() as folder:
            found[part] = {"reader": reader, "sharing": sharing, "kills": kills}[part](flags, Path(folder))
        print(f"{part}, {found['cores']} cores, load before {found['load']:.1f}", table(found[part]), sep="\n")
    write_json(flags.json, found)


if __name__ == "__main__":
    main()
