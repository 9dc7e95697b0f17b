"""How fast data are prepared, read at random, and loaded for training.

    python -m benchmarks.speed.data [--parts reading loading preparing] [--data_root LMDB_FOLDER] [--clips 64]
    python -m benchmarks.speed.data --parts loading --data_root LMDB_FOLDER --needed ITEMS_PER_S
    python -m benchmarks.speed.data --parts preparing --clips 96 --workers 1

Without --data_root, on random clips of a minute in a temporary folder: noise under a speech-like envelope.

- reading: random items of 200 frames, by one process, with and without audio; random clips in our encoding and in the
  published one (pickles). Pages come from the system's file cache: the figures are what decoding costs, not the disk.
- loading: workers that decode FLAC, and the set kept on the device. Items (pairs of 4 s clips) per second; times the
  items per second that training needs (--needed: of the fastest step in benchmarks.speed.training_step); seconds until
  the first batch. Batches are collated and, on a GPU, copied there.
- preparing: the commands that make and convert a data set, against FLAC coding alone. Hours of data an hour, that is
  times real time; the start of worker processes is included. It needs no --data_root.
"""

from __future__ import annotations

import itertools
import math
import os
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from benchmarks.report import DeviceFlags, column, machine, read_flags, seconds, synchronize, table, write_json
from datasets.batches import ResidentBatches, read_by_workers
from datasets.clip_store import ClipStore, ClipWriter
from datasets.crops import usable_clips
from datasets.motion_pairs import MotionPairs
from scripts_for_dataset import convert_dataset, make_combined_dataset
from utils.coefs import DIMS, CoefLayout, CoefStats, MotionCodec
from utils.config import flag
from utils.devices import pick_device
from utils.errors import cli
from utils.media.audio import encode_flac, load_audio
from utils.timebase import FPS, SAMPLE_RATE, samples_per_frame
from utils.training.data_order import EndlessBatches, Share, to_device
from utils.training.run_config import RunConfig

FRAMES = 200  # of an item that is read
SECONDS = 60  # of a random clip
PARTS = ("reading", "loading", "preparing")
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class DataFlags(DeviceFlags):
    """What is measured, and on what."""

    parts: Sequence[str] = flag(PARTS, choices=PARTS)
    """What is measured."""
    data_root: Path | None = None
    """A data set, for loading with train.txt; without it, random clips."""
    clips: int = 64
    """How many random clips of a minute."""
    seconds: float = 5.0
    """Reading: for each figure."""
    workers: Sequence[int] = ()
    """Processes. Loading: 0 1 2 4 8 unless given; preparing: 1 and all cores (fewer under 200 clips each), never 0."""
    batch_size: int = 16
    """Loading: items of a batch."""
    batches: int = 60
    """Loading: timed batches."""
    needed: float | None = None
    """Loading: items per second that training takes."""


def write_random_store(folder: Path, persons: int, seconds: float = SECONDS) -> ClipStore:
    """One clip per person. The audio is noise under a speech-like envelope: FLAC takes about as long as for speech."""
    random = np.random.default_rng(0)
    n_frames = int(seconds * FPS)
    with ClipWriter(folder, 100) as writer:
        for person in range(persons):
            coefs = {name: random.standard_normal((n_frames, width)).astype(np.float32) for name, width in DIMS.items()}
            writer.add_clip(f"person{person:03d}/000", speech_like_noise(random, n_frames * samples_per_frame()), coefs)
    return ClipStore(folder)


def write_random_files(folder: Path, n_clips: int) -> None:
    """What a data set is made from: `coefs/<person>/000.npz` (SPECTRE's layout) and `audio/<person>/000.wav`."""
    random, n = np.random.default_rng(0), SECONDS * FPS
    for i in range(n_clips):
        coefs, audio = folder / f"coefs/p{i:03d}/000.npz", folder / f"audio/p{i:03d}/000.wav"
        coefs.parent.mkdir(parents=True)
        audio.parent.mkdir(parents=True)
        exp, pose = (0.1 * random.standard_normal((n, width)).astype(np.float32) for width in (50, 6))
        np.savez(coefs, exp=exp, pose=pose * [1, 1, 1, 1, 0, 0], shape=np.zeros(100), fps=FPS)
        soundfile.write(audio, speech_like_noise(random, SECONDS * SAMPLE_RATE), SAMPLE_RATE)


