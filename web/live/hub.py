"""One model, many processes that hold the clients: `python -m web.serve --front_ends N`.

A front end accepts clients, reads their audio and sends their frames; the model's process computes windows for the
sessions of all front ends in batches, and does nothing else. While a GPU computes a batch, messages are read and the
next batch is prepared. `web/live/remote.py` has the other side of the messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import pickle
import queue
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from socket import socket
from typing import Any

from models.generation.live import Begun, LiveTalker, begin_pieces
from models.heads.flame import load_flame
from utils.errors import UserError
from utils.motion_file import Motion
from utils.reports.wording import counted
from web.live.limits import Limits
from web.live.remote import Count, RemoteService, Seating, Wanted
from web.live.senders import FrameSink
from web.live.server import running
from web.live.service import Service, SessionConfig

log = logging.getLogger(__name__)
STOP_SECONDS = 5
FAILED = "a batch of %d windows failed; their sessions are interrupted"
LOOK = 0.0003  # seconds between two looks whether a GPU has computed a batch


@dataclass(frozen=True)
class FrontEndConfig:
    """What a front end is started with."""

    listening: socket  # shared by all of them
    limits: Limits
    max_sessions: int
    sinks: Callable[[], list[FrameSink]]


def front_end(link: Connection, config: FrontEndConfig, occupied: Count) -> None:
    """The process of a front end."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the model's one stops the others
    torch.set_num_threads(1)
    asyncio.run(_serve(link, config, occupied))


async def _serve(link: Connection, config: FrontEndConfig, occupied: Count) -> None:
    service = RemoteService(link, load_flame(None), config.max_sessions, occupied, config.sinks())
    async with running(service, None, None, config.limits, config.listening):
        link.send(("ready",))
        await service.stopped.wait()


@dataclass(eq=False)
class _Seat:
    """A session of a front end."""

    talker: LiveTalker
    front: int
    slot: int = 0
    wanted: Wanted | None = None


@dataclass(frozen=True)
class _Batch:
    """Pieces of these seats that are being computed; None: that failed."""

    seats: list[_Seat]
    begun: Begun | None

    @property
    def ready(self) -> bool:
        return self.begun is None or self.begun.ready

    def motions(self) -> list[Motion] | list[None]:
        """Of the seats; waits for them."""
        try:
            if self.begun is not None:
                return [replace(motion, shape=None) for motion in self.begun.motions()]
        except Exception:
            log.exception(FAILED, len(self.seats))
        return [None] * len(self.seats)


