"""Normalisation statistics of a synthetic data set: wide enough for blinks and for lasting expressions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.clip_store import ClipStore
from datasets.statistics import random_crop_stats
from utils.coefs import CoefStats

REACH = 3.5  # standard deviations that the rarest values may lie from the mean
_RARE = 0.001
_NOTHING = 1e-5  # deviations below are rounding errors of a constant
_CROP, _ROUNDS = 100, 8  # frames; crops per clip


def write_wide_stats(folder: Path, clips: Sequence[str], seed: int) -> None:
    """`stats_train.npz` of a data set: random crops of the training clips, the deviations widened."""
    store = ClipStore(folder)
    crops = random_crop_stats(store, clips, _CROP, _ROUNDS, seed)
    values = {name: value.numpy() for name, value in crops.to_dict().items()}
    widened = widen(values, [store.read_coefs(clip) for clip in clips])
    CoefStats.from_dict(widened).save(folder / "stats_train.npz")


def widen(statistics: dict[str, np.ndarray], clips: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Enlarge the deviations of expression and pose so that 99.9 % of the values lie within 3.5 of them.

    Dynamic thresholding clamps predictions to 4 standard deviations at most. Blinks are brief and a lasting smile does
    not vary within a crop, so the mean of the crops' deviations would put both beyond that. Coefficients that never
    move keep 0, and so do the shapes, which are constant within a clip.

    Args:
        statistics: {shape,exp,pose}_{mean,std} from random crops.
        clips: 'exp' (n, 50) and 'pose' (n, 6) of the training clips.

    Returns:
        the same keys, float32.
    """
    result = {key: np.asarray(value, np.float32).copy() for key, value in statistics.items()}
    for name in ("exp", "pose"):
        edges = np.quantile(np.concatenate([clip[name] for clip in clips]), [_RARE, 1 - _RARE], axis=0)
        reach = np.abs(edges - result[f"{name}_mean"]).max(0) / REACH
        result[f"{name}_std"] = np.maximum(result[f"{name}_std"], reach).astype(np.float32)
    for name in ("shape", "exp", "pose"):
        result[f"{name}_std"][result[f"{name}_std"] < _NOTHING] = 0
    return result
