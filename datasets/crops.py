"""What both training data sets share: usable clips, and crops that are a function of (seed, epoch, index)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from datasets.clip_store import ClipReader
from utils.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipTable:
    """Clips and their lengths as arrays, which processes share and which stay small for millions of clips."""

    names: np.ndarray  # (N,) UTF-8 bytes
    lengths: np.ndarray  # (N,) frames
    repeats: np.ndarray | None = None  # (N,) items of each clip in an epoch

    @classmethod
    def of(cls, store: ClipReader, clips: Iterable[str]) -> ClipTable:
        """The clips with the lengths that the store gives."""
        names = list(clips)
        lengths = np.array([store.n_frames(name) for name in names], np.int32)
        return cls(np.array([name.encode() for name in names], np.bytes_), lengths)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, row: int) -> tuple[str, int]:
        return self.names[row].decode(), int(self.lengths[row])

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return (self[row] for row in range(len(self)))

    def items(self, times: int) -> np.ndarray:
        """Row of each item, if every clip occurs `times` as often as its `repeats`; first all clips once."""
        repeats = np.full(len(self), times) if self.repeats is None else self.repeats.astype(np.int32) * times
        rounds = range(int(repeats.max(initial=0)))
        return np.concatenate([np.flatnonzero(repeats > k).astype(np.int32) for k in rounds])


def usable_table(store: ClipReader, clips: Iterable[str] | ClipTable, n_frames: int) -> ClipTable:
    """Clips of at least `n_frames` frames, in the given order; shorter ones are counted in the log.

    Raises:
        UserError: none is long enough.
    """
    table = clips if isinstance(clips, ClipTable) else ClipTable.of(store, clips)
    rows = np.flatnonzero(table.lengths >= n_frames)
    if not len(rows):
        raise UserError(
            f"{store.path}: none of {len(table)} clips has the {n_frames} frames of a crop; add longer clips"
        )
    short = len(table) - len(rows)
    if not short:
        return table
    log.warning("%s: %d of %d clips skipped: shorter than %d frames", store.path, short, len(table), n_frames)
    return ClipTable(table.names[rows], table.lengths[rows], None if table.repeats is None else table.repeats[rows])


def usable_clips(store: ClipReader, clips: Iterable[str] | ClipTable, n_frames: int) -> dict[str, int]:
    """`usable_table` as clip -> length."""
    return dict(usable_table(store, clips, n_frames))


def crop_random(seed: int, key: int | tuple[int, int]) -> tuple[int, np.random.Generator]:
    """Item key -> (index, its random generator). The key is (epoch, index), or an index in epoch 0.

    The epoch is part of the key, so an item is the same on every run and for any number of workers, and workers
    need not be told when an epoch ends.
    """
    epoch, index = key if isinstance(key, tuple) else (0, key)
    return index, np.random.default_rng([seed, epoch, index])


def crop_start(random: np.random.Generator, length: int, n_frames: int) -> int:
    """Uniform in 0..length - n_frames, both ends included."""
    return int(random.integers(0, length - n_frames, endpoint=True))
