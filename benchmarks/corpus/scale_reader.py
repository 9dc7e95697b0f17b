"""The process that benchmarks.corpus.scale measures: it opens sources as training does and prints rows.

python -m benchmarks.corpus.scale_reader FOLDER,FOLDER,... DRAWS
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from torch.utils.data import DataLoader, Dataset

from datasets.motion_pairs import MotionPairs
from datasets.sources.clip_sources import ClipSources
from utils.coefs import CoefLayout, MotionCodec
from utils.training.data_order import EndlessBatches


class Located(Dataset):
    """Where items lie, without reading them; the last one of a worker tells its memory."""

    def __init__(self, pairs: MotionPairs, draws: int) -> None:
        self.pairs, self.draws = pairs, draws

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> float:
        for i in torch.randint(len(self.pairs), (self.draws,)).tolist():
            self.pairs.locate((1, i))
        return own_memory()


def own_memory() -> float:
    """MB that this process holds alone."""
    return psutil.Process().memory_full_info().uss / 1e6


def measure() -> None:
    rows: list[tuple[str, float, str]] = []
    base = own_memory()

    def timed(what: str, work: Callable[[], Any]) -> Any:
        start = time.process_time()
        result = work()
        rows.append((what, time.process_time() - start, "CPU s"))
        return result

    begin, spent = time.perf_counter(), time.process_time()
    sources = timed("open", lambda: ClipSources(Path(sys.argv[1])))
    stats = timed("statistics", lambda: sources.statistics(Path("stats_train.npz")))
    train = timed("lists joined and checked", lambda: sources.table("train"))
    pairs = timed("items", lambda: MotionPairs(sources, train, MotionCodec(CoefLayout(), stats)))
    timed("an epoch's order and the first batch", lambda: next(iter(EndlessBatches(len(pairs), 16, 0))))
    rows.append(("start in all", time.process_time() - spent, "CPU s"))
    rows.append(("start in all, by the clock", time.perf_counter() - begin, "s"))
    rows.append(("clips of training", len(pairs) / 1e6, "million"))
    rows.append(("memory of the first process", own_memory() - base, "MB"))
    workers = list(DataLoader(Located(pairs, int(sys.argv[2])), batch_size=None, num_workers=2))
    rows.append(("memory of a worker, alone", max(workers), "MB"))
    print(json.dumps(rows))


if __name__ == "__main__":
    measure()
