"""Live speech -> motion: takes audio in blocks of any size as it arrives, and gives frames one hop at a time.

Every hop is a short window: the network sees the hop's audio and the last 10 frames of motion with their audio, and the
indicator marks the rest of its 100 frames as padding. It was trained on such truncated windows (paper section 3.3), and
continues its last frames as it does between the windows of a file. A hop also generates the frames of its look-ahead,
which are faded into the next hop, so that motion at the seams is as smooth as elsewhere. The level of the voice is
estimated from the audio so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from models.generation.animator import Animator
from models.generation.audio_stream import AudioScale, Level, Loudness, Span
from models.generation.continuation import Piece, next_windows, whole
from models.generation.speech import Heard
from models.generation.windows import GenerationConfig, WindowGenerator
from models.networks.person import Person
from utils.errors import UserError
from utils.motion_file import Motion
from utils.timebase import FPS, SAMPLE_RATE

LIVE_SAMPLER, LIVE_STEPS = "ddim", 4  # the default of our models: docs/live.md
HOPS = (0.04, 4.0)  # seconds: shortest and longest hop
REST = 10  # frames that follow a piece in an encoder's window that is not whole: look-ahead, then silence
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
    short: int | None = None
    """Frames that the network sees of a hop (more if it needs more); None: whole windows, as in training."""
    heard: int | None = None
    """Frames that an audio encoder with windows hears at once, unless a piece needs more; None: whole windows."""
    catch_up: bool = False
    """Generate several waiting hops as one window; the frames then depend on when the audio arrived."""

    def __post_init__(self) -> None:
        if not HOPS[0] <= self.hop <= HOPS[1]:
            raise UserError(f"--hop {self.hop:g}: must lie between {HOPS[0]:g} and {HOPS[1]:g} seconds")
        if self.short is not None and self.short < 1:
            raise UserError(f"--short {self.short}: must be at least 1 frame")
        if self.heard is not None and self.heard <= REST:
            raise UserError(f"--heard {self.heard}: must be more than {REST} frames")
        if not 0 <= self.look_ahead <= 1:
            raise UserError(f"--look_ahead {self.look_ahead:g}: must lie between 0 and 1 second")


class PieceClock:
    """When a talker's next piece can be generated: counts frames and samples of an utterance, and holds none."""

    def __init__(self, live: LiveConfig, window: int, unit: int) -> None:
        """window: most frames of a piece; unit: samples per frame."""
        self.live, self.window, self.unit = live, window, unit
        self.done = 0  # frames generated of this utterance
        self.ended = False  # no more audio of this utterance will come
        self._samples = 0  # of this utterance
        self._hop = min(window, _frames(live.hop))
        self._first = min(self._hop, _frames(live.first_hop))
        self._ahead = round(live.look_ahead * FPS)

    def restart(self) -> None:
        """Begin another utterance."""
        self.done, self._samples, self.ended = 0, 0, False

    def count(self, samples: int) -> None:
        """Audio has arrived."""
        self._samples += samples

    def advance(self, n: int) -> None:
        """Go on behind the next n frames."""
        self.done += n

    @property
    def waiting(self) -> int:
        """Frames of the next piece; 0: it needs more audio."""
        left = self._received - self.done
        if self.ended:
            return min(left, self._hop + self._ahead, self.window)
        hop = self._hop if self.done else self._first
        if left < hop + self._ahead:
            return 0
        return min(self.window, (left - self._ahead) // hop * hop) if self.live.catch_up else hop

    @property
    def piece(self) -> Piece:
        """The next piece, if the talker is `waiting`."""
        n = self.waiting
        return Piece(n, min(self._ahead, self._received - self.done - n, self.window - n))

    @property
    def missing(self) -> int:
        """Samples that the next piece still needs, at most 0 if none."""
        needed = self.done + (self._hop if self.done else self._first) + self._ahead
        return needed * self.unit - self._samples

    @property
    def _received(self) -> int:
        """Whole frames of this utterance's audio that have arrived."""
        return self._samples // self.unit


class LiveTalker(PieceClock):
    """Turns one voice into motion as it arrives:

    talker = LiveTalker(animator, Person(shape, style), config)
    for block in microphone:           # float32 (n,) at 16 kHz, -1 to 1, any n
        for motion in talker.push(block):
            show(motion.exp, motion.pose)
    last = talker.finish()

    Many talkers at once: `hear` on each, then `next_pieces` for all that are `waiting`.
    """

    def __init__(
        self,
        animator: Animator,
        person: Person[np.ndarray],
        config: GenerationConfig,
        live: LiveConfig | None = None,
        seed: int = 0,
        generator: WindowGenerator | None = None,
    ) -> None:
        """
        Args:
            person: shape (100,), and style (d_style,) or None for the null style.
            generator: of this config, that talkers share; None: the animator's.
        """
        super().__init__(live or LiveConfig(), animator.model.config.n_motions, animator.spans.unit)
        self.animator, self.shape = animator, person.shape
        self._person, self._config = person, config
        self.scale = AudioScale()
        self.loudness: Loudness | None = None  # of the voice, if the owner measures it
        self.sample = animator.continuation(person, config, seed, generator)
        self._encoder = animator.spans
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
            now = len(block) if self.live.catch_up else max(0, min(self.missing, len(block)))
            self.hear(block[:now])
            block = block[now:]
            if not self.waiting:
                return made
            made += next_pieces([self])

    def finish(self) -> list[Motion]:
        """The motion of the remaining audio, at the end of the stream."""
        made, self.ended = [], True
        while self.waiting:
            made += next_pieces([self])
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

    def hear(self, block: np.ndarray) -> None:
        """Take the next samples (n,) without generating anything; they must be finite."""
        self.scale.push(block)
        self.keep(block)

    def keep(self, block: np.ndarray) -> None:
        """Take the next samples, of which the owner has measured the loudness."""
        self.count(len(block))
        self._audio = np.concatenate([self._audio, block])

    def restart(self) -> None:
        """Begin another utterance; of the one before, only the level of the voice and the last frames are kept."""
        super().restart()
        self._audio, self._begin = np.zeros(0, np.float32), 0

    def continue_from(self, before: Motion) -> None:
        """Continue silent motion, which was shown last, instead of this talker's own last frames."""
        n = len(self.sample.sample.motion)
        motion = self.animator.encode(before)[-n:]
        motion = torch.cat([motion[:1].expand(n - len(motion), -1), motion])
        self.sample.restart(motion, self._encoder.silence[-n:])

    def change_person(self, person: Person[np.ndarray]) -> None:
        """Speak on in another style, from the next piece on."""
        self._person = person
        self.sample.sample.person = self.animator.normalised(person).only(self.animator.model.config.available)

    @property
    def level(self) -> Level:
        """Of the voice so far."""
        return self._encoder.level(self.loudness or self.scale, QUIET)

    def span(self) -> Span:
        """The audio of the next piece, for encoders that attend to everything."""
        audio, unit = self.level.scaled(self._audio), self.unit
        now = self.done - self._begin
        first, end = max(0, now - self._encoder.margin), now + self.waiting
        return Span(audio[first * unit : now * unit], audio[now * unit : end * unit],
                    audio[end * unit : len(audio) // unit * unit])  # fmt: skip

    def fill(self, row: np.ndarray, around: int) -> int:
        """Put the audio of the next piece into a window of zeros with `around` samples on either side.

        Once enough has been heard, the new frames lie in the middle of a whole window, where features depend least on
        their place, and `REST` frames before the end of a shorter one.

        Returns:
            the piece's first frame in the window.
        """
        now, n, window = self.done - self._begin, self.waiting, (len(row) - 2 * around) // self.unit
        first = max(0, now - ((window - n) // 2 if window == self.window else window - n - REST))
        begin = first * self.unit - around
        heard = self._audio[max(0, begin) : begin + len(row)]
        self.level.scaled(heard, out=row[max(0, -begin) :][: len(heard)])
        return now - first

    def advance(self, n: int) -> None:
        """Go on behind the next n frames, and forget audio that no later piece needs."""
        super().advance(n)
        keep = max(self._begin, self.done - self.window - self._encoder.margin)
        self._audio = self._audio[(keep - self._begin) * self.unit :]
        self._begin = keep


@torch.no_grad()
def next_pieces(talkers: Sequence[LiveTalker]) -> list[Motion]:
    """The next piece of several talkers of one generator as one batch; all of them must be `waiting`.

    What is done for each talker by itself is little, and never waits for the device.
    """
    animator, pieces = talkers[0].animator, [talker.piece for talker in talkers]
    most = animator.model.config.n_motions
    length, needed = talkers[0].live.short or most, max(piece.n + piece.ahead for piece in pieces)
    while length < needed:
        length *= 2
    few = talkers[0].live.heard or 0
    heard = _heard(talkers, min(length, most), few if needed + REST <= few else None)
    made = next_windows([talker.sample for talker in talkers], heard.features, pieces)
    for talker, piece in zip(talkers, pieces):
        talker.advance(piece.n)
    return animator.decode_batch(
        made, [piece.n for piece in pieces], [talker.shape for talker in talkers], heard.tongue
    )


def _heard(talkers: Sequence[LiveTalker], length: int, window: int | None) -> Heard:
    """What is heard from each talker's next frame on: (B, length, .), filled up with the window's last frame.

    window: frames that an encoder with windows hears; None: whole ones.
    """
    encoder = talkers[0].animator.spans
    if encoder.windows is None:
        encoded = torch.stack([whole(encoder.encoded(talker.span()), length) for talker in talkers])
        return Heard.of(encoder.model, encoded, encoder.reader)
    around, device = encoder.windows.surroundings, encoder.model.device
    window = min(window or encoder.windows.frames, encoder.windows.frames)
    size = 2 * around + window * encoder.unit
    batch = talkers[0].sample.generator.engine.batch_size(len(talkers))
    audio = torch.zeros(batch, size, pin_memory=device.type == "cuda")
    firsts = [talker.fill(row, around) for talker, row in zip(talkers, audio.numpy())]
    encoded = encoder.windows.encode(audio.to(device, non_blocking=True), 1)
    frames = (torch.tensor(firsts)[:, None] + torch.arange(length)).clamp(max=window - 1)
    rows = torch.arange(len(talkers), device=device)[:, None]
    return Heard.of(encoder.model, encoded[rows, frames.to(device, non_blocking=True)], encoder.reader)


def _frames(seconds: float) -> int:
    return max(1, round(seconds * FPS))
