"""Speech as features of whole windows, the input of the network (paper section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.generation.tongue import TongueReader
from models.networks.talker import Talker
from utils.timebase import WindowPlan, plan_windows, samples_per_frame


def pad_to_windows(audio: Tensor, plan: WindowPlan, unit: int, mode: str) -> Tensor:
    """Pad (B, n) with zeros, or with its last sample, to whole windows."""
    missing = plan.padded_frames * unit - audio.shape[1]
    if missing <= 0:
        return audio[:, : plan.padded_frames * unit]
    if mode == "replicate":
        return F.pad(audio[:, None], (0, missing), mode="replicate")[:, 0]
    return F.pad(audio, (0, missing))


@dataclass(frozen=True)
class Heard:
    """What is heard in a stretch of audio."""

    features: Tensor  # (T, F) the network's input
    tongue: Tensor | None = None  # (T, 2) `utils.heads.tongue.TONGUE_UNITS`

    @classmethod
    def of(cls, model: Talker, encoded: Tensor, reader: TongueReader | None) -> Heard:
        """From the audio encoder's output (T, hidden_size)."""
        return cls(model.audio_feature_map(encoded), None if reader is None else reader(encoded))

    def part(self, first: int, end: int) -> Heard:
        """Frames first to end."""
        return Heard(self.features[first:end], None if self.tongue is None else self.tongue[first:end])


def encode_speech(model: Talker, audio: Tensor, plan: WindowPlan, whole: bool) -> list[Tensor]:
    """Standardised audio (B, n) -> encoder outputs (B, L, hidden_size) of each window; `whole` encodes all at once."""
    unit = samples_per_frame(model.config.fps)
    padded = pad_to_windows(audio, plan, unit, model.config.pad_mode)
    if whole:
        return list(model.audio_encoder(padded, plan.padded_frames).split(plan.window, dim=1))
    return [model.audio_encoder(window, plan.window) for window in padded.split(plan.window * unit, dim=1)]


@dataclass(frozen=True)
class Speech:
    """Encoded audio of one utterance, in whole windows."""

    windows: Tensor  # (n_windows, L, F)
    n_frames: int  # real frames; the rest of the last window is padding
    tongue: Tensor | None = None  # (n_frames, 2)

    @classmethod
    @torch.no_grad()
    def encode(cls, model: Talker, audio: Tensor, whole: bool = True, reader: TongueReader | None = None) -> Speech:
        """Encode standardised audio (n,) at 16 kHz, as a whole or window by window; `reader` hears the tongue."""
        plan = plan_windows(len(audio), model.config.n_motions, model.config.fps)
        encoded = torch.cat(encode_speech(model, audio[None], plan, whole))
        tongue = None if reader is None else reader(encoded).flatten(0, 1)[: plan.n_frames]
        return cls(model.audio_feature_map(encoded), plan.n_frames, tongue)
