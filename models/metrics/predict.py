"""Clips -> samples of a talker, windows of many clips in one batch, and style vectors of motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from models.generation.speech import Speech
from models.generation.windows import GenerationConfig, Item, WindowGenerator, generate_batch
from models.metrics.measure import Sampled
from models.metrics.style import mean_style
from models.networks.person import Person
from models.networks.style_encoder import StyleEncoder
from models.networks.talker import Talker
from utils.coefs import MotionCodec
from utils.media.audio import standardise
from utils.motion_file import Motion
from utils.speech import SpokenClip

_SEED_STRIDE = 1000  # distance of the seeds of neighbouring clips, so that no two samples share their noise


@dataclass(frozen=True)
class Draw:
    """Settings of the samples."""

    config: GenerationConfig = field(default_factory=GenerationConfig)
    n_samples: int = 10
    seed: int = 0
    batch_size: int = 32


def first_seed(seed: int, index: int) -> int:
    """Seed of the first sample of clip number `index`; sample i of clip 0 is demo.py's `--seed seed+i`."""
    return seed + _SEED_STRIDE * index


class Predictor:
    """Draws samples of one talker. Make a new one after its weights have changed."""

    def __init__(self, model: Talker, codec: MotionCodec, draw: Draw) -> None:
        self.model, self.codec, self.draw = model, codec, draw
        self.generator = WindowGenerator(model, draw.config)

    @torch.no_grad()
    def __call__(
        self, clips: Sequence[SpokenClip], styles: Sequence[Tensor | None], seeds: Sequence[int]
    ) -> list[Sampled]:
        """Draw `draw.n_samples` motions of every clip's speech on its own head shape.

        Args:
            clips: whose speech is used; their audio is encoded once for all samples, whole unless draw.config differs.
            styles: per clip, the requested style (d_style,) or None for the null style.
            seeds: per clip, the seed of its first sample, see `first_seed`.
        """
        model, draw, items = self.model, self.draw, []
        for clip, style, seed in zip(clips, styles, seeds):
            audio = torch.from_numpy(standardise(clip.audio)).to(model.device)
            shape = torch.from_numpy(np.ascontiguousarray(clip.truth.shape)).to(model.device)
            speech = Speech.encode(model, audio, draw.config.whole_audio)
            person = Person(self.codec.stats.normalise("shape", shape), style)
            items += [Item(speech, person, seed + i) for i in range(draw.n_samples)]
        motions = generate_batch(self.generator, items, draw.batch_size)
        groups = [torch.stack(motions[i : i + draw.n_samples]) for i in range(0, len(motions), draw.n_samples)]
        return [Sampled(*self.codec.decode(group)) for group in groups]


@torch.no_grad()
def style_vectors(
    encoder: StyleEncoder, codec: MotionCodec, motions: Sequence[Motion], batch_size: int = 256
) -> Tensor:
    """Style of each motion's first window: (N, d) on the codec's device. All must be at least one window long."""
    device, window = codec.stats.exp_mean.device, encoder.config.n_motions
    parts = []
    for start in range(0, len(motions), batch_size):
        batch = motions[start : start + batch_size]
        exp, pose = (
            torch.from_numpy(np.stack([getattr(m, name)[:window] for m in batch])).to(device)
            for name in ("exp", "pose")
        )
        parts.append(mean_style(encoder, codec, exp, pose))
    return torch.cat(parts)
