"""A clip to generate and to judge: speech, the true motion, whose style to ask for, and what is said when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from utils.motion_file import Motion
from utils.phones import Phone


@dataclass(frozen=True)
class SpokenClip:
    """One clip of an evaluation."""

    name: str  # <person>/<video>
    speaker: str
    audio: np.ndarray  # float32 (640 T,), 16 kHz, not standardised
    truth: Motion  # T frames, with a shape
    style_motion: Motion  # the first 4 s (one style window) of another clip of the speaker, or of this one
    phones: tuple[Phone, ...] | None = None  # None: not known

    def __post_init__(self) -> None:
        if self.truth.shape is None:
            raise ValueError(f"{self.name}: the true motion has no shape; give the head's 100 coefficients")

    @property
    def n_frames(self) -> int:
        return len(self.truth)
