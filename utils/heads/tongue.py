"""The tongue's two units, which stand beside the 50 of the motion vector: 0 unless something drives them.

A motion file may hold them as `tongue` (T, 2). Only the drawn head has a tongue that follows
(`Finish.tongue`); metrics, losses and models do not know it.
"""

from __future__ import annotations

import numpy as np

from utils.heads.joints import JAW_OPEN_RADIANS

TONGUE_UNITS = ("tongueOut", "tongueUp")
SHUT, FREE = 0.03, 0.09  # radians of the jaw, less what mouthClose takes back, from and at which the tongue may pass
LIFTS_FIRST = 3.0  # a tongue that comes out has risen over the lower teeth at a third of its way


def tongue_weights(tongue: np.ndarray, jaw: np.ndarray, close: np.ndarray) -> np.ndarray:
    """Units (T, 2) in 0..1 -> weights (T, 2) float32 of the two blend shapes.

    Shut teeth and lips hold the tongue back, and on its way out it rises before it passes the teeth.

    Args:
        tongue: rows of `TONGUE_UNITS`.
        jaw: (T,) radians.
        close: (T,) the unit mouthClose.
    """
    units = np.clip(tongue, 0, 1)
    out = units[:, 0] * np.clip((jaw - JAW_OPEN_RADIANS * close - SHUT) / (FREE - SHUT), 0, 1)
    return np.stack([out, np.maximum(units[:, 1], np.minimum(LIFTS_FIRST * out, 1))], axis=1).astype(np.float32)
