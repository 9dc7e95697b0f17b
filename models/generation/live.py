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

from models.generation.animator import Animator, Decoded
from models.generation.audio_stream import AudioScale, Level, Loudness, Span
from models.generation.continuation import next_windows, whole
from models.generation.piece_clock import REST, LiveConfig, PieceClock
from models.generation.speech import Heard
from models.generation.windows import GenerationConfig, WindowGenerator
from models.networks.person import Person
from utils.errors import UserError
from utils.motion_file import Motion
from utils.timebase import SAMPLE_RATE

LIVE_SAMPLER, LIVE_STEPS = "ddim", 4  # the default of our models: docs/live.md
QUIET = 0.005  # RMS; the voice counts as at least this loud, so that noise before the first word is not amplified
KEPT = 1 << 14  # samples that there is room for at first


class _Tail:
    """The last samples of an utterance: new ones are written behind them, and old ones forgotten without copying."""

    def __init__(self) -> None:
        self._room = np.empty(KEPT, np.float32)
        self._first = self._end = 0

    def __len__(self) -> int:
        return self._end - self._first

    @property
    def samples(self) -> np.ndarray:
        """(n,), to be read before the next `append`."""
        return self._room[self._first : self._end]

    def append(self, block: np.ndarray) -> None:
        """More samples (n,)."""
        if self._end + len(block) > len(self._room):
            kept, needed = self.samples, len(self) + len(block)
            room = self._room if 4 * needed <= 3 * len(self._room) else np.empty(2 * needed, np.float32)
            room[: len(kept)] = kept
            self._room, self._first, self._end = room, 0, len(kept)
        self._room[self._end : self._end + len(block)] = block
        self._end += len(block)

    def forget(self, n: int) -> None:
        """Drop the first n samples."""
        self._first += n


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
        self._audio, self._begin = _Tail(), 0  # the audio that is kept, and the number of its first frame

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
        self._audio.append(block)

    def restart(self) -> None:
        """Begin another utterance; of the one before, only the level of the voice and the last frames are kept."""
        super().restart()
        self._audio.forget(len(self._audio))
        self._begin = 0

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
        audio, unit = self.level.scaled(self._audio.samples), self.unit
        now = self.done - self._begin
        first, end = max(0, now - self._encoder.margin), now + self.waiting
        return Span(audio[first * unit : now * unit], audio[now * unit : end * unit],
                    audio[end * unit : len(audio) // unit * unit])  # fmt: skip

    def fill(self, row: np.ndarray, around: int) -> int:
        """Put the audio of the next piece into a window with `around` samples on either side, and zeros elsewhere.

        Once enough has been heard, the new frames lie in the middle of a whole window, where features depend least on
        their place, and `REST` frames before the end of a shorter one.

        Returns:
            the piece's first frame in the window.
        """
        now, n, window = self.done - self._begin, self.waiting, (len(row) - 2 * around) // self.unit
        first = max(0, now - ((window - n) // 2 if window == self.window else window - n - REST))
        begin = first * self.unit - around
        heard, before = self._audio.samples[max(0, begin) : begin + len(row)], max(0, -begin)
        self.level.scaled(heard, out=row[before : before + len(heard)])
        row[:before] = row[before + len(heard) :] = 0
        return now - first

    def advance(self, n: int) -> None:
        """Go on behind the next n frames, and forget audio that no later piece needs."""
        super().advance(n)
        keep = max(self._begin, self.done - self.window - self._encoder.margin)
        self._audio.forget(min(len(self._audio), (keep - self._begin) * self.unit))
        self._begin = keep


def next_pieces(talkers: Sequence[LiveTalker]) -> list[Motion]:
    """The next piece of several talkers of one generator as one batch; all of them must be `waiting`."""
    return begin_pieces(talkers).motions()


@dataclass(frozen=True)
class Begun:
    """Pieces that a GPU may still be computing."""

    decoded: Decoded
    lengths: list[int]
    shapes: list[np.ndarray]

    @property
    def ready(self) -> bool:
        """Whether `motions` will not wait."""
        return self.decoded.values.ready

    def motions(self) -> list[Motion]:
        """Of the talkers, in their order."""
        return self.decoded.motions(self.lengths, self.shapes)


@torch.no_grad()
def begin_pieces(talkers: Sequence[LiveTalker]) -> Begun:
    """`next_pieces` without waiting for the device; the talkers can take more audio, and be begun again.

    What is done for each talker by itself is little.
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
    lengths = [piece.n for piece in pieces]
    return Begun(animator.decoded(made[:, : max(lengths)], heard.tongue), lengths, [one.shape for one in talkers])


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
    audio = torch.empty(batch, size, pin_memory=device.type == "cuda")
    audio[len(talkers) :] = 0
    firsts = [talker.fill(row, around) for talker, row in zip(talkers, audio.numpy())]
    encoded = encoder.one_window(audio)
    frames = (torch.tensor(firsts)[:, None] + torch.arange(length)).clamp(max=window - 1)
    rows = torch.arange(len(talkers), device=device)[:, None]
    return Heard.of(encoder.model, encoded[rows, frames.to(device, non_blocking=True)], encoder.reader)
