"""A talker small enough for a test, with a stub in place of the audio encoder."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from models.networks.talker import Talker, TalkerConfig

CONFIG = TalkerConfig(feature_dim=16, n_heads=2, n_layers=1, n_diff_steps=6, use_indicator=True,
                      style_enc_ckpt="experiments/SE/tiny/checkpoints/iter_0000001.pt")  # fmt: skip


class StubAudioEncoder(nn.Module):
    """Features from mean and size of each frame's samples, and, like a transformer, from the whole file (a little)."""

    hidden_size = 3
    windows = None

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Tensor] = []

    def compile_layers(self, **options: Any) -> None:
        pass

    def checkpoint_config(self) -> None:
        return None

    def forward(self, audio: Tensor, n_frames: int) -> Tensor:
        self.calls.append(audio.detach().clone())
        frames = audio.reshape(len(audio), n_frames, -1)
        overall = audio.mean(dim=1)[:, None].expand(-1, n_frames)
        return torch.stack([frames.mean(-1), frames.abs().mean(-1), overall], dim=-1)


def make_talker(seed: int = 0, **changes) -> Talker:
    """A reproducible talker in eval mode."""
    torch.manual_seed(seed)
    return Talker(replace(CONFIG, **changes), StubAudioEncoder()).eval()
