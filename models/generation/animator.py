"""Speech in, FLAME motion out: a checkpoint with everything around it that raw inputs need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.fast.engine import Engine
from models.generation.audio_stream import AudioScale, feature_windows
from models.generation.continuation import Continuation, continued_motion
from models.generation.windows import GenerationConfig, Item, Speech, generate_batch
from models.networks.loading import find_stats, load_talker
from models.networks.talker import Talker
from utils.coefs import MotionCodec
from utils.errors import UserError
from utils.media.audio import standardise
from utils.motion_file import Motion
from utils.timebase import SAMPLE_RATE


@dataclass(frozen=True)
class Animator:
    """A talker that takes raw audio, shape and style and returns raw coefficients."""

    model: Talker
    codec: MotionCodec
    published: bool  # the checkpoint is one of the authors'
    engines: dict[tuple, Engine] = field(default_factory=dict, compare=False, repr=False)  # the last one

    @classmethod
    def load(cls, checkpoint: Path, stats: Path | None, device: torch.device) -> Animator:
        """Read a checkpoint; `stats` overrides (or, for published files, supplies) its statistics.

        Raises:
            UserError: see `load_talker`; no statistics.
        """
        model, loaded = load_talker(checkpoint)
        codec = MotionCodec(model.config.layout, find_stats(loaded.stats, stats, checkpoint).to(device))
        return cls(model.to(device), codec, loaded.published)

    @torch.no_grad()
    def __call__(
        self, audio: np.ndarray, shape: np.ndarray, style: np.ndarray | None, config: GenerationConfig, seeds: list[int]
    ) -> list[Motion]:
        """One motion per seed.

        Args:
            audio: (n,) float32 at 16 kHz.
            shape: (100,).
            style: (d_style,), or None for the null style.
            config: guidance and sampler.
            seeds: of the samples, which are drawn together as one batch.

        Raises:
            UserError: audio shorter than one frame.
        """
        return self.batch([audio], shape, style, config, seeds)[0]

    @torch.no_grad()
    def batch(
        self,
        audios: list[np.ndarray],
        shape: np.ndarray,
        style: np.ndarray | None,
        config: GenerationConfig,
        seeds: list[int],
    ) -> list[list[Motion]]:
        """One motion per utterance and seed, windows of all of them in shared batches; arguments as of a call.

        Raises:
            UserError: audio shorter than one frame.
        """
        person, vector = self._person(shape, style)
        items = []
        for audio in audios:
            if len(audio) * self.model.config.fps < SAMPLE_RATE:
                raise UserError(f"audio: {len(audio)} samples are less than one frame; give at least 0.04 s")
            tensor = torch.from_numpy(standardise(audio)).to(self.model.device)
            speech = Speech.encode(self.model, tensor, config.whole_audio)
            items += [Item(speech, person, vector, seed) for seed in seeds]
        made = [self.decode(m, shape) for m in generate_batch(self.model, items, config, engine=self.engine(config))]
        return [made[i : i + len(seeds)] for i in range(0, len(made), len(seeds))]

    def long(
        self,
        blocks: Iterable[np.ndarray],
        scale: AudioScale,
        person: tuple[np.ndarray, np.ndarray | None],
        config: GenerationConfig,
        seed: int,
    ) -> Iterator[Motion]:
        """A recording of any length in bounded memory -> its motion, a window (up to 4 s) at a time.

        Args:
            blocks: the samples at 16 kHz, in pieces of any size.
            scale: of the whole recording, from an earlier pass over the same samples.
            person: shape (100,), and style (d_style,) or None for the null style.
            config: guidance and sampler.
            seed: of the sample; the motion is the one a call gives for it.
        """
        windows = feature_windows(self.model, blocks, scale, config.whole_audio)
        n_frames = scale.n_samples * self.model.config.fps // SAMPLE_RATE
        for motion in continued_motion(windows, n_frames, self.continuation(person, config, seed)):
            yield self.decode(motion, person[0])

    def continuation(
        self, person: tuple[np.ndarray, np.ndarray | None], config: GenerationConfig, seed: int
    ) -> Continuation:
        """A sample of this person that is generated window by window."""
        return Continuation(self.model, self.engine(config), config, self._person(*person), seed)

    def decode(self, motion: Tensor, shape: np.ndarray) -> Motion:
        """Normalised motion (n, D) -> raw coefficients."""
        exp, pose = (x[0].cpu().numpy() for x in self.codec.decode(motion[None]))
        return Motion(exp, pose, shape)

    def _person(self, shape: np.ndarray, style: np.ndarray | None) -> tuple[Tensor, Tensor | None]:
        device = self.model.device
        normalised = self.codec.stats.normalise("shape", torch.from_numpy(shape).to(device))
        return normalised, None if style is None else torch.from_numpy(style).to(device)

    def engine(self, config: GenerationConfig) -> Engine:
        """The engine of this guidance, with what it prepared in earlier calls; the model's weights must not change."""
        key = (config.guidance, config.engine)
        if key not in self.engines:
            self.engines.clear()  # prepared weights and graphs are large: one is enough
            self.engines[key] = Engine(self.model, *key)
        return self.engines[key]
