"""Hostile clients of the live server: malformed messages, cut connections, clients that do not read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Awaitable, Callable

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

TYPES = ("start", "flush", "interrupt", "set_style", "set_state", "end", "x")
VALUES = (
    None,
    True,
    -1,
    10**30,
    0.5,
    "",
    "calm",
    "\x00\ud7ff",
    [],
    [1] * 200,
    {},
    {"npz": "AAAA"},
    "idle",
    [[]],
    1e300,
)
KEYS = ("version", "rate", "format", "channels", "listen", "style", "guidance", "seed", "hop", "fps", "what", "state")


def message(chance: random.Random) -> str | bytes:
    """A message that is wrong in some way, or right by accident."""
    kind = chance.randrange(4)
    if kind == 0:
        return chance.randbytes(chance.choice((0, 1, 3, 1000, 70_000)))
    values = {chance.choice(KEYS): chance.choice(VALUES) for _ in range(chance.randrange(4))}
    text = json.dumps({"type": chance.choice(TYPES), "version": 1} | values)
    if kind == 1:
        return text
    at = chance.randrange(len(text))
    return text[:at] + chance.choice(("", "{", '"', "\\", "[" * 50)) + text[at + kind - 2 :]


async def _shout(socket: ClientConnection, chance: random.Random) -> None:
    for _ in range(chance.randrange(1, 5)):
        await socket.send(message(chance))
    if chance.random() < 0.5:
        await asyncio.wait_for(socket.recv(), 5)


async def _start_and_shout(socket: ClientConnection, chance: random.Random) -> None:
    await socket.send(json.dumps({"type": "start", "version": 1}))
    await socket.send(bytes(2 * chance.randrange(20_000)))
    await _shout(socket, chance)


async def _cut(socket: ClientConnection, chance: random.Random) -> None:
    await _start_and_shout(socket, chance)
    socket.transport.abort()


async def attack(address: str, count: int, chance: random.Random, at_once: int = 8) -> int:
    """`count` hostile connections, some at once -> how many of them opened."""
    gate = asyncio.Semaphore(at_once)

    async def one(work: Callable[[ClientConnection, random.Random], Awaitable[None]]) -> bool:
        opened = False
        async with gate:
            with contextlib.suppress(ConnectionClosed, InvalidHandshake, TimeoutError, OSError):
                async with connect(address, close_timeout=0.1, open_timeout=20) as socket:
                    opened = True
                    await work(socket, chance)
        return opened

    return sum(await asyncio.gather(*(one(chance.choice((_shout, _start_and_shout, _cut))) for _ in range(count))))
