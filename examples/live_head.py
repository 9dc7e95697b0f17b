"""A client of the live server (`python -m web.serve`); needs only the package websockets. docs/live_protocol.md"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

CLOSING = 1  # seconds that a server may take to close


class LiveHead:
    """One session:

    async with LiveHead.connect("ws://127.0.0.1:8765", rate=24000, style="normal") as head:
        await head.say(pcm)                   # any number of samples, at any time
        async for message in head.messages(): ...
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    @classmethod
    @asynccontextmanager
    async def connect(cls, address: str, **start: Any) -> AsyncIterator[LiveHead]:
        """start: fields of the protocol's first message."""
        async with connect(address, max_size=1 << 22, close_timeout=CLOSING) as socket:
            await socket.send(json.dumps({"type": "start", "version": 1, **start}))
            yield cls(socket)

    async def say(self, audio: bytes) -> None:
        """Raw samples in the format that `start` names (16 bit by default)."""
        await self.socket.send(audio)

    async def tell(self, kind: str, **values: Any) -> None:
        """flush, interrupt, set_style, set_gain, set_state or end."""
        await self.socket.send(json.dumps({"type": kind, **values}))

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """Frames, changes of state, errors and so on, until the session ends."""
        async for text in self.socket:
            yield json.loads(text)
