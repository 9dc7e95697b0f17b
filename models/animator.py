"""Speech in, FLAME motion out: a checkpoint with everything around it that raw inputs need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.audio_stream import AudioScale, feature_windows
from models.continuation import Continuation, continued_motion
from models.engine import Engine
from models.generation import GenerationConfig, Item, Speech, generate_batch
from models.loading import load_style_encoder, load_talker
from models.style_encoder import StyleEncoder
from models.talker import Talker
from utils.audio import standardise
from utils.coefs import CoefStats, MotionCodec
from utils.errors import UserError
from utils.motion_file import Motion
from utils.timebase import FPS, SAMPLE_RATE

# Where the published data set keeps its statistics; published checkpoints do not carry them.
PUBLISHED_STATS = Path("datasets/HDTF_TFHP/lmdb/stats_train.npz")


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


@dataclass(frozen=True)
class StyleExtractor:
    """A style encoder that takes raw coefficients."""

    encoder: StyleEncoder
    codec: MotionCodec

    @classmethod
    def load(cls, checkpoint: Path, stats: Path | None, device: torch.device) -> StyleExtractor:
        """See `Animator.load`."""
        encoder, loaded = load_style_encoder(checkpoint)
        codec = MotionCodec(encoder.config.layout, find_stats(loaded.stats, stats, checkpoint).to(device))
        return cls(encoder.to(device), codec)

    @torch.no_grad()
    def __call__(self, motion: Motion, start: int = 0) -> np.ndarray:
        """Style (feature_dim,) of the window of `n_motions` frames that begins at `start`.

        Raises:
            UserError: the window does not lie inside the motion.
        """
        window = self.encoder.config.n_motions
        if len(motion) < window:
            raise UserError(
                f"{motion.source}: {len(motion)} frames are too few; a style needs {window} ({window / FPS:g} s)"
            )
        if not 0 <= start <= len(motion) - window:
            raise UserError(f"--start {start}: out of range; {motion.source} allows 0 to {len(motion) - window}")
        device = next(self.encoder.parameters()).device
        exp, pose = (torch.from_numpy(x[start : start + window]).to(device) for x in (motion.exp, motion.pose))
        return self.encoder(self.codec.encode(exp, pose)[None])[0].cpu().numpy()


def find_stats(embedded: CoefStats | None, override: Path | None, checkpoint: Path) -> CoefStats:
    """The statistics to use: a given file, else the checkpoint's own, else the published data set's.

    Raises:
        UserError: none of them exists.
    """
    if override is not None:
        return CoefStats.load(override)
    if embedded is not None:
        return embedded
    if PUBLISHED_STATS.is_file():
        return CoefStats.load(PUBLISHED_STATS)
    raise UserError(f"{checkpoint}: a published checkpoint carries no statistics; give --coef_stats stats_train.npz")
