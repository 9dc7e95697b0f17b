"""One talking head in real time, without a network: audio in as it comes, one frame out every 1/25 s.

The clock. Frames are numbered from the start of the session, and frame k is due k / 25 s after it. A frame of speech
also has its place in the audio: `audio`, seconds of the samples that this session was given. An utterance's frames are
shown as soon as the first piece of it is ready (the frames' clock is put forward by up to 1/25 s for that, and back
while nothing is said); from then on both clocks run alike until the audio pauses. A frame of speech that is late is
waited for (`GRACE`) and shown at once; the frames behind it keep their times. Beyond `LATE`, unless `patient`, the
mouth shuts, and speech goes on at the place where its sound is by then.

What is heard and what is shown. While speech is there, the network moves everything. Otherwise `IdleFace` does, by
rule, and the mouth shuts within 0.2 s. The next utterance continues the frames that were shown last.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from models.generation.idle import MOODS, Face, IdleFace
from utils.errors import UserError
from utils.motion_file import Motion
from utils.timebase import FPS, SAMPLE_RATE
from web.live.listening import Listener
from web.live.talker import Backlog, Talker

UNIT = SAMPLE_RATE // FPS
GRACE = 0.12  # seconds that a late frame is waited for before the mouth shuts
PAUSE = 0.3  # seconds without audio after which an utterance that was too short for a piece is complete
SHUT, SETTLE = 5, 30  # frames in which mouth and head return to rest
EAGER, REPAY = 0.005, 0.002  # seconds between two looks for an utterance's first piece; by which idle frames are longer
JOIN = 5  # frames in which an utterance's first frames leave those that were shown before
PIECE, QUEUED = 25, 12  # frames that are generated at once if their audio is there; at hand before more are generated
CONTEXT = 10  # shown frames that an utterance continues
MAX_WAITING = 120  # seconds of audio that are not yet spoken
LATE = 2  # seconds that a frame of speech may be late before speech is left out


@dataclass(frozen=True)
class Frame:
    """One frame as it is shown."""

    number: int
    state: str  # speaking, or one of `MOODS`
    face: Face
    audio: float | None = None  # seconds of the session's audio; None: not of its audio

    @property
    def time(self) -> float:
        """Seconds since the start of the session."""
        return self.number / FPS


AnyTalker = TypeVar("AnyTalker", bound=Talker)


class Session(Generic[AnyTalker]):
    """A head that speaks what it is given, and lives on when there is nothing to say.

    The owner calls `hear` when audio arrives; `prepare` and, if that is True, `next_pieces` and `take` whenever it can
    compute; and `frames` at least every 1/25 s. The talker must not be touched while `busy`.
    """

    def __init__(
        self, talker: AnyTalker, names: Sequence[str], seed: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """names: of the head's expressions; clock: seconds."""
        self.talker, self.clock = talker, clock
        self.idle, self.other = IdleFace(names, seed), Listener()
        self.start, self.number = clock(), 0  # when the first frame is due; the next frame
        self.busy = False  # a piece is being computed
        self.mood: str | None = None  # of `MOODS`, that the client asked for; None: by rule
        self.ended = False  # the client has nothing more to say
        self.heard = 0  # samples so far
        self.slot = 1  # number among the sessions of a service
        self.patient = False  # late speech is shown late, not left out
        self.too_slow = False  # some was left out
        self._waiting = Backlog()  # audio for the talker
        self._heard_at = self.start
        self._speech: deque[Face] = deque()  # generated and not yet shown
        self._speaking = self._stale = False  # in an utterance; what is being computed is not wanted any more
        self._begun_at = self.start
        self._asked_at: float | None = None  # when the next piece was first wanted
        self._took = 0.0  # seconds until the last one was there
        self._zero: float | None = None  # when the audio began whose late frames were left out
        self._given = 0  # samples that the talker has of the utterance
        self._first: float | None = None  # seconds of audio before the utterance's next frame to be shown
        self._count = 0  # frames of it that were shown
        self._early = 0.0  # seconds by which frames come earlier than they were due at first
        self._shown: deque[Face] = deque(maxlen=CONTEXT)
        self._left: Face | None = None  # the last frame of speech
        self._offset: Face | None = None  # from the utterance's first frame to the one that was shown before
        self._since = SETTLE  # frames shown since the last one of speech

    # What the client says

    def hear(self, audio: np.ndarray) -> None:
        """The next samples (n,) float32 at 16 kHz of what this head says.

        Raises:
            UserError: more than two minutes are not yet spoken.
        """
        if self._waiting.samples + len(audio) > MAX_WAITING * SAMPLE_RATE:
            if not self.too_slow:
                raise UserError(f"audio: more than {MAX_WAITING} s are not yet spoken; send it more slowly")
            self._waiting.skip(self._waiting.samples - LATE * SAMPLE_RATE, ends=True)
        if len(audio):
            self._waiting.add(audio)
            self.heard += len(audio)
            self._heard_at = self.clock()

    def flush(self) -> None:
        """The utterance is complete: speak it to its end without waiting for more."""
        if self._waiting.is_open if self._waiting else self._speaking and not self.talker.ended:
            self._waiting.end()

    def interrupt(self) -> float:
        """Drop what is not yet spoken, and shut the mouth -> seconds of audio that were spoken or dropped before."""
        spoken = self._place
        if self._speaking:
            spoken = (self._first or 0.0) + self._count / FPS
        self._waiting.clear()
        self._zero = None
        self._stop()
        return spoken

    # What is computed

    def prepare(self) -> bool:
        """Give the talker its audio; whether it has a piece to generate that is wanted now."""
        if self.busy or len(self._speech) >= QUEUED:
            return False
        if not self._speaking and not self._begin():
            return False
        while self._waiting and not self.talker.ended and self.talker.waiting < PIECE:
            self._give()
        if not self.talker.waiting:
            return False
        self._asked_at = self._asked_at or self.clock()
        if not self.talker.done and self._shown:
            exp, pose = (np.stack([getattr(face, name) for face in self._shown]) for name in ("exp", "pose"))
            self.talker.continue_from(Motion(exp, pose))
        return True

    def take(self, motion: Motion) -> None:
        """The piece that was generated after `prepare`."""
        self.busy = False
        self._took, self._asked_at = self.clock() - (self._asked_at or self.clock()), None
        if not self._stale:
            tongue = [0.0] * len(motion) if motion.tongue is None else motion.tongue[:, 0].tolist()
            self._speech.extend(map(Face, motion.exp, motion.pose, tongue))
        self._stale = False

    @property
    def deadline(self) -> float:
        """When the first frame that is not yet generated is due; that of a new utterance, when its audio began."""
        begins = not (self._count or self._speech)
        return self._begun_at if begins else self.due + len(self._speech) / FPS

    # What is shown

    def frames(self) -> list[Frame]:
        """All frames that are due, in order; late ones are waited for a moment."""
        made, now = [], self.clock()
        if self._speech and not self._count:
            self._hurry(now)
        while self.due <= now:
            if self._speaking and not self._speech and self._wait(now):
                break
            made.append(self._next())
        return made

    @property
    def due(self) -> float:
        """When the next frame is due."""
        return self.start + self.number / FPS

    @property
    def rest(self) -> float:
        """Seconds after which to ask for frames again."""
        first = self._speaking and not self._count
        return min(EAGER if first else 1 / FPS, self.due - self.clock())

    @property
    def over(self) -> bool:
        """Whether the client has ended, everything has been said, and the mouth is shut."""
        return self.ended and not self._speaking and not self._waiting and self._since >= SHUT

    def _hurry(self, now: float) -> None:
        """Show an utterance's first frame at once: from now on, frames are due up to 1/25 s earlier."""
        early = self.due - now
        if early > 0:
            self.start, self._early = self.start - early, self._early + early

    def _begin(self) -> bool:
        """Begin an utterance with the audio that waits, if there is any."""
        if self._zero is not None:  # its first piece takes as long as the late one
            now = self.clock()
            took = self._took if self._asked_at is None else now - self._asked_at
            self._waiting.skip(round((now + took - self._zero - self._place) * SAMPLE_RATE))
            self._zero = self._asked_at = None
        if not self._waiting.begin():
            return False
        self._speaking, self._given, self._count, self._begun_at = True, 0, 0, self.clock()
        self._first = self._place
        self.talker.restart()
        return True

    @property
    def _place(self) -> float:
        """Seconds of the session's audio before what waits."""
        return (self.heard - self._waiting.samples) / SAMPLE_RATE

    def _give(self) -> None:
        """Hand the talker what comes next, but no more than a piece needs."""
        block = self._waiting.next((PIECE - 1) * UNIT)  # with what the talker has, a window of 50 frames
        if block is None:
            self.talker.hear(np.zeros(-self._given % UNIT, np.float32))  # the last frame is a whole one
            self.talker.ended = True
            return
        self.talker.hear(block)
        self._given += len(block)

    def _wait(self, now: float) -> bool:
        """Whether to wait for the next frame of speech. An utterance whose audio does not come ends."""
        idle = not (self.busy or self.talker.waiting)
        if idle and self.talker.ended:
            self._stop()
            return False
        if self._count and now - self.due > LATE and (self._waiting or not idle) and not self.patient:
            self._leave_out()
            return False
        stalled = now - (self.due if self._count else self._heard_at) > (GRACE if self._count else PAUSE)
        if idle and stalled and not self._waiting:
            self.flush()
        return self._count > 0  # until the first piece is there, the idle face is shown

    def _leave_out(self) -> None:
        """The frames that are due are not there: speech goes on where its sound is when the next ones are."""
        self.too_slow = True
        if not self.talker.ended:  # else what waits is another utterance
            self._zero = self.due - (self._first or 0.0) - self._count / FPS
        self._stop()

    def _next(self) -> Frame:
        self.other.tick()
        if self.other.phrase_ended():
            self.idle.nod()
        state = self.mood or self._rule()
        face, audio = self.idle.step(state), None
        if self._speech:
            state, audio = "speaking", (self._first or 0.0) + self._count / FPS
            face = self._joined(self._speech.popleft(), face)
            self._count += 1
            self._left, self._since = face, 0
        elif self._left is not None and self._since < SETTLE:
            self._since += 1
            face = self._left.towards(face, _eased(self._since / SHUT), _eased(self._since / SETTLE))
        if audio is None and not self._speaking:
            late = min(self._early, REPAY)
            self.start, self._early = self.start + late, self._early - late
        self._shown.append(face)
        self.number += 1
        return Frame(self.number - 1, state, face, audio)

    def _joined(self, speech: Face, shown: Face) -> Face:
        """A frame of speech, moved so that the utterance's first frames leave smoothly what was shown before."""
        if not self._count:
            before = self._shown[-1] if self._shown else shown
            self._offset = Face(before.exp - speech.exp, before.pose - speech.pose)
        if self._offset is None or self._count >= JOIN:
            return speech
        share = np.float32(1 - _eased((self._count + 1) / JOIN))
        exp, pose = speech.exp + share * self._offset.exp, speech.pose + share * self._offset.pose
        return Face(exp, pose, speech.tongue)

    def _rule(self) -> str:
        """The mood that follows from the other person's voice."""
        if self.other.speaks:
            return "listening"
        return "thinking" if self.other.waits else MOODS[0]

    def _stop(self) -> None:
        """The utterance is over; a piece of it that is being computed is not wanted."""
        self._stale = self.busy
        self._speech.clear()
        self._speaking = False


def _eased(share: float) -> float:
    share = min(1.0, share)
    return share * share * (3 - 2 * share)