class Hub:
    """Starts the front ends, and computes for them."""

    def __init__(self, service: Service, count: int, config: FrontEndConfig) -> None:
        self.service, self._seats = service, dict[int, _Seat]()
        self._inbox: queue.SimpleQueue[tuple[int, bytes | tuple[Any, ...]]] = queue.SimpleQueue()
        self._config, self._going, self._begun = config, True, False  # begun: all front ends were ready
        self._batch: _Batch | None = None  # which is being computed
        self._batches, self._spent = 0, defaultdict[str, float](float)  # computed, and the seconds for what was done
        self._context = multiprocessing.get_context("spawn")
        self._occupied = self._context.Value("i", 0, lock=False)
        self._outboxes: dict[int, queue.SimpleQueue] = {}  # messages to the front ends that live, by their numbers
        self._processes, self._ready = [], set[int]()
        for _ in range(count):
            self._start()

    def _start(self) -> None:
        """One more front end."""
        front, (ours, theirs) = len(self._processes), self._context.Pipe()
        process = self._context.Process(target=front_end, args=(theirs, self._config, self._occupied), daemon=True)
        process.start()
        theirs.close()
        outbox = self._outboxes[front] = queue.SimpleQueue()
        self._processes.append(process)
        threading.Thread(target=self._listen, args=(front, ours), daemon=True).start()
        threading.Thread(target=_send, args=(ours, outbox), daemon=True).start()

    def run(self, ready: Callable[[], None]) -> None:
        """Compute until `stop`; ready: called when all front ends accept clients.

        Raises:
            UserError: a front end has failed before it was ready; a later failure ends its sessions only.
        """
        try:
            while self._going:
                wait = 0 if self._waiting else LOOK if self._batch else None
                with self._timed("read" if wait == 0 else "wait" if wait else "idle"):
                    self._read(wait)
                if not self._begun and len(self._ready) == len(self._outboxes):
                    self._begun = True
                    ready()
                self._compute()
        finally:
            self._end()

    def stop(self) -> None:
        """End `run`, from any thread or signal handler."""
        self._going = False
        self._inbox.put((-1, ("stop",)))  # wakes it

    def _listen(self, front: int, link: Connection) -> None:
        """A thread that takes a front end's messages, so that it never waits for the computation."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._inbox.put((front, link.recv_bytes()))  # decoded later: it would delay the launch of kernels
        self._inbox.put((front, ("failed",)))

    @property
    def _waiting(self) -> list[_Seat]:
        return [seat for seat in self._seats.values() if seat.wanted]

    @contextlib.contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._spent[what] += time.perf_counter() - began

    def _read(self, wait: float | None) -> None:
        """Do what the messages say; wait so many seconds for the first one, or as long as it takes."""
        with contextlib.suppress(queue.Empty):
            while True:
                front, message = self._inbox.get(block=wait != 0, timeout=wait)
                kind, *values = pickle.loads(message) if isinstance(message, bytes) else message
                if front in self._outboxes:  # else it has failed since, and its sessions have ended
                    getattr(self, f"_on_{kind}")(front, *values)
                wait = 0

    def _compute(self) -> None:
        """Begin the most urgent pieces as one batch, and send those before as soon as they are there."""
        if self._batch and self._batch.ready:
            self._finish()
        if waiting := self._waiting:
            with self._timed("begin"):
                batch = self._begin(waiting)
            self._finish()
            self._batch = batch
            if batch.ready:  # without a GPU
                self._finish()

    def _begin(self, waiting: list[_Seat]) -> _Batch:
        seats = self.service.batch(sorted(waiting, key=lambda seat: seat.wanted.deadline if seat.wanted else 0.0))
        try:
            for seat in seats:
                assert seat.wanted is not None
                seat.wanted.obey(seat.talker)
            return _Batch(seats, begin_pieces([seat.talker for seat in seats]))
        except Exception:  # one session's numbers must not end the others
            log.exception(FAILED, len(seats))
            return _Batch(seats, None)
        finally:
            for seat in seats:
                seat.wanted = None

    def _finish(self) -> None:
        """Send what is computed, if anything is; wait for it."""
        if self._batch is None:
            return
        batch, self._batch = self._batch, None
        with self._timed("wait"):
            motions = batch.motions()
        with self._timed("tell"):
            made: dict[int, list] = {}
            for seat, motion in zip(batch.seats, motions):
                if self._seats.get(seat.slot) is seat:  # else its session has ended
                    made.setdefault(seat.front, []).append((seat.slot, motion))
            for front, pieces in made.items():
                self._tell(front, "made", pieces)
        self.service.windows, self._batches = self.service.windows + len(batch.seats), self._batches + 1

    def _tell(self, front: int, *message: Any) -> None:
        self._outboxes[front].put(message)

    def _end(self) -> None:
        if self._batches:
            spent = ", ".join(f"{what} {seconds:.2f}" for what, seconds in self._spent.items())
            log.info("%d windows in %d batches; seconds: %s", self.service.windows, self._batches, spent)
        for front in self._outboxes:
            self._tell(front, "stop")
        end = time.monotonic() + STOP_SECONDS  # for all of them, however many hang
        for process in self._processes:
            process.join(max(0.0, end - time.monotonic()))
            process.kill()
            process.join()

    # Messages of front ends

    def _on_ready(self, front: int) -> None:
        self._ready.add(front)

    def _on_failed(self, front: int) -> None:
        if front not in self._ready:
            raise UserError("--front_ends: one of them did not start; its messages are above")
        lost = [slot for slot, seat in self._seats.items() if seat.front == front]
        log.error("a front end has ended, and %s with it; another one starts", counted(len(lost), "session"))
        for slot in lost:
            self._on_leave(front, slot)
        self._outboxes.pop(front).put(None)
        self._start()

    def _on_wanted(self, front: int, pieces: list[Wanted]) -> None:
        for wanted in pieces:
            self._seats[wanted.slot].wanted = wanted

    def _on_enter(self, front: int, number: int, config: SessionConfig) -> None:
        """A motion that gives a style is read on another thread, so that no session's frames wait for it."""
        if isinstance(config.style, dict):
            self._aside(front, number, lambda: ("enter", number, self.service.settled(config)))
            return
        try:
            seat = self.service.seat(_Seat(self.service.talker(config), front))
        except UserError as error:
            self._tell(front, "answer", number, error)
            return
        self._seats[seat.slot], talker = seat, seat.talker
        self._occupied.value = self.service.occupied
        seating = Seating(seat.slot, talker.live, talker.window, talker.unit, talker.shape)
        self._tell(front, "answer", number, seating)

    def _on_restyle(self, front: int, number: int, config: SessionConfig, slot: int) -> None:
        self._aside(front, number, lambda: ("person", number, self.service.person(config), slot))

    def _on_person(self, front: int, number: int, person: Any, slot: int) -> None:
        if slot in self._seats:
            self._seats[slot].talker.change_person(person)
        self._tell(front, "answer", number, None)

    def _on_refused(self, front: int, number: int, error: UserError) -> None:
        self._tell(front, "answer", number, error)

    def _on_leave(self, front: int, slot: int) -> None:
        self.service.leave(self._seats.pop(slot))
        self._occupied.value = self.service.occupied

    def _aside(self, front: int, number: int, work: Callable[[], tuple]) -> None:
        """Work on the service's second thread; its result comes back as a message."""

        def done() -> None:
            try:
                self._inbox.put((front, work()))
            except Exception as error:
                refusal = error if isinstance(error, UserError) else UserError("server: this failed; its log says why")
                self._inbox.put((front, ("refused", number, refusal)))
                if refusal is not error:
                    log.exception("a style failed")

        self.service.aside(done)


def _send(link: Connection, outbox: queue.SimpleQueue[tuple[Any, ...] | None]) -> None:
    """A thread that gives a front end its messages until None comes, so that a slow one holds up no other's."""
    with contextlib.suppress(OSError):  # it has failed, which `_listen` says
        while (message := outbox.get()) is not None:
            link.send(message)
