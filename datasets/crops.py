"""What both training data sets share: usable clips, and crops that are a function of (seed, epoch, index)."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np

from datasets.clip_store import ClipStore
from utils.errors import UserError

log = logging.getLogger(__name__)


def usable_clips(store: ClipStore, clips: Iterable[str], n_frames: int) -> dict[str, int]:
    """Clips of at least `n_frames` frames -> their lengths, in the given order; shorter ones are counted in the log.

    Raises:
        UserError: none is long enough.
    """
    lengths = {clip: store.n_frames(clip) for clip in clips}
    usable = {clip: length for clip, length in lengths.items() if length >= n_frames}
    if not usable:
        raise UserError(
            f"{store.path}: none of {len(lengths)} clips has the {n_frames} frames of a crop; add longer clips"
        )
    if len(usable) < len(lengths):
        log.warning(
            "%s: %d of %d clips skipped: shorter than %d frames",
            store.path,
            len(lengths) - len(usable),
            len(lengths),
            n_frames,
        )
    return usable


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
