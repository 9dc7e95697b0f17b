"""The live server under load: sessions in real time, delay, interrupts, a soak, hostile clients.

    python -m benchmarks.speed.serve [--sessions 1 2 4 6] [--seconds 20] [--hop 0.2] [--look_ahead 0.04] [--fuzz 10000]
    python -m benchmarks.speed.serve --sessions 4 --seconds 3600         (a soak)
    python -m benchmarks.speed.serve --sessions 500 --front_ends 9 --block 0.1     (many, on a GPU)

A server runs in a process of its own, and so does every hundred of the clients. Every client speaks the bundled
recordings one after the other without a pause, 20 ms at a time as a microphone gives them (`--block`), and reads packed
frames; clients begin at different times. Each row is printed when it is there. Columns: seconds
from the first sound to its frame (median of the clients); from any sound to its frame, median and 99th percentile;
the longest gap between two frames; frames of speech that never came; how much later the last tenth of the frames came
than the first (the worst client), ms; seconds from `interrupt` until the first frame with a shut mouth (the slowest
client); growth of the server's memory after the first tenth, MB; processor seconds of the server for each second of a
session.
"""

from __future__ import annotations

import asyncio
import json
import math
import multiprocessing
import os
import random
import re
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.report import DeviceFlags, column, machine, publish, read_flags
from benchmarks.speed.hostile_clients import attack
from models.app.bundled import input_folder
from utils.config import check_least
from utils.errors import UserError, cli
from utils.exports.arkit import BLEND_SHAPES
from utils.media.audio import load_audio
from utils.timebase import FPS, SAMPLE_RATE
from web.live.protocol import HEADER, STATES

CLIENTS = 100  # of a process
JAW, SHUT = BLEND_SHAPES.index("jawOpen"), 0.01
AT_START = 0.1  # of the time, after which memory counts


@dataclass(frozen=True, kw_only=True)
class ServeBenchFlags(DeviceFlags):
    """What is measured."""

    exp_name: str = "embedded-fast"
    """Experiment in experiments/DPT."""
    sessions: Sequence[int] = (1, 2, 4, 6)
    """Numbers of sessions."""
    seconds: float = 20
    """Of speech in each session."""
    hop: float = 0.2
    """Seconds."""
    look_ahead: float = 0.04
    """Seconds."""
    block: float = 0.02
    """Seconds of audio in a message."""
    front_ends: int = 0
    """See web.serve; likewise the next two."""
    precision: str = "fp32"
    short: int | None = None
    fuzz: int = 0
    """Hostile connections beside one good session, at the end."""

    def check(self) -> None:
        super().check()
        check_least(self, seconds=2, fuzz=0, front_ends=0)
        if not 0.001 <= self.block <= 1:
            raise UserError(f"--block {self.block:g}: must lie between 0.001 and 1 second")
        if min(self.sessions) < 1:
            raise UserError(f"--sessions {min(self.sessions)}: must be at least 1")


@dataclass(frozen=True)
class ServeRow:
    """One number of sessions."""

    sessions: int = column("sessions")
    first_s: float = column("first_s", "{:.2f}")
    median_s: float = column("p50_s", "{:.2f}")
    late_s: float = column("p99_s", "{:.2f}")
    gap_s: float = column("gap_s", "{:.2f}")
    lost: int = column("lost")
    drift_ms: float = column("drift_ms", "{:.0f}")
    interrupt_s: float = column("interrupt_s", "{:.2f}")
    growth_mb: float = column("growth_mb", "{:.1f}")
    cpu: float = column("cpu", "{:.2f}")


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


