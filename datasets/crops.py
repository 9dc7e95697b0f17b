"""What both training data sets share: usable clips, and crops that are a function of (seed, epoch, index)."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np

from datasets.clip_store import ClipReader
from datasets.sources.clip_table import ClipTable
from utils.errors import UserError

log = logging.getLogger(__name__)


def usable_table(store: ClipReader, clips: Iterable[str] | ClipTable, n_frames: int) -> ClipTable:
    """Clips of at least `n_frames` frames, in the given order; shorter ones are counted in the log.

    Raises:
        UserError: none is long enough.
    """
    table = clips if isinstance(clips, ClipTable) else ClipTable.of(store, clips)
    enough = table.lengths >= n_frames
    short = len(table) - int(enough.sum())
    if short == len(table):
        raise UserError(
            f"{store.path}: none of {len(table)} clips has the {n_frames} frames of a crop; add longer clips"
        )
    if not short:
        return table
    log.warning("%s: %d of %d clips skipped: shorter than %d frames", store.path, short, len(table), n_frames)
    return table.at(np.flatnonzero(enough))


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
