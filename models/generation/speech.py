"""Speech as features of whole windows, the input of the network (paper section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

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


def encode_speech(model: Talker, audio: Tensor, plan: WindowPlan, whole: bool) -> list[Tensor]:
    """Standardised audio (B, n) -> features (B, L, F) of each window; `whole` encodes all windows at once."""
    unit = samples_per_frame(model.config.fps)
    padded = pad_to_windows(audio, plan, unit, model.config.pad_mode)
    if whole:
        return list(model.encode_audio(padded, plan.padded_frames).split(plan.window, dim=1))
    return [model.encode_audio(window, plan.window) for window in padded.split(plan.window * unit, dim=1)]


@dataclass(frozen=True)
class Speech:
    """Encoded audio of one utterance, in whole windows."""

    windows: Tensor  # (n_windows, L, F)
    n_frames: int  # real frames; the rest of the last window is padding

    @classmethod
    @torch.no_grad()
    def encode(cls, model: Talker, audio: Tensor, whole: bool = True) -> Speech:
        """Encode standardised audio (n,) at 16 kHz, as a whole or window by window."""
        plan = plan_windows(len(audio), model.config.n_motions, model.config.fps)
        return cls(torch.cat(encode_speech(model, audio[None], plan, whole)), plan.n_frames)
