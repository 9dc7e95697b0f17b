"""Live speech -> motion: takes audio in blocks of any size as it arrives, and gives frames one hop at a time.

Every hop is a short window: the network sees the hop's audio and the last 10 frames of motion with their audio, and the
indicator marks the rest of its 100 frames as padding. It was trained on such truncated windows (paper section 3.3), and
continues its last frames as it does between the windows of a file. A hop also generates the frames of its look-ahead,
which are faded into the next hop, so that motion at the seams is as smooth as elsewhere. The level of the voice is
estimated from the audio so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from models.generation.animator import Animator
from models.generation.audio_stream import AudioScale, SpanEncoder
from models.generation.windows import GenerationConfig
from models.networks.person import Person
from utils.errors import UserError
from utils.motion_file import Motion
from utils.timebase import FPS, SAMPLE_RATE

LIVE_SAMPLER, LIVE_STEPS = "ddim", 4  # the default of our models: docs/live.md
HOPS = (0.2, 4.0)  # seconds: shortest and longest hop
QUIET = 0.005  # RMS; the voice counts as at least this loud, so that noise before the first word is not amplified


@dataclass(frozen=True)
class LiveConfig:
    """How much audio a stream waits for, and how much motion it generates at once."""

    hop: float = 0.6
    """Seconds of motion generated at once: longer hops are better and cheaper, but later."""
    first_hop: float = 0.4
    """Seconds of the first hop (at most `hop`), so that the first frames come early."""
    look_ahead: float = 0.2
    """Seconds of audio to wait for beyond a hop: the encoder needs what follows a sound, and hops are faded there."""
    catch_up: bool = False
    """Generate several waiting hops as one window; the frames then depend on when the audio arrived."""

    def __post_init__(self) -> None:
        if not HOPS[0] <= self.hop <= HOPS[1]:
            raise UserError(f"--hop {self.hop:g}: must lie between {HOPS[0]:g} and {HOPS[1]:g} seconds")
        if not 0 <= self.look_ahead <= 1:
            raise UserError(f"--look_ahead {self.look_ahead:g}: must lie between 0 and 1 second")


class LiveTalker:
    """Turns one voice into motion as it arrives:

    talker = LiveTalker(animator, Person(shape, style), config)
    for block in microphone:           # float32 (n,) at 16 kHz, -1 to 1, any n
        for motion in talker.push(block):
            show(motion.exp, motion.pose)
    last = talker.finish()
    """

    def __init__(
        self,
        animator: Animator,
        person: Person[np.ndarray],
        config: GenerationConfig,
        live: LiveConfig | None = None,
        seed: int = 0,
    ) -> None:
        """
        Args:
            person: shape (100,), and style (d_style,) or None for the null style.
        """
        self.animator, self.live, self.shape = animator, live or LiveConfig(), person.shape
        self._person, self._config = person, config
        self.scale = AudioScale()
        self.done = 0  # frames generated
        self._sample = animator.continuation(person, config, seed)
        self._encoder = SpanEncoder(animator.model)
        self._window = animator.model.config.n_motions
        self._hop = min(self._window, _frames(self.live.hop))
        self._first = min(self._hop, _frames(self.live.first_hop))
        self._ahead = round(self.live.look_ahead * FPS)
        self._audio, self._begin = (
            np.zeros(0, np.float32),
            0,
        )  # the audio that is kept, and the number of its first frame

    def push(self, block: np.ndarray) -> list[Motion]:
        """Add the next samples (n,) float32 at 16 kHz; returns the motion that they complete, in any number of pieces.

        Raises:
            UserError: samples that are NaN or infinite.
        """
        if not np.isfinite(block).all():
            raise UserError("audio: NaN or infinite samples; check the source")
        block, made = np.asarray(block, np.float32), []
        while True:
            # Each piece takes only the audio that it needs, so that it does not depend on the sizes of the blocks.
            missing = self._needed * self._encoder.unit - self.scale.n_samples
            now = len(block) if self.live.catch_up else max(0, min(missing, len(block)))
            self._take(block[:now])
            block = block[now:]
            if self._received < self._needed:
                return made
            made.append(self._make(self._size(self._received - self._ahead - self.done)))

    def finish(self) -> list[Motion]:
        """The motion of the remaining audio, at the end of the stream."""
        made = []
        while self._received > self.done:
            made.append(self._make(min(self._received - self.done, self._hop + self._ahead)))
        return made

    def talk(self, blocks: Iterable[np.ndarray]) -> Iterator[Motion]:
        """The motion of all blocks, each piece as soon as it can be generated."""
        for block in blocks:
            yield from self.push(block)
        yield from self.finish()

    def warm_up(self) -> None:
        """Prepare weights and capture graphs, as the first window does, before the audio arrives."""
        other = LiveTalker(self.animator, self._person, self._config, self.live)
        other.push(np.zeros(SAMPLE_RATE * 2, np.float32))

    @property
    def _needed(self) -> int:
        """Frames of audio that the next piece waits for."""
        return self.done + (self._hop if self.done else self._first) + self._ahead

    @property
    def _received(self) -> int:
        """Whole frames of audio that have arrived."""
        return self.scale.n_samples // self._encoder.unit

    def _size(self, waiting: int) -> int:
        """Frames of the next piece when `waiting` frames of audio are available."""
        hop = self._hop if self.done else self._first
        return min(self._window, waiting // hop * hop) if self.live.catch_up else hop

    def _take(self, block: np.ndarray) -> None:
        self.scale.push(block)
        self._audio = np.concatenate([self._audio, block])

    def _make(self, n: int) -> Motion:
        n = min(n, self._window)
        ahead = min(self._ahead, self._received - self.done - n, self._window - n)
        motion = self.animator.decode(self._sample.window(self._features(n), n, ahead), self.shape)
        self.done += n
        keep = max(self._begin, self.done - self._window - self._encoder.margin)
        self._audio = self._audio[(keep - self._begin) * self._encoder.unit :].copy()
        self._begin = keep
        return motion

    def _features(self, n: int) -> Tensor:
        """Features (m, F) of the next n frames, and of the frames after them in the encoder's window."""
        audio = self._encoder.scaled(self._audio, self.scale, QUIET)
        unit, now = self._encoder.unit, self.done - self._begin
        if self._encoder.windows is None:
            first, end = max(0, now - self._encoder.margin), now + n
            after = audio[end * unit :][: (len(audio) // unit - end) * unit]
            return self._encoder(audio[first * unit : now * unit], audio[now * unit : end * unit], after)
        # The new frames lie in the middle of the encoder's window, where features depend least on their place.
        first = max(0, now - (self._window - n) // 2)
        heard = audio[first * unit : (first + self._window) * unit]
        span = np.zeros(self._window * unit, np.float32)
        span[: len(heard)] = heard
        return self._encoder(audio[: first * unit], span, audio[(first + self._window) * unit :])[now - first :]


def _frames(seconds: float) -> int:
    return max(1, round(seconds * FPS))
