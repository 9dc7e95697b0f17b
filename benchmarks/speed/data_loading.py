"""How fast the training data are read: workers that decode FLAC from the data set, and the set kept on the device.

    python -m benchmarks.speed.data_loading [--data_root LMDB_FOLDER] [--workers 0 1 2 4 8] [--batch_size 16]
                                            [--batches 60] [--needed 250] [--device cpu] [--json out.json]

Without --data_root, on random clips (64 of 60 s) in a temporary folder. Columns: items (pairs of 4 s clips) per second;
times the items per second that training needs (--needed: of the fastest step in benchmarks.speed.training_step);
seconds until the first batch. Batches are collated and, on a GPU, copied there.
"""

from __future__ import annotations

import itertools
import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import text_table, write_json
from benchmarks.speed.machine import machine, synchronize
from benchmarks.speed.random_store import identity_codec, write_random_store
from datasets.batches import ResidentBatches, read_by_workers
from datasets.clip_store import ClipStore
from datasets.motion_pairs import MotionPairs
from utils.config import UserParser
from utils.devices import pick_device
from utils.errors import cli
from utils.training.data_order import EndlessBatches, Share, to_device
from utils.training.run_config import RunConfig


@dataclass(frozen=True)
class Row:
    """One way of reading."""

    reader: str
    items_per_second: float
    of_needed: float  # NaN if not known
    first_batch_seconds: float


def measure(reader: str, batches: Iterator[Any], args, device: torch.device, start: float) -> Row:
    """`start`: when making the reader began."""
    to_device(next(batches), device)
    synchronize(device)
    first = time.perf_counter() - start
    # What was read ahead while nobody asked does not count.
    for batch in itertools.islice(batches, args.batches // 3):
        to_device(batch, device)
    synchronize(device)
    start = time.perf_counter()
    for batch in itertools.islice(batches, args.batches):
        to_device(batch, device)
    synchronize(device)
    rate = args.batches * args.batch_size / (time.perf_counter() - start)
    return Row(reader, rate, rate / args.needed if args.needed else math.nan, first)


def measure_all(dataset: MotionPairs, args, device: torch.device) -> list[Row]:
    rows = []
    for workers in args.workers:
        start = time.perf_counter()
        config = RunConfig(exp_name="", batch_size=args.batch_size, num_workers=workers)
        batches = read_by_workers(dataset, config, device, Share(), 0)
        rows.append(measure(f"{workers} workers", batches, args, device, start))
        del batches  # ends the workers
    start = time.perf_counter()
    resident = ResidentBatches(dataset, device, max(args.workers))
    order = EndlessBatches(len(dataset), args.batch_size, 0)
    rows.append(measure("resident (--preload)", resident(order), args, device, start))
    return rows


def table(rows: list[Row]) -> str:
    lines = [("reader", "items/s", "x needed", "first batch s")]
    for r in rows:
        needed = "-" if math.isnan(r.of_needed) else f"{r.of_needed:.1f}"
        lines.append((r.reader, f"{r.items_per_second:.0f}", needed, f"{r.first_batch_seconds:.2f}"))
    return text_table(lines)


@cli
def main(argv: list[str] | None = None) -> None:
    parser = UserParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data_root", type=Path, help="a data set with train.txt (default: random clips)")
    add("--clips", type=int, default=64, help="how many random clips (default: 64)")
    add("--workers", type=int, nargs="+", default=[0, 1, 2, 4, 8], help="(default: 0 1 2 4 8)")
    add("--batch_size", type=int, default=16, help="(default: 16)")
    add("--batches", type=int, default=60, help="timed batches (default: 60)")
    add("--needed", type=float, help="items per second that training takes")
    add("--device", default="auto", help="cuda, cpu or auto (default: auto)")
    add("--json", type=Path, help="also write the figures here")
    args = parser.parse_args(argv)
    device = pick_device(args.device)
    with tempfile.TemporaryDirectory() as folder:
        store = ClipStore(args.data_root) if args.data_root else write_random_store(Path(folder), args.clips, 60)
        clips = store.clips(args.data_root / "train.txt" if args.data_root else None)
        rows = measure_all(MotionPairs(store, clips, identity_codec()), args, device)
    title = f"{machine(device)}, torch {torch.__version__}: reading batches of {args.batch_size} pairs of clips"
    print(title, table(rows), sep="\n")
    if args.json:
        write_json(args.json, {"machine": title, "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
