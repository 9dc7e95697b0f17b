"""How fast random items are read from a data set by one process: 200 frames, with and without audio.

    python -m benchmarks.speed.reading [--data_root LMDB_FOLDER] [--seconds 5] [--json out.json]

Without --data_root, on random clips (64 of 60 s) in a temporary folder, in our encoding and in the published one
(pickles). Pages come from the system's file cache: the figures are what decoding costs, not the disk.
"""

from __future__ import annotations

import os
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.report import text_table, write_json
from benchmarks.speed.machine import machine
from benchmarks.speed.random_store import write_random_store
from datasets.clip_store import ClipStore
from datasets.crops import usable_clips
from utils.config import UserParser
from utils.errors import cli
from utils.media.audio import encode_flac

FRAMES = 200


@dataclass(frozen=True)
class Row:
    """Items a second of one way of reading, by one process."""

    encoding: str
    what: str
    items_per_second: float


def random_items(store: ClipStore, seed: int = 0) -> Iterator[tuple[str, int]]:
    """Clip and first frame, forever."""
    random, lengths = np.random.default_rng(seed), usable_clips(store, store.clips(), FRAMES)
    clips = list(lengths)
    while True:
        clip = clips[random.integers(len(clips))]
        yield clip, int(random.integers(lengths[clip] - FRAMES + 1))


def measure(read: Callable[[str, int, int], object], store: ClipStore, seconds: float) -> float:
    """Items a second; the best of three stretches, after one that warms the cache."""
    rates, items = [], random_items(store)
    for _ in range(4):
        count, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds / 4:
            clip, first = next(items)
            read(clip, first, first + FRAMES)
            count += 1
        rates.append(count / elapsed)
    return max(rates[1:])


def as_published(store: ClipStore, folder: Path) -> ClipStore:
    """The same data set with pickled values."""
    import lmdb

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


def measure_all(stores: dict[str, ClipStore], seconds: float) -> list[Row]:
    ways = {"coefficients": "read_coefs", "coefficients and audio": "read_frames"}
    return [
        Row(encoding, what, measure(getattr(store, method), store, seconds))
        for encoding, store in stores.items()
        for what, method in ways.items()
    ]


@cli
def main(argv: list[str] | None = None) -> None:
    parser = UserParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data_root", type=Path, help="a data set (default: random clips)")
    add("--clips", type=int, default=64, help="how many random clips of a minute (default: 64)")
    add("--seconds", type=float, default=5.0, help="for each figure (default: 5)")
    add("--json", type=Path, help="also write the figures here")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        if args.data_root:
            stores = {"as stored": ClipStore(args.data_root)}
        else:
            store = write_random_store(Path(folder) / "ours", args.clips, 60)
            published = Path(folder) / "published"
            published.mkdir()
            stores = {"ours": store, "published": as_published(store, published)}
        rows = measure_all(stores, args.seconds)
    title = (
        f"{machine(torch.device('cpu'))}, {os.cpu_count()} cores: random items of {FRAMES} frames a second, one process"
    )
    print(title)
    print(
        text_table(
            [("encoding", "what", "items/s"), *((r.encoding, r.what, f"{r.items_per_second:.0f}") for r in rows)]
        )
    )
    if args.json:
        write_json(args.json, {"machine": title, "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
