"""A data set of random speech-like clips, for the benchmarks of reading and of the style encoder's loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datasets.clip_store import ClipStore, ClipWriter
from utils.coefs import DIMS, CoefLayout, CoefStats, MotionCodec
from utils.timebase import SAMPLE_RATE, samples_per_frame


def write_random_store(folder: Path, persons: int, seconds: float) -> ClipStore:
    """One clip per person. The audio is noise under a speech-like envelope: FLAC takes about as long as for speech."""
    random = np.random.default_rng(0)
    n_frames = int(seconds * 25)
    with ClipWriter(folder, 100) as writer:
        for person in range(persons):
            coefs = {name: random.standard_normal((n_frames, width)).astype(np.float32) for name, width in DIMS.items()}
            writer.add_clip(f"person{person:03d}/000", speech_like_noise(random, n_frames * samples_per_frame()), coefs)
    return ClipStore(folder)


def speech_like_noise(random: np.random.Generator, n: int) -> np.ndarray:
    time = np.arange(n) / SAMPLE_RATE
    envelope = np.clip(np.sin(2 * np.pi * 3 * time) + np.sin(2 * np.pi * 0.4 * time), 0, None)
    coloured = np.convolve(random.standard_normal(n), np.ones(8) / 8, "same")
    return (0.1 * envelope * coloured).clip(-1, 1).astype(np.float32)


def identity_codec(head_pose: bool = True) -> MotionCodec:
    """For data that are random anyway."""
    return MotionCodec(CoefLayout(head_pose), CoefStats.identity())
