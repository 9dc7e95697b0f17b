"""The face of a voice assistant: follows its speech, and never holds it up. Needs only the package websockets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.exceptions import WebSocketException

from examples.live_head import LiveHead

log = logging.getLogger(__name__)
MESSAGE = 1 << 18  # bytes of audio: the server takes at most 1 MiB


class AssistantFace:
    """A session that begins with the first sound. Without a server the assistant speaks on, and a warning says why."""

    def __init__(self, address: str, show: Callable[[dict[str, Any]], Awaitable[None]], **start: Any) -> None:
        """show: called with every message of the server; start: fields of the protocol's first message."""
        self._address, self._show, self._start = address, show, start
        self._orders: asyncio.Queue[bytes | str] = asyncio.Queue()  # in the order in which the server gets them
        self._session: asyncio.Task[None] | None = None

    def hear(self, audio: bytes, rate: int, channels: int) -> None:
        """The next samples, 16 bit."""
        if self._session is None:
            self._session = asyncio.create_task(self._live(rate=rate, channels=channels))
        for at in range(0, len(audio), MESSAGE):
            self._order(audio[at : at + MESSAGE])

    def flush(self) -> None:
        """The utterance is complete."""
        self._order("flush")

    def interrupt(self) -> None:
        """Drop what is not yet spoken, and shut the mouth."""
        self._order("interrupt")

    async def close(self) -> None:
        """Leave the server."""
        if self._session is not None:
            self._session.cancel()
            await asyncio.wait([self._session])

    def _order(self, order: bytes | str) -> None:
        if self._session is not None and not self._session.done():
            self._orders.put_nowait(order)

    async def _live(self, **audio: int) -> None:
        try:
            async with LiveHead.connect(self._address, **audio, **self._start) as head:
                sending = asyncio.create_task(self._send(head))
                try:
                    await self._watch(head)
                finally:
                    sending.cancel()
                    head.socket.transport.abort()  # a server that refuses does not read the sound on its way
        except (OSError, WebSocketException, ValueError) as error:
            log.warning("no face any more, the speech goes on: %s", error)

    async def _watch(self, head: LiveHead) -> None:
        async for message in head.messages():
            await self._show(message)
            if message["type"] == "error":
                raise ConnectionError(message["message"])
        raise ConnectionError("the server has ended the session")

    async def _send(self, head: LiveHead) -> None:
        with contextlib.suppress(WebSocketException):  # the reader will tell
            while True:
                order = await self._orders.get()
                await (head.tell(order) if isinstance(order, str) else head.say(order))
