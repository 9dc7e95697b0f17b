"""Inputs of one window of real speech, with which graphs are traced and compared with PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.audio.windows import Windows
from models.generation.animator import Animator
from models.generation.audio_stream import AudioScale, SpanEncoder
from models.generation.windows import GenerationConfig
from models.networks.person import Person


@dataclass(frozen=True)
class WindowSample:
    """The second window of a recording, which has a whole one before it and ends in padding."""

    samples: Tensor  # (1, surroundings + 4 s + surroundings)
    audio: Tensor  # (1, L, F)
    prev_audio: Tensor  # (1, P, F)
    prev_motion: Tensor  # (1, P, D)
    noise: Tensor  # (1, L, D)
    shape: Tensor  # (1, 100), normalised
    style: Tensor  # (1, d_style)
    person: Tensor  # (1, person_dim)
    indicator: Tensor  # (1, L)

    @classmethod
    @torch.no_grad()
    def of(cls, animator: Animator, config: GenerationConfig, recording: np.ndarray, style: np.ndarray) -> WindowSample:
        """
        Args:
            recording: 4 s of speech or more, (n,) at 16 kHz.
            style: (d_style,).
        """
        model, generator = animator.model, torch.Generator().manual_seed(0)
        options, windows = model.config, model.audio_encoder.windows
        assert windows is not None
        samples = levelled(SpanEncoder(model), windows, recording)
        features = model.audio_feature_map(windows.encode(samples, 1))
        shape, styles = torch.zeros(1, 100), torch.from_numpy(style)[None]
        scales = torch.tensor([[config.guidance.scales[name] for name in options.columns]])
        person = Person(shape, styles if options.has_style else None)
        motion = 0.5 * torch.randn(1, options.n_prev_motions, options.layout.motion_dim, generator=generator)
        return cls(
            samples=samples,
            audio=features,
            prev_audio=features[:, : options.n_prev_motions],
            prev_motion=motion,
            noise=torch.randn(1, options.n_motions, options.layout.motion_dim, generator=generator),
            shape=shape,
            style=styles,
            person=model.person_vector(person, scales),
            indicator=(torch.arange(options.n_motions) < 0.8 * options.n_motions).float()[None],
        )


def levelled(encoder: SpanEncoder, windows: Windows, recording: np.ndarray) -> Tensor:
    """The first window of a recording (n,) as the audio graph takes it, (1, surroundings + 4 s + surroundings)."""
    scale = AudioScale()
    scale.push(recording)
    audio = torch.from_numpy(encoder.scaled(recording, scale))[None]
    whole = windows.frames * encoder.unit + 2 * windows.surroundings
    padded = F.pad(audio, (windows.surroundings, whole))
    return padded[:, :whole]
