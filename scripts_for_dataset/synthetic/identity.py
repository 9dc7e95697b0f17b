"""Identities of the synthetic speakers, and the lip closure each of them needs."""

from __future__ import annotations

import numpy as np
import torch

from models.heads.flame import Flame
from models.heads.mouth import solve_mouth_close
from utils.coefs import N_SHAPE
from utils.heads.joints import JAW_OPEN_RADIANS

_JAW = 0.25  # jawOpen at which the closure is solved: the middle of what bilabials meet


def sample_shape(rng: np.random.Generator) -> np.ndarray:
    """A random adult: (100,) float32, normal with a per-speaker spread of 0.7 to 1."""
    return (rng.uniform(0.7, 1.0) * rng.standard_normal(N_SHAPE)).astype(np.float32)


def close_factors(flame: Flame, shapes: np.ndarray) -> np.ndarray:
    """mouthClose per jawOpen that makes the lips of every identity touch; shapes (S, 100) -> (S,).

    Solved at one jaw angle: on the open head the ratio hardly changes with the opening.
    """
    jaw = torch.full((len(shapes),), _JAW * JAW_OPEN_RADIANS)
    factors = solve_mouth_close(flame, torch.from_numpy(np.asarray(shapes, np.float32)), jaw) / _JAW
    return factors.clamp(0.6, 1.5).numpy()