def as_published(store: ClipStore, folder: Path) -> ClipStore:
    """The same data set with pickled values, in a folder that is made."""
    import lmdb

    folder.mkdir(exist_ok=True)
    with lmdb.open(str(folder), map_size=4 << 30) as out, out.begin(write=True) as transaction:
        transaction.put(b"metadata", pickle.dumps({"seg_len": store.seg_len}))
        for clip in store.clips():
            n_frames = store.n_frames(clip)
            transaction.put(f"{clip}/metadata".encode(), pickle.dumps({"n_frames": n_frames}))
            for index, low in enumerate(range(0, n_frames, store.seg_len)):
                frames = store.read_frames(clip, low, min(low + store.seg_len, n_frames))
                value = {"audio": encode_flac(frames.audio), "coef": frames.coefs}
                transaction.put(f"{clip}/{index:03d}".encode(), pickle.dumps(value))
    return ClipStore(folder)


def random_items(store: ClipStore, n_frames: int, seed: int = 0) -> Iterator[tuple[str, int]]:
    """Clip and first frame of an item, forever."""
    random, lengths = np.random.default_rng(seed), usable_clips(store, store.clips(), n_frames)
    clips = list(lengths)
    while True:
        clip = clips[random.integers(len(clips))]
        yield clip, int(random.integers(lengths[clip] - n_frames + 1))


def speech_like_noise(random: np.random.Generator, n: int) -> np.ndarray:
    """(n,) between -1 and 1."""
    time = np.arange(n) / SAMPLE_RATE
    envelope = np.clip(np.sin(2 * np.pi * 3 * time) + np.sin(2 * np.pi * 0.4 * time), 0, None)
    coloured = np.convolve(random.standard_normal(n), np.ones(8) / 8, "same")
    return (0.1 * envelope * coloured).clip(-1, 1).astype(np.float32)


def identity_codec() -> MotionCodec:
    """For data that are random anyway."""
    return MotionCodec(CoefLayout(), CoefStats.identity())


@dataclass(frozen=True)
class Reading:
    """Items a second of one way of reading, by one process."""

    encoding: str = column("encoding")
    what: str = column("what")
    items_per_second: float = column("items/s", "{:.0f}")


def reading(store: ClipStore | None, flags: DataFlags, folder: Path) -> list[Reading]:
    """Every encoding, with and without audio."""
    if store is None:
        ours = write_random_store(folder / "ours", flags.clips)
        stores = {"ours": ours, "published": as_published(ours, folder / "published")}
    else:
        stores = {"as stored": store}
    ways = {"coefficients": "read_coefs", "coefficients and audio": "read_frames"}
    return [
        Reading(encoding, what, reading_rate(getattr(one, method), one, flags.seconds))
        for encoding, one in stores.items()
        for what, method in ways.items()
    ]


def reading_rate(read: Callable[[str, int, int], object], store: ClipStore, seconds: float) -> float:
    """Items a second; the best of three stretches, after one that warms the cache."""
    rates, items = [], random_items(store, FRAMES)
    for _ in range(4):
        count, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds / 4:
            clip, first = next(items)
            read(clip, first, first + FRAMES)
            count += 1
        rates.append(count / elapsed)
    return max(rates[1:])


@dataclass(frozen=True)
class Loading:
    """One way of getting batches."""

    reader: str = column("reader")
    items_per_second: float = column("items/s", "{:.0f}")
    of_needed: float = column("x needed", "{:.1f}")  # NaN if not known
    first_batch_seconds: float = column("first batch s", "{:.2f}")


