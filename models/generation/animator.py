"""Raw speech -> raw motion: a talker with its statistics, normalisation and decoding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.audio.whisper import WhisperEncoder
from models.diffusion.guidance import Guidance
from models.fast.engine import Engine, EngineConfig
from models.generation.audio_stream import AudioScale, SpanEncoder, feature_windows
from models.generation.continuation import Continuation, continued_motion
from models.generation.speech import Heard, Speech
from models.generation.tongue import TongueReader
from models.generation.windows import GenerationConfig, Item, Sample, WindowGenerator, generate_batch
from models.heads.mouth import CLOSE
from models.networks.loading import find_stats, load_talker
from models.networks.person import Person
from models.networks.talker import Talker
from models.tracking.carry import carry
from models.tracking.embedding import LandmarkHead
from utils.coefs import N_EXP, N_POSE, MotionCodec
from utils.devices import OnItsWay
from utils.errors import UserError
from utils.exports.arkit import head_model_of
from utils.heads.head_file import HeadFile
from utils.media.audio import standardise
from utils.motion_file import OPEN_HEAD, UNKNOWN_FLAME, Motion
from utils.timebase import SAMPLE_RATE


@dataclass(frozen=True)
class Decoded:
    """Raw coefficients of a batch, and what makes motions of them."""

    values: OnItsWay  # (B, L, expression ++ pose ++ tongue)
    head_model: str
    mouth: LandmarkHead | None

    def motions(self, lengths: list[int], shapes: list[np.ndarray]) -> list[Motion]:
        """Of the first frames of each row, on heads of these shapes (100,)."""
        return [self._motion(row[:n], shape) for row, n, shape in zip(self.values.numpy(), lengths, shapes)]

    def _motion(self, values: np.ndarray, shape: np.ndarray) -> Motion:
        tongue = values[:, N_EXP + N_POSE :] if values.shape[1] > N_EXP + N_POSE else None
        exp, pose = values[:, :N_EXP], values[:, N_EXP : N_EXP + N_POSE]
        carried = self.mouth is not None and shape.any()
        motion = Motion(exp, pose, None if carried else shape, head_model=self.head_model, tongue=tongue)
        return carry(self.mouth, motion, shape) if self.mouth is not None and carried else motion


class Animator:
    """A talker that takes raw audio and a raw person (numpy arrays) and returns raw coefficients."""

    def __init__(self, model: Talker, codec: MotionCodec, published: bool) -> None:
        """`published`: the checkpoint is one of the authors'. The model's weights must not change afterwards."""
        self.model, self.codec, self.published = model, codec, published
        self.head_model = UNKNOWN_FLAME if published else ""  # that motions are for
        self.tongue: TongueReader | None = None  # None: motions have no tongue
        self.mouth: LandmarkHead | None = None  # of heads whose openings are solved anew
        self._engine: tuple[tuple[Guidance, EngineConfig], Engine] | None = None

    @classmethod
    def load(cls, checkpoint: Path, stats: Path | None, device: torch.device) -> Animator:
        """Read a checkpoint; `stats` replaces its statistics, or supplies them for published files.

        Raises:
            UserError: see `load_talker`; no statistics.
        """
        model, loaded = load_talker(checkpoint)
        codec = MotionCodec(model.config.layout, find_stats(loaded.stats, stats, checkpoint).to(device))
        return cls(model.to(device), codec, loaded.published)

    def __call__(
        self, audio: np.ndarray, person: Person[np.ndarray], config: GenerationConfig, seeds: list[int]
    ) -> list[Motion]:
        """One motion per seed.

        Args:
            audio: (n,) float32 at 16 kHz.
            person: shape (100,), and style (d_style,) or None for the null style.
            seeds: one per sample; the samples are drawn as one batch.

        Raises:
            UserError: audio shorter than one frame.
        """
        return self.batch([audio], person, config, seeds)[0]

    @torch.no_grad()
    def batch(
        self,
        audios: list[np.ndarray],
        person: Person[np.ndarray],
        config: GenerationConfig,
        seeds: list[int],
        batch_size: int = 32,
    ) -> list[list[Motion]]:
        """One motion per utterance and seed, with `batch_size` windows of all of them at once; arguments as for a call.

        Raises:
            UserError: audio shorter than one frame.
        """
        normalised, items = self.normalised(person), []
        for audio in audios:
            if len(audio) * self.model.config.fps < SAMPLE_RATE:
                raise UserError(f"audio: {len(audio)} samples are less than one frame; give at least 0.04 s")
            tensor = torch.from_numpy(standardise(audio)).to(self.model.device)
            speech = Speech.encode(self.model, tensor, config.whole_audio, self.tongue)
            items += [Item(speech, normalised, seed) for seed in seeds]
        motions = generate_batch(self.generator(config), items, batch_size)
        made = [self.decode(motion, person.shape, item.speech.tongue) for motion, item in zip(motions, items)]
        return [made[i : i + len(seeds)] for i in range(0, len(made), len(seeds))]

    def long(
        self,
        blocks: Iterable[np.ndarray],
        scale: AudioScale,
        person: Person[np.ndarray],
        config: GenerationConfig,
        seed: int,
    ) -> Iterator[Motion]:
        """The motion of a recording of any length, one window (up to 4 s) at a time, in bounded memory.

        Args:
            blocks: the samples at 16 kHz, in pieces of any size.
            scale: of the whole recording, from an earlier pass over the same samples.
            person: shape (100,), and style (d_style,) or None for the null style.
            seed: of the sample; the motion equals that of a call with this seed.
        """
        now: list[Heard] = []  # the window that is generated

        def features() -> Iterator[Tensor]:
            for heard in feature_windows(self.model, blocks, scale, config.whole_audio, self.tongue):
                now[:] = [heard]
                yield heard.features

        n_frames = scale.n_samples * self.model.config.fps // SAMPLE_RATE
        for motion in continued_motion(features(), n_frames, self.continuation(person, config, seed)):
            yield self.decode(motion, person.shape, now[0].tongue)

    def continuation(
        self, person: Person[np.ndarray], config: GenerationConfig, seed: int, generator: WindowGenerator | None = None
    ) -> Continuation:
        """A sample of this person's motion, to be generated window by window; generator: an existing one."""
        sample = Sample(self.model, self.normalised(person), seed)
        return Continuation(generator or self.generator(config), sample)

    @cached_property
    def spans(self) -> SpanEncoder:
        """The encoder of live audio."""
        return SpanEncoder(self.model, reader=self.tongue)

    def encode(self, motion: Motion) -> Tensor:
        """Raw coefficients -> normalised motion (n, D), the inverse of `decode` for the average head."""
        exp, pose = (torch.from_numpy(x).to(self.model.device) for x in (motion.exp, motion.pose))
        return self.codec.encode(exp, pose)

    def know_head(self, head: HeadFile, carried: bool = True) -> None:
        """Name this head in all motions and, if `carried`, let mouths of all its identities open as the average head's.

        The open head has a tongue, which is read off the features if they are Whisper's.

        A model that does not see the identity (--no_shape_input) moves the average head; the same coefficients leave
        other lips apart, or press them. From now on `decode` solves the openings anew. Other models stay as they are.

        Raises:
            UserError: the landmarks in models/data are not this head's.
        """
        self.head_model = head_model_of(head)
        if self.head_model == OPEN_HEAD and isinstance(self.model.audio_encoder, WhisperEncoder):
            self.tongue = TongueReader.load().to(self.model.device)
        if carried and self.model.config.no_shape_input and CLOSE in (head.exp_names or []):
            self.mouth = LandmarkHead(head)

    def decode(self, motion: Tensor, shape: np.ndarray, tongue: Tensor | None = None) -> Motion:
        """Normalised motion (n, D), and the tongue (n or more, 2) -> raw coefficients."""
        return self.decoded(motion[None], None if tongue is None else tongue[None]).motions([len(motion)], [shape])[0]

    def decoded(self, motion: Tensor, tongue: Tensor | None = None) -> Decoded:
        """Normalised motion (B, L, D), the tongue (B, L or more, 2) -> raw coefficients on their way to the host."""
        parts = [*self.codec.decode(motion), *([] if tongue is None else [tongue[:, : motion.shape[1]]])]
        return Decoded(OnItsWay(torch.cat(parts, dim=-1)), self.head_model, self.mouth)

    def generator(self, config: GenerationConfig) -> WindowGenerator:
        """A generator with this configuration; it reuses the weights and graphs prepared for the last guidance."""
        key = (config.guidance, config.engine)
        if self._engine is None or self._engine[0] != key:
            self._engine = None  # weights and graphs are large: free the old ones first
            self._engine = (key, Engine(self.model, *key))
        return WindowGenerator(self.model, config, self._engine[1])

    def normalised(self, person: Person[np.ndarray]) -> Person[Tensor]:
        """The person as the network sees it."""
        device = self.model.device
        raw = person.map(lambda values: torch.from_numpy(values).to(device))
        return replace(raw, shape=self.codec.stats.normalise("shape", raw.shape))
