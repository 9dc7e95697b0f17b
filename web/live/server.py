"""WebSockets around `Service`: clients from their start to their end, also those that do not read."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from socket import socket as Socket
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from models.mixing.config import MixerConfig
from models.mixing.mixer import Mixer
from utils.errors import UserError
from utils.timebase import FPS, SAMPLE_RATE
from web.live.limits import BAD, BROKEN, FULL, GOING_AWAY, TOO_LATE, TOO_SLOW, Limits, Refused
from web.live.protocol import SILENT_SECONDS, VERSION, AudioInput, Start, json_text, read_message, read_start
from web.live.remote import RemoteService
from web.live.rig import Output, mixed
from web.live.service import Full, Service, SessionConfig
from web.live.session import Frame, Session

log = logging.getLogger(__name__)
Heads = Service | RemoteService
START_SECONDS = 10  # within which `start` must come
UNREAD = 100  # messages that wait for a client
WAIT = 0.005  # seconds between two looks at a frame that is late


@contextlib.asynccontextmanager
async def running(
    service: Heads, host: str | None, port: int | None, limits: Limits, listening: Socket | None = None
) -> AsyncIterator[Server]:
    """A server that accepts clients and computes; at the end clients are told and closed.

    listening: a socket that clients come to, instead of a new one at this host and port.
    """
    door = _Door(service, limits)
    computing = asyncio.create_task(service.compute())
    try:
        async with serve(
            door.connected, host, port, sock=listening, process_request=door.health, max_size=limits.message,
            compression=None, max_queue=8, close_timeout=2, open_timeout=5,
        ) as server:  # fmt: skip
            yield server
            server.close(code=GOING_AWAY, reason="the server stops")
    finally:
        computing.cancel()


class _Door:
    """Lets clients in."""

    def __init__(self, service: Heads, limits: Limits) -> None:
        self.service, self.limits, self.open = service, limits, 0

    def health(self, connection: ServerConnection, request: Request) -> Response | None:
        """GET /health; anything else must be a WebSocket."""
        if urlsplit(request.path).path != "/health":
            return None
        sessions, most = self.service.occupied, self.service.max_sessions
        state = {"status": "ok", "version": VERSION, "sessions": sessions, "free": most - sessions}
        response = connection.respond(http.HTTPStatus.OK, json.dumps(state) + "\n")
        response.headers["Content-Type"] = "application/json"
        return response

    async def connected(self, socket: ServerConnection) -> None:
        """One client from its start message to its end."""
        self.open += 1
        try:
            await self._served(socket)
        except Refused as refusal:
            await _close(socket, refusal.code, str(refusal))
        except ConnectionClosed:
            pass
        except Exception:
            log.exception("a session failed")
            await _close(socket, BROKEN, "server: this session failed; its log says why")
        finally:
            self.open -= 1

    async def _served(self, socket: ServerConnection) -> None:
        request = socket.request
        assert request is not None
        self.limits.check_origin(request)
        if self.open > self.limits.connections:
            raise Refused(FULL, f"server: {self.limits.connections} connections are open; try again later")
        try:
            first = await asyncio.wait_for(socket.recv(), START_SECONDS)
        except TimeoutError as error:
            raise Refused(TOO_LATE, f"message: no start within {START_SECONDS} s") from error
        if isinstance(first, bytes):
            raise Refused(BAD, "message: the first one must be start, as JSON")
        try:
            start = read_start(first, functools.partial(self.limits.check_token, request))
            client = await _Client.join(socket, self.service, start)
        except UserError as error:
            raise Refused(BAD, str(error)) from error
        try:
            await asyncio.wait_for(client.serve(), self.limits.seconds)
        except TimeoutError as error:
            raise Refused(TOO_LATE, f"server: a session lasts at most {self.limits.seconds:g} s") from error
        finally:
            self.service.leave(client.session)


class _Client:
    """One client and its session: three tasks that read, show and write."""

    def __init__(self, socket: ServerConnection, service: Heads, session: Session[Any], start: Start) -> None:
        self.socket, self.service, self.session, self.start = socket, service, session, start
        session.patient = start.late == "wait"
        head = service.flame, session.talker.shape
        self.output = Output(*head, start.what, start.fps, service.rig)
        self.mixer = Mixer(MixerConfig.of(start.mix), service.flame.head)
        self._sunk = Output(*head, "arkit", FPS, service.rig) if service.sinks else None
        self.inputs = [AudioInput(start) for _ in range(2)]
        self._unread: asyncio.Queue[str | bytes] = asyncio.Queue(UNREAD)
        self._state, self._warnings = "", set[str]()

    @classmethod
    async def join(cls, socket: ServerConnection, service: Heads, start: Start) -> _Client:
        """A client with a session.

        Raises:
            UserError: a style, an identity or a mix that cannot be used.
            Refused: all sessions are taken.
        """
        config = SessionConfig(start.style, start.identity, start.guidance, start.seed, start.hop)
        MixerConfig.of(start.mix)
        try:
            session = await service.enter(config)
        except Full as error:
            raise Refused(FULL, str(error)) from error
        try:
            return cls(socket, service, session, start)
        except BaseException:
            service.leave(session)
            raise

    async def serve(self) -> None:
        """Until the client ends, leaves, or is refused."""
        live = self.session.talker.live
        self._say("ready", version=VERSION, fps=self.start.fps, what=self.start.what, names=self.output.names,
                  delay=round(live.hop + live.look_ahead, 3))  # fmt: skip
        tasks = [asyncio.create_task(work()) for work in (self._read, self._show, self._write)]
        try:
            await next(asyncio.as_completed(tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        while not self._unread.empty():
            await self.socket.send(self._unread.get_nowait())
        await self.socket.close()

    async def _read(self) -> None:
        async for message in self.socket:
            try:
                if isinstance(message, bytes):
                    self._hear(memoryview(message))
                else:
                    await self._obey(read_message(message))
            except UserError as error:
                raise Refused(BAD, str(error)) from error
        raise Refused(1000, "the client left")

    async def _show(self) -> None:
        """Frames when they are due."""
        session = self.session
        while not session.over:
            for frame in session.frames():
                self._show_one(frame)
                await asyncio.sleep(0)  # after a stall many frames are due: they must be written, or the queue is full
            if session.too_slow:
                self._warn("server: it is too slow for its sessions, and leaves out speech that is late")
            await asyncio.sleep(max(WAIT, session.rest))
        self._say("ended", time=session.number / FPS, frames=self.output.sent)

    async def _write(self) -> None:
        while True:
            await self.socket.send(await self._unread.get())

    def _show_one(self, frame: Frame) -> None:
        if frame.state != self._state:
            self._state = frame.state
            self._say("state", state=frame.state, time=frame.time, audio=frame.audio)
        frame = replace(frame, face=mixed(frame.face, self.mixer))
        for shown in self._sunk.send(frame) if self._sunk else ():
            for sink in self.service.sinks:
                sink.show(self.session.slot, shown)
        packed = self.start.frames == "packed" or self.start.what == "vertices"
        for shown in self.output.send(frame):
            self._put(shown.packed() if packed else shown.json(self.output.names))

    def _warn(self, message: str) -> None:
        """Once in a session."""
        if message not in self._warnings:
            self._warnings.add(message)
            self._say("warning", message=message)

    def _say(self, kind: str, **values: Any) -> None:
        self._put(json_text(kind, **values))

    def _put(self, message: str | bytes) -> None:
        try:
            self._unread.put_nowait(message)
        except asyncio.QueueFull as error:
            raise Refused(TOO_SLOW, f"client: {UNREAD} messages are unread; read faster, or ask for less") from error

    def _hear(self, data: memoryview) -> None:
        source = 0
        if self.start.listen:
            if not data or data[0] > 1:
                raise UserError(
                    "audio: with listen, a message begins with byte 0 (for the head) or 1 (the other person)"
                )
            source, data = data[0], data[1:]
        audio = self.inputs[source].read(data)
        (self.session.hear, self.session.other.hear)[source](audio)
        if self.inputs[0].silent > SILENT_SECONDS:
            self._warn(f"audio: {SILENT_SECONDS} s of silence; check the source")

    async def _obey(self, message: dict[str, Any]) -> None:
        """A message after start."""
        session, kind = self.session, message["type"]
        if kind in ("flush", "end"):
            session.hear(self.inputs[0].finish())
            session.flush()
            session.ended = session.ended or kind == "end"
        elif kind == "interrupt":
            spoken = session.interrupt()
            session.heard += len(self.inputs[0].finish())  # dropped as well
            self._say("interrupted", spoken=round(spoken, 3), sent=round(session.heard / SAMPLE_RATE, 3))
        elif kind == "set_state":
            session.mood = None if message["state"] == "auto" else message["state"]
        elif kind in ("set_style", "set_gain"):
            try:
                await self._change(message)
            except UserError as error:
                self._say("error", code=None, message=str(error))
        else:
            raise UserError("message: a session is started once; connect again")

    async def _change(self, message: dict[str, Any]) -> None:
        """Raises UserError; the session goes on as before."""
        if message["type"] == "set_gain":
            self.mixer.change(MixerConfig.of(message["values"]))
        else:
            config = SessionConfig(message["style"], self.start.identity)
            await self.service.restyle(self.session, config)


async def _close(socket: ServerConnection, code: int, message: str) -> None:
    """Say why, then close; a client that does not read is not waited for."""
    if code == 1000:
        return
    with contextlib.suppress(ConnectionClosed, TimeoutError):
        async with asyncio.timeout(2):
            await socket.send(json_text("error", code=code, message=message))
            await socket.close(code, message.encode(errors="replace")[:120].decode(errors="ignore"))
    socket.transport.abort()
