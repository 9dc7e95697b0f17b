"""When a live talker's next piece can be generated, and how long it is: counts, without audio or a network."""

from __future__ import annotations

from dataclasses import dataclass

from models.generation.continuation import Piece
from utils.errors import UserError
from utils.timebase import FPS

HOPS = (0.04, 4.0)  # seconds: shortest and longest hop
REST = 10  # frames that follow a piece in an encoder's window that is not whole: look-ahead, then silence


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


def _frames(seconds: float) -> int:
    return max(1, round(seconds * FPS))
