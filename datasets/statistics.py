"""Mean and standard deviation of the coefficients over random crops (`stats_train.npz`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from tqdm import tqdm

from datasets.clip_store import ClipStore
from datasets.crops import crop_start, usable_clips
from utils.coefs import DIMS, CoefStats


def random_crop_stats(
    store: ClipStore,
    clips: Sequence[str],
    n_frames: int = 100,
    n_rounds: int = 100,
    seed: int = 0,
    progress: bool = False,
) -> CoefStats:
    """Average over crops of each crop's mean and (population) standard deviation, per coefficient.

    The deviation is taken within crops, not between persons, because normalisation is to scale motion. Each round takes
    one random crop of every clip, so long clips do not outweigh short ones.

    Args:
        store: where the clips are; only coefficients are read, each clip once.
        clips: the clips to use; those shorter than a crop are skipped with a logged count.
        n_rounds: crops per clip.

    Raises:
        UserError: no clip is long enough; damaged data.
    """
    usable = usable_clips(store, clips, n_frames)
    random = np.random.default_rng(seed)
    sums = np.zeros((2, sum(DIMS.values())))
    for clip, length in tqdm(usable.items(), desc="statistics", unit="clip", disable=not progress):
        coefs = store.read_coefs(clip)
        starts = np.array([crop_start(random, length, n_frames) for _ in range(n_rounds)])
        sums += crop_moments(np.concatenate([coefs[name] for name in DIMS], axis=1), starts, n_frames).sum(axis=1)
    mean, std = sums / (len(usable) * n_rounds)
    ends = np.cumsum(list(DIMS.values()))[:-1]
    values = {f"{name}_mean": part for name, part in zip(DIMS, np.split(mean, ends), strict=True)}
    values |= {f"{name}_std": part for name, part in zip(DIMS, np.split(std, ends), strict=True)}
    return CoefStats.from_dict({name: torch.from_numpy(part) for name, part in values.items()})


def crop_moments(values: np.ndarray, starts: np.ndarray, n_frames: int) -> np.ndarray:
    """Mean and standard deviation of values (T, C) over each of the crops: (2, len(starts), C) float64.

    Running sums make the cost independent of the crops' length. Values are taken relative to the first frame, which
    keeps a constant coefficient's deviation exactly 0.
    """
    origin = values[0].astype(np.float64)
    relative = values - origin
    first, second = (np.pad(np.cumsum(x, axis=0), {0: (1, 0)}) for x in (relative, relative**2))
    mean = (first[starts + n_frames] - first[starts]) / n_frames
    variance = (second[starts + n_frames] - second[starts]) / n_frames - mean**2
    return np.stack([mean + origin, np.sqrt(np.maximum(variance, 0))])