def loading(store: ClipStore | None, flags: DataFlags, folder: Path) -> list[Loading]:
    """Every number of workers, then the set on the device."""
    names = None if store is None else flags.data_root / "train.txt"
    store = store or write_random_store(folder / "loading", flags.clips)
    dataset, device = MotionPairs(store, store.clips(names), identity_codec()), pick_device(flags.device)
    rows, workers = [], flags.workers or (0, 1, 2, 4, 8)
    for number in workers:
        start = time.perf_counter()
        config = RunConfig(exp_name="", batch_size=flags.batch_size, num_workers=number)
        batches = read_by_workers(dataset, config, device, Share(), 0)
        rows.append(loading_rate(f"{number} workers", batches, flags, device, start))
        del batches  # ends the workers
    start = time.perf_counter()
    order = EndlessBatches(len(dataset), flags.batch_size, 0)
    batches = ResidentBatches(dataset, device, max(workers))(order)
    return [*rows, loading_rate("resident (--preload)", batches, flags, device, start)]


def loading_rate(reader: str, batches: Iterator[Any], flags: DataFlags, device: torch.device, start: float) -> Loading:
    """`start`: when making the reader began."""

    def take(number: int) -> float:
        for batch in itertools.islice(batches, number):
            to_device(batch, device)
        synchronize(device)
        return time.perf_counter()

    first = take(1) - start
    start = take(flags.batches // 3)  # what was read ahead while no batch was wanted does not count
    rate = flags.batches * flags.batch_size / (take(flags.batches) - start)
    return Loading(reader, rate, rate / flags.needed if flags.needed else math.nan, first)


@dataclass(frozen=True)
class Preparing:
    """One way of working."""

    what: str = column("what")
    times_real_time: float = column("x real time", "{:.0f}")


def preparing(_store: ClipStore | None, flags: DataFlags, folder: Path) -> list[Preparing]:
    """FLAC coding, making a data set with each number of workers, converting one."""
    write_random_files(folder, flags.clips)
    length = flags.clips * SECONDS
    rows, workers = [("FLAC coding alone, 1 process", seconds(lambda: flac_alone(folder), CPU, 1))], flags.workers
    for number in filter(None, workers or (1, os.cpu_count() or 1)):
        argv = ["--coefs", folder / "coefs", "--audio", folder / "audio", "--out", folder / f"out{number}"]
        argv = [*map(str, argv), "--workers", str(number)]
        time_taken = seconds(lambda argv=argv: make_combined_dataset.main(argv), CPU, 1)
        rows.append((f"make_combined_dataset --workers {number}", time_taken))
    as_published(ClipStore(folder / f"out{number}"), folder / "as_published")
    argv = [str(folder / "as_published"), str(folder / "converted")]
    rows.append(("convert_dataset", seconds(lambda: convert_dataset.main(argv), CPU, 1)))
    return [Preparing(what, length / time_taken) for what, time_taken in rows]


def flac_alone(folder: Path) -> None:
    """Code every clip's audio in pieces of 4 s, as a data set holds it, on one core."""
    for path in sorted((folder / "audio").rglob("*.wav")):
        audio = load_audio(path)
        for start in range(0, len(audio), 4 * SAMPLE_RATE):
            encode_flac(audio[start : start + 4 * SAMPLE_RATE])


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(DataFlags, __doc__, argv)
    store = ClipStore(flags.data_root) if flags.data_root else None
    measures = {"reading": reading, "loading": loading, "preparing": preparing}
    found: dict[str, Any] = {"machine": f"{machine(pick_device(flags.device))}, {os.cpu_count()} cores"}
    with tempfile.TemporaryDirectory() as folder:
        for part in flags.parts:
            found[part] = measures[part](store, flags, Path(folder))
            print(f"{found['machine']}: {part}", table(found[part]), sep="\n")
    write_json(flags.json, found)


if __name__ == "__main__":
    main()