@dataclass(frozen=True)
class Server:
    """A running one."""

    address: str
    pid: int

    def memory(self) -> float:
        """MB in use; NaN where /proc does not say."""
        found = [re.search(r"VmRSS:\s+(\d+) kB", text) for text in self._read("status")]
        return sum(int(one[1]) for one in found if one) / 1024 if found else math.nan

    def processor_seconds(self) -> float:
        """Used so far; NaN where /proc does not say."""
        times = [text.rpartition(")")[2].split()[11:13] for text in self._read("stat")]
        ticks = sum(int(user) + int(system) for user, system in times)
        return ticks / os.sysconf("SC_CLK_TCK") if times else math.nan

    def _read(self, name: str) -> list[str]:
        """A file of /proc, of the server and its front ends; empty where there is no /proc."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        pids = [str(self.pid), *(children.read_text().split() if children.is_file() else ())]
        paths = [Path("/proc", pid, name) for pid in pids]
        return [path.read_text() for path in paths if path.is_file()]


@asynccontextmanager
async def server(flags: ServeBenchFlags) -> AsyncIterator[Server]:
    """Raises UserError: it did not start."""
    command = ["-m", "web.serve", "--port", "0", "--exp_name", flags.exp_name, "--device", flags.device]
    command += ["--hop", str(flags.hop), "--look_ahead", str(flags.look_ahead)]
    command += ["--front_ends", str(flags.front_ends), "--precision", flags.precision]
    command += [] if flags.short is None else ["--short", str(flags.short)]
    command += ["--max_sessions", str(max(flags.sessions) + 8), "--max_seconds", str(flags.seconds + 600)]
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    said, found = "", None
    while found is None and (line := (await process.stderr.readline()).decode()):
        said, found = said + line, re.match(r"ready: (\S+),", line)
    if found is None:
        raise UserError(f"the server did not start: {said.strip()}")
    try:
        yield Server(found[1], process.pid)
    finally:
        process.terminate()
        rest = await process.stderr.read()
        if await process.wait() or rest:
            print("the server said:", rest.decode()[-2000:], file=sys.stderr)


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


def lost_frames(track: Track) -> int:
    """Frames of speech that never came, of those before the last one that did."""
    numbers = {round(audio * FPS) for audio in track.audio}
    return max(numbers) + 1 - len(numbers)


def drift(track: Track) -> float:
    """How much later the last tenth of the frames came than the first, seconds."""
    tenth = -(-len(track.audio) // 10)
    return float(track.delays[-tenth:].mean() - track.delays[:tenth].mean())


async def measured(running: Server, pcm: bytes, n: int, seconds: float, block: float = 0.02) -> ServeRow:
    """n sessions at once."""
    memory: list[float] = []

    async def watch() -> None:
        while True:
            await asyncio.sleep(seconds * AT_START)
            memory.append(running.memory())

    watching, before = asyncio.create_task(watch()), running.processor_seconds()
    tracks = await everyone(running.address, _speeches(pcm, n, seconds, round(block * SAMPLE_RATE)))
    watching.cancel()
    silent = sum(not track.audio for track in tracks)
    if silent == n:
        raise UserError(f"--sessions {n}: no session was given a frame; this machine is too slow or too busy")
    tracks = [track for track in tracks if track.audio]
    delays = np.concatenate([track.delays for track in tracks])
    return ServeRow(
        n, float(np.median([track.delays[0] for track in tracks])), float(np.median(delays)),
        float(np.quantile(delays, 0.99)), greatest(np.diff(track.every).max() for track in tracks),
        sum(map(lost_frames, tracks)) + silent * round(seconds * FPS),
        1000 * max(map(drift, tracks), key=abs), greatest(track.shut - track.interrupted for track in tracks),
        memory[-1] - memory[0] if memory else math.nan,
        (running.processor_seconds() - before) / (n * seconds),
    )  # fmt: skip


def _speeches(pcm: bytes, n: int, seconds: float, block: int) -> list[Speech]:
    """Of n clients that begin at different times and places; a hundred connect per second."""
    chance, samples = random.Random(n), len(pcm) // 2
    spread = max(1.0, n / 100)
    return [Speech(pcm, seconds, chance.uniform(0, spread), samples * i // n // block * block, block) for i in range(n)]


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


def greatest(values: Iterable[float]) -> float:
    """NaN (a mouth that never shut) counts as greatest, unlike in `max`."""
    return float(np.max([*values]))


async def fuzzed(running: Server, pcm: bytes, count: int) -> dict[str, float]:
    """Hostile connections beside one good session, which must lose nothing; what leaks grows in the second half too."""
    began, memory, rows, opened = time.monotonic(), [running.memory()], [], 0
    for half in range(2):
        attacking = asyncio.create_task(attack(running.address, count // 2, random.Random(half)))
        while not attacking.done():
            rows.append(await measured(running, pcm, 1, 8.0))
        opened += await attacking
        memory.append(running.memory())
    return {"connections": opened, "seconds": time.monotonic() - began, "lost": sum(row.lost for row in rows),
            "p99_s": max(row.late_s for row in rows), "growth_mb": memory[1] - memory[0],
            "later_growth_mb": memory[2] - memory[1]}  # fmt: skip


async def run(flags: ServeBenchFlags) -> None:
    names = sorted(input_folder("audio").glob("*.flac"))
    pcm = (np.concatenate([load_audio(name) for name in names]) * 32767).astype("<i2").tobytes()
    rows, fuzz = [], None
    async with server(flags) as running:
        for n in flags.sessions:
            rows.append(await measured(running, pcm, n, flags.seconds, flags.block))
            print(", ".join(f"{name} {value:.4g}" for name, value in asdict(rows[-1]).items()), flush=True)
        if flags.fuzz:
            fuzz = await fuzzed(running, pcm, flags.fuzz)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan
    settings = f"hop {flags.hop:g} s, look-ahead {flags.look_ahead:g} s"
    title = f"{machine(torch.device('cpu'))}, {os.cpu_count()} cores, load {load:.1f}: {flags.exp_name}, {settings}"
    publish(title, rows, flags.json, fuzz=fuzz)
    if fuzz is not None:
        print("hostile clients:", ", ".join(f"{name} {value:.2f}" for name, value in fuzz.items()))


@cli
def main(argv: list[str] | None = None) -> None:
    asyncio.run(run(read_flags(ServeBenchFlags, __doc__, argv)))


if __name__ == "__main__":
    main()
