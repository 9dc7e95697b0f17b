"""A recording on disk: its level, and its samples unless it is long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.generation.audio_stream import AudioScale
from utils.errors import UserError
from utils.media.audio import Sound, SoundPart, own_sound, stream_audio
from utils.timebase import FPS, SAMPLE_RATE, n_frames_of

LONG = 120 * SAMPLE_RATE  # samples; longer recordings are decoded again instead of held in memory


@dataclass(frozen=True)
class Recording:
    """Speech in a file."""

    path: Path
    scale: AudioScale
    audio: np.ndarray | None  # float32 (n,) at 16 kHz; None for a long recording
    part: SoundPart = SoundPart()

    @classmethod
    def read(cls, path: Path, part: SoundPart = SoundPart()) -> Recording:  # noqa: B008 - frozen
        """Decode the whole file once to measure its level.

        Raises:
            UserError: see `load_audio`; the recording is shorter than one frame.
        """
        scale, kept = AudioScale(), []
        for block in stream_audio(path, part=part):
            scale.push(block)
            if scale.n_samples <= LONG:
                kept.append(block)
            else:
                kept.clear()
        if not n_frames_of(scale.n_samples):
            raise UserError(f"{path}: {scale.n_samples} samples are less than one frame; give at least {1 / FPS} s")
        return cls(path, scale, None if scale.n_samples > LONG else np.concatenate(kept), part)

    @property
    def n_frames(self) -> int:
        return n_frames_of(self.scale.n_samples)

    def blocks(self) -> Iterable[np.ndarray]:
        """The samples, float32 (n,) at 16 kHz, piece by piece."""
        return stream_audio(self.path, part=self.part, notes=[]) if self.audio is None else [self.audio]

    def sound(self) -> Sound:
        """The file's own sound, with its rate and channels, for videos and wavs."""
        return own_sound(self.path, self.part)
