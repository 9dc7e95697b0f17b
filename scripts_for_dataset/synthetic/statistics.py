"""Normalisation statistics of a synthetic data set (`stats_train.npz`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from utils.atomic import atomic_path
from utils.coefs import DIMS

CROP = 100  # frames, the networks' window
REACH = 3.5  # standard deviations that the rarest values (blinks, a speaker's lasting smile) may lie from the mean
_RARE = 0.001


def crop_statistics(
    clips: list[dict[str, np.ndarray]], rng: np.random.Generator, rounds: int = 4
) -> dict[str, np.ndarray]:
    """Mean of the crops' means and of their standard deviations, as the published statistics are made, then widened.

    Dynamic thresholding clamps predictions to 4 standard deviations at most. Blinks are brief and a lasting smile does
    not vary within a crop, so crop-wise deviations would put both beyond that. The deviation is therefore at least
    what keeps 99.9 % of the values within 3.5 of it. Coefficients that never move keep 0.

    Args:
        clips: 'shape' (n, 100), 'exp' (n, 50), 'pose' (n, 6) of the training clips.

    Returns:
        {shape,exp,pose}_{mean,std,min,max}, float32.
    """
    result = {}
    for name in DIMS:
        crops = [_crop(clip[name], rng) for _ in range(rounds) for clip in clips]
        mean = np.mean([crop.mean(0) for crop in crops], axis=0)
        std = np.mean([crop.std(0) for crop in crops], axis=0)
        values = np.concatenate([clip[name][:: 1 if name != "shape" else CROP] for clip in clips])
        if name != "shape":  # constant within a clip: its deviation stays 0, which leaves shapes as they are
            edges = np.quantile(values, [_RARE, 1 - _RARE], axis=0)
            std = np.maximum(std, np.abs(edges - mean).max(0) / REACH)
        else:
            std[std < 1e-5] = 0
        result |= {f"{name}_mean": mean, f"{name}_std": std, f"{name}_min": values.min(0), f"{name}_max": values.max(0)}
    return {key: value.astype(np.float32) for key, value in result.items()}


def _crop(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    first = int(rng.integers(max(1, len(values) - CROP + 1)))
    return values[first : first + CROP]


def save_statistics(path: Path, statistics: dict[str, np.ndarray]) -> None:
    """Write the npz, whole or not at all."""
    with atomic_path(path) as temporary:
        np.savez(temporary, **statistics)
