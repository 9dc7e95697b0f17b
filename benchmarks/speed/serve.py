"""The live server under load: sessions in real time, delay, interrupts, a soak, hostile clients.

    python -m benchmarks.speed.serve [--sessions 1 2 4 6] [--seconds 20] [--hop 0.2] [--look_ahead 0.04] [--fuzz 10000]
    python -m benchmarks.speed.serve --sessions 4 --seconds 3600         (a soak)
    python -m benchmarks.speed.serve --sessions 500 --front_ends 9 --block 0.1     (many, on a GPU)
    python -m benchmarks.speed.serve --batches 1 33 128                            (hops at once, without clients)

The server and every hundred clients run in separate processes. Every client speaks the bundled
recordings one after the other without a pause, 20 ms at a time as a microphone gives them (`--block`), and reads packed
frames; clients begin at different times. Each row is printed when it is there. Columns: seconds
from the first sound to its frame (median of the clients); from any sound to its frame, median and 99th percentile;
the longest gap between two frames; frames of speech that never came; how much later the last tenth of the frames came
than the first (the worst client), ms; seconds from `interrupt` until the first frame with a shut mouth (the slowest
client); growth of the server's memory after the first tenth, MB; processor seconds of the server for each second of a
session. With `--batches`: milliseconds (medians) in which a batch of hops is prepared and, on a GPU, waited for after
that, and hops in a second.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import re
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.report import DeviceFlags, column, machine, publish, read_flags
from benchmarks.speed.live_clients import Speech, attack, drift, everyone, lost_frames
from models.app.bundled import input_folder
from models.generation.audio_stream import Loudness
from models.generation.live import LiveConfig, begin_pieces
from utils.config import check_least
from utils.errors import UserError, cli
from utils.media.audio import load_audio
from utils.timebase import FPS, SAMPLE_RATE
from web.live.service import Service, SessionConfig

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
    batches: Sequence[int] = ()
    """Hops that are computed at once, in this process and without clients, instead of all that."""

    def check(self) -> None:
        super().check()
        check_least(self, seconds=2, fuzz=0, front_ends=0)
        if not 0.001 <= self.block <= 1:
            raise UserError(f"--block {self.block:g}: must lie between 0.001 and 1 second")
        for name, numbers in (("sessions", self.sessions), ("batches", self.batches)):
            if any(number < 1 for number in numbers):
                raise UserError(f"--{name} {min(numbers)}: must be at least 1")


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


@dataclass(frozen=True)
class BatchRow:
    """One number of hops at once."""

    hops: int = column("hops")
    prepare_ms: float = column("prepare_ms", "{:.2f}")
    wait_ms: float = column("wait_ms", "{:.2f}")
    rate: float = column("hops_per_s", "{:.0f}")


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


def batch_row(service: Service, n: int, hop: float, repeats: int = 30) -> BatchRow:
    """Hops of n sessions at once, again and again."""
    talkers = [service.talker(SessionConfig(seed=i)) for i in range(n)]
    noise = 0.05 * np.random.default_rng(0).standard_normal(8 * SAMPLE_RATE, np.float32)
    times = []
    for k in range(repeats + 1):
        began = time.perf_counter()
        for talker in talkers:
            talker.loudness = Loudness(0.0, 0.05, 0.05)  # which the front ends measure
            talker.keep(noise[: round(hop * SAMPLE_RATE) if k else len(noise) // 2])
        begun = begin_pieces(talkers)
        prepared = time.perf_counter()
        begun.motions()
        times.append((prepared - began, time.perf_counter() - prepared))
    prepare, wait = np.median(times[1 + repeats // 5 :], axis=0).tolist()
    return BatchRow(n, 1000 * prepare, 1000 * wait, n / (prepare + wait))


def run_batches(flags: ServeBenchFlags) -> None:
    live = LiveConfig(flags.hop, flags.hop, flags.look_ahead, flags.short, catch_up=True)
    service = Service.open(flags.exp_name, flags.device, live, max(flags.batches), flags.precision)
    rows = [batch_row(service, n, flags.hop) for n in flags.batches]
    title = f"{machine(service.animator.model.device)}: {flags.exp_name}, {flags.precision}, hop {flags.hop:g} s"
    publish(title, rows, flags.json)


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
    flags = read_flags(ServeBenchFlags, __doc__, argv)
    if flags.batches:
        run_batches(flags)
    else:
        asyncio.run(run(flags))


if __name__ == "__main__":
    main()
