"""Clients of a live server: those that speak in real time, in as many processes as they need, and what they saw; and
hostile ones: malformed messages, cut connections, clients that do not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import multiprocessing
import random
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from utils.errors import UserError
from utils.exports.arkit import BLEND_SHAPES
from utils.timebase import FPS, SAMPLE_RATE
from web.live.protocol import HEADER, STATES

CLIENTS = 100  # of a process
JAW, SHUT = BLEND_SHAPES.index("jawOpen"), 0.01
TYPES = ("start", "flush", "interrupt", "set_style", "set_state", "end", "x")
VALUES = (None, True, -1, 10**30, 0.5, "", "calm", "\x00\ud7ff", [], [1] * 200, {}, {"npz": "AAAA"}, "idle", [[]],
          1e300)  # fmt: skip
KEYS = ("version", "rate", "format", "channels", "listen", "style", "guidance", "seed", "hop", "fps", "what", "state")


@dataclass
class Track:
    """What one client saw."""

    began: float = 0.0
    audio: list[float] = field(default_factory=list)  # of the frames of speech
    came: list[float] = field(default_factory=list)
    every: list[float] = field(default_factory=list)  # when any frame came
    interrupted: float = math.nan
    shut: float = math.nan

    @property
    def delays(self) -> np.ndarray:
        return np.array(self.came) - self.began - np.array(self.audio)


def lost_frames(track: Track) -> int:
    """Frames of speech that never came, of those before the last one that did."""
    numbers = {round(audio * FPS) for audio in track.audio}
    return max(numbers) + 1 - len(numbers)


def drift(track: Track) -> float:
    """How much later the last tenth of the frames came than the first, seconds."""
    tenth = -(-len(track.audio) // 10)
    return float(track.delays[-tenth:].mean() - track.delays[:tenth].mean())


@dataclass(frozen=True)
class Speech:
    """What one client says."""

    pcm: bytes
    seconds: float
    wait: float  # seconds until the client connects
    first: int = 0  # sample of the pcm that it begins with
    block: int = SAMPLE_RATE // 50  # samples in a message
    starts: float = 1.0  # seconds from now at which it begins to speak, if it is connected


async def speak(address: str, speech: Speech) -> Track:
    """One client: a moment of silence, speech in real time, an interrupt at its end."""
    track, block, begins = Track(), speech.block, time.monotonic() + speech.wait + speech.starts
    await asyncio.sleep(speech.wait)
    async with connect(address, max_queue=None, open_timeout=30) as socket:
        start = {"type": "start", "version": 1, "frames": "packed", "seed": round(speech.wait * 1000)}
        await socket.send(json.dumps(start))
        reading = asyncio.create_task(_read(socket, track))
        await asyncio.sleep(max(1.0, begins - time.monotonic()))
        track.began = time.monotonic()
        for i in range(round(speech.seconds * SAMPLE_RATE / block)):
            await asyncio.sleep(track.began + (i + 1) * block / SAMPLE_RATE - time.monotonic())
            at = 2 * (speech.first + block * i) % (len(speech.pcm) - 2 * block)
            await socket.send(speech.pcm[at : at + 2 * block])
        track.interrupted = time.monotonic()
        await socket.send('{"type": "interrupt"}')
        await socket.send('{"type": "end"}')
        await reading
    return track


async def _read(socket: ClientConnection, track: Track) -> None:
    async for message in socket:
        now = time.monotonic()
        if isinstance(message, str):
            if '"error"' in message:
                raise UserError(f"the server refused: {message}")
            continue
        _, state, _, _, _, audio = HEADER.unpack_from(message)
        track.every.append(now)
        if STATES[state] == "speaking":
            track.audio.append(audio)
            track.came.append(now)
        jaw = np.frombuffer(message, "<f4", 1, HEADER.size + 4 * JAW)[0]
        if math.isnan(track.shut) and now > track.interrupted and jaw < SHUT:
            track.shut = now


async def everyone(address: str, speeches: list[Speech]) -> list[Track]:
    """What all clients saw; many of them are divided among processes."""
    if len(speeches) <= CLIENTS:
        return await asyncio.gather(*(speak(address, speech) for speech in speeches))
    parts = [speeches[i :: -(-len(speeches) // CLIENTS)] for i in range(-(-len(speeches) // CLIENTS))]
    with ProcessPoolExecutor(len(parts), multiprocessing.get_context("spawn")) as pool:
        loop = asyncio.get_running_loop()
        done = await asyncio.gather(*(loop.run_in_executor(pool, _some, address, part) for part in parts))
    return [track for tracks in done for track in tracks]


def _some(address: str, speeches: list[Speech]) -> list[Track]:
    """Clients of a process of their own."""

    async def gather() -> list[Track]:
        return await asyncio.gather(*(speak(address, speech) for speech in speeches))

    return asyncio.run(gather())


# Hostile ones


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
