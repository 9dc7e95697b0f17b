"""The sessions of a front end, whose network runs in another process: `web/live/hub.py`.

A message is a tuple that begins with its kind. The talker of a session lives in the other process; here is its clock,
and what it has to do is sent along with the request for its next piece.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np

from models.generation.audio_stream import AudioScale, Loudness
from models.generation.live import LiveTalker
from models.generation.piece_clock import LiveConfig, PieceClock
from models.heads.flame import Flame
from utils.motion_file import Motion
from web.live.rig import ArkitRig
from web.live.senders import FrameSink
from web.live.service import POLL, Full, SessionConfig
from web.live.session import Session

TODO = ("restart", "keep", "continue_from")  # methods of a talker that a front end may ask for


class Count(Protocol):
    """A number in memory that processes share."""

    value: int


@dataclass(frozen=True)
class Seating:
    """What a front end knows of a talker."""

    slot: int
    live: LiveConfig
    window: int
    unit: int
    shape: np.ndarray


@dataclass(frozen=True)
class Wanted:
    """A piece that a session waits for."""

    slot: int
    todo: Sequence[tuple[str, Any]]  # what the talker does before: a method of `TODO` and its argument, or None
    ended: bool
    loudness: Loudness
    deadline: float  # of the machine's monotonic clock

    def obey(self, talker: LiveTalker) -> None:
        """Let the talker, in the model's process, do what comes before its piece."""
        for name, value in self.todo:
            assert name in TODO
            getattr(talker, name)(*(() if value is None else (value,)))
        talker.ended, talker.loudness = self.ended, self.loudness


class RemoteTalker(PieceClock):
    """A `LiveTalker` of another process, for a `Session`."""

    def __init__(self, seating: Seating) -> None:
        super().__init__(seating.live, seating.window, seating.unit)
        self.shape, self.slot = seating.shape, seating.slot
        self._scale = AudioScale()  # here, since the model's process has enough to do
        self._todo: list[tuple[str, Any]] = []

    def restart(self) -> None:
        """Begin another utterance."""
        super().restart()
        self._todo.append(("restart", None))

    def hear(self, block: np.ndarray) -> None:
        """Take the next samples (n,)."""
        self.count(len(block))
        self._scale.push(block)
        self._todo.append(("keep", block))

    def continue_from(self, before: Motion) -> None:
        """Continue silent motion, which was shown last."""
        self._todo.append(("continue_from", before))

    def wanted(self, deadline: float) -> Wanted:
        """The request for the next piece."""
        todo, self._todo = self._todo, []
        return Wanted(self.slot, todo, self.ended, self._scale.loudness(), deadline)


class RemoteService:
    """What a server needs of `Service`, by messages to the process that has the model."""

    def __init__(
        self, link: Connection, flame: Flame, max_sessions: int, occupied: Count, sinks: list[FrameSink]
    ) -> None:
        """occupied: sessions of all front ends."""
        self.flame, self.max_sessions, self.sinks = flame, max_sessions, sinks
        self.sessions: dict[int, Session[RemoteTalker]] = {}  # by their slots
        self.stopped = asyncio.Event()  # the model's process says so, or has ended
        self._link, self._occupied = link, occupied
        self._numbers, self._answers = itertools.count(), dict[int, asyncio.Future]()

    @cached_property
    def rig(self) -> ArkitRig:
        return ArkitRig(self.flame.head)

    @property
    def occupied(self) -> int:
        """Sessions now, of all front ends."""
        return self._occupied.value

    async def enter(self, config: SessionConfig) -> Session[RemoteTalker]:
        """See `Service.enter`."""
        talker = RemoteTalker(await self._ask("enter", config))
        session = Session(talker, list(self.flame.head.exp_names or ()), config.seed)
        session.slot = talker.slot
        self.sessions[talker.slot] = session
        return session

    async def restyle(self, session: Session[RemoteTalker], config: SessionConfig) -> None:
        """See `Service.restyle`."""
        await self._ask("restyle", config, session.slot)

    def leave(self, session: Session[Any]) -> None:
        """A session has ended."""
        del self.sessions[session.slot]
        self._send(("leave", session.slot))

    async def compute(self) -> None:
        """Ask for what the sessions need, until this task is cancelled."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._link.fileno(), self._read)
        try:
            while True:
                ready = [one for one in self.sessions.values() if one.prepare()]
                for session in ready:
                    session.busy = True
                if ready:
                    self._send(("wanted", [one.talker.wanted(one.deadline) for one in ready]))
                await asyncio.sleep(POLL)
        finally:
            loop.remove_reader(self._link.fileno())

    async def _ask(self, kind: str, *values: Any) -> Any:
        """Raises UserError, if that is the answer; Full if there will be none."""
        if self.stopped.is_set():
            raise _stops()
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._send((kind, number, *values))
        return await answer

    def _send(self, message: tuple[Any, ...]) -> None:
        with contextlib.suppress(ConnectionError):  # the other process has ended, which `_read` notices
            self._link.send(message)

    def _read(self) -> None:
        try:
            while self._link.poll():
                kind, *values = self._link.recv()
                getattr(self, f"_on_{kind}")(*values)
        except (EOFError, ConnectionError):
            self._on_stop()

    def _on_stop(self) -> None:
        asyncio.get_running_loop().remove_reader(self._link.fileno())
        self.stopped.set()
        for answer in self._answers.values():  # the server's end would wait for them
            if not answer.done():
                answer.set_exception(_stops())

    def _on_answer(self, number: int, value: Any) -> None:
        answer = self._answers.pop(number)
        if answer.done():
            return
        if isinstance(value, Exception):
            answer.set_exception(value)
        else:
            answer.set_result(value)

    def _on_made(self, pieces: list[tuple[int, Motion | None]]) -> None:
        for slot, motion in pieces:
            session = self.sessions.get(slot)
            if session is None:
                continue
            if motion is None:
                session.busy = False
                session.interrupt()
            else:
                session.talker.advance(len(motion))
                session.take(motion)


def _stops() -> Full:
    return Full("server: it stops; try again later")
