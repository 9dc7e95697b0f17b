"""Speech in, FLAME motion out: a checkpoint with everything around it that raw inputs need."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

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
        device = self.model.device
        if len(audio) * self.model.config.fps < SAMPLE_RATE:
            raise UserError(f"audio: {len(audio)} samples are less than one frame; give at least 0.04 s")
        tensor = torch.from_numpy(standardise(audio)).to(device)
        person = self.codec.stats.normalise("shape", torch.from_numpy(shape).to(device))
        vector = None if style is None else torch.from_numpy(style).to(device)
        speech = Speech.encode(self.model, tensor, config.whole_audio)
        items = [Item(speech, person, vector, seed) for seed in seeds]
        motion = torch.stack(generate_batch(self.model, items, config, engine=self.engine(config)))
        exp, pose = (x.cpu().numpy() for x in self.codec.decode(motion))
        return [Motion(exp[i], pose[i], shape) for i in range(len(seeds))]

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
