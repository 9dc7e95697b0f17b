"""demo.py without its network: frames a second of drawing and encoding; time and memory of the whole program.

    python -m benchmarks.speed.demo [--size 640] [--frames 100] [--repeats 5] [--renderer pyrender]
        [--process] [--json out.json]
    python -m benchmarks.speed.demo --looks
    python -m benchmarks.speed.demo --minutes 5 10

The open head moves as in demo/input/motion/normal.npz. The fastest of the repeats counts for frames a second, the
least processor time (all threads, this process) for milliseconds a frame. `--looks` decodes, draws and encodes the
motion on the plain mesh in skin and on the dressed head with each hair, in turns, so that other work on the machine
slows all of them alike. `--process` also times demo.py on its bundled
speech (5.3 s), twice: the second run finds files and compiled code in the caches. `--minutes` runs demo.py instead on
long recordings (the bundled LibriVox ones, repeated; coefficients only, motion streamed): peak memory is the process's
largest resident size, libraries included (about 0.4 GB).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.report import Flags, column, read_flags, table, write_json
from benchmarks.subject import INPUT
from models.app.head_film import HeadFilm
from models.heads.decode import motion_vertices
from models.heads.flame import Flame, load_flame
from utils.config import check_least, flag
from utils.errors import UserError, cli
from utils.media.audio import load_audio
from utils.media.video import write_video
from utils.motion_file import load_motion
from utils.rendering.looks import HAIR, dress
from utils.rendering.renderer import Renderer, RenderStyle
from utils.runs.run_dir import ROOT
from utils.timebase import FPS, SAMPLE_RATE


@dataclass(frozen=True, kw_only=True)
class DemoFlags(Flags):
    """What is measured."""

    size: int = 640
    """Of the picture, pixels."""
    frames: int = 100
    """How many are drawn."""
    repeats: int = 5
    """The best of them counts."""
    renderer: str = flag("fast", choices=("fast", "pyrender"))
    """{choices}."""
    looks: bool = False
    """Instead film the plain mesh and the dressed head with each hair."""
    process: bool = False
    """Also time demo.py as a whole."""
    minutes: Sequence[float] = ()
    """Instead run demo.py on recordings of these lengths."""

    def check(self) -> None:
        super().check()
        check_least(self, frames=1, repeats=1)
        if self.minutes and min(self.minutes) <= 0:
            raise UserError(f"--minutes {min(self.minutes):g}: must be above 0")


@dataclass(frozen=True)
class Stage:
    """Best of the repeats of one part of the work."""

    name: str = column("")
    fps: float = column("frames/s", "{:.1f}")
    cpu_ms: float = column("processor ms/frame", "{:.1f}")


def timed(name: str, work: Callable[[], object], n_frames: int, repeats: int) -> Stage:
    wall, processor = [], []
    for _ in range(repeats):
        began, busy = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - began)
        processor.append(time.process_time() - busy)
    return Stage(name, n_frames / min(wall), 1000 * min(processor) / n_frames)


def moving_head(n_frames: int) -> tuple[np.ndarray, object]:
    """Vertices (n, V, 3) of the bundled motion, and the head."""
    flame, motion = load_flame(None), load_motion(INPUT / "motion" / "normal.npz")
    cut = replace(motion.cut(n_frames), shape=None)
    return np.concatenate(list(motion_vertices(flame, cut))), flame.head


def stages(style: RenderStyle, n_frames: int, repeats: int) -> list[Stage]:
    """Drawing alone, encoding alone, both."""
    moving, head = moving_head(n_frames)
    renderer, n = Renderer(head, style), len(moving)
    pictures = list(renderer.frames(moving))
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        return [
            timed("drawing", lambda: list(renderer.frames(moving)), n, repeats),
            timed("encoding", lambda: write_video(film, pictures, n, FPS, None), n, repeats),
            timed("both", lambda: write_video(film, renderer.frames(moving), n, FPS, None), n, repeats),
        ]


@dataclass(frozen=True)
class LookSpeed(Stage):
    """Decoding, drawing and encoding in one look."""

    share: float = column("of the plain mesh", "{:.2f}")  # frames a second, median over the repeats


def looks(style: RenderStyle, n_frames: int, repeats: int) -> list[LookSpeed]:
    """The plain mesh, then every hair."""
    head = load_flame(None).head
    motion = replace(load_motion(INPUT / "motion" / "normal.npz").cut(n_frames), shape=None)
    worn = {hair: dress(head, "skin", hair=hair) for hair in HAIR}
    heads = {"plain mesh": worn["bald"].head} | {hair: look.drawn for hair, look in worn.items()}
    films = {name: HeadFilm(Flame(head), replace(style, texture=worn["bald"].texture)) for name, head in heads.items()}
    found: dict[str, list[Stage]] = {name: [] for name in films}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            for name, film in films.items():
                frames = film.frames([motion])
                work = partial(write_video, Path(folder) / "film.mp4", frames, len(motion), FPS, None)
                found[name].append(timed(name, work, len(motion), 1))
    plain = np.array([each.fps for each in found["plain mesh"]])
    rows = []
    for name, each in found.items():
        fps = np.array([one.fps for one in each])
        rows.append(LookSpeed(name, fps.max(), min(one.cpu_ms for one in each), float(np.median(fps / plain))))
    return rows


def run_demo(*flags: str) -> tuple[float, float]:
    """demo.py in a process: its seconds, and its peak memory in MB.

    Raises:
        UserError: it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "demo.py"), *flags, "-o", f"{folder}/film.mp4"]
        began = time.perf_counter()
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    if status:
        raise UserError(f"demo.py ended with status {status}; run it by hand")
    return seconds, usage.ru_maxrss / 1024


@dataclass(frozen=True)
class LongRun:
    """demo.py on one long recording."""

    minutes: float = column("minutes", "{:.1f}")
    seconds: float = column("seconds", "{:.1f}")
    times_real_time: float = column("times_real_time", "{:.1f}")
    peak_mb: float = column("peak_mb", "{:.1f}")


def write_speech(path: Path, minutes: float) -> None:
    """A flac of this length."""
    import soundfile

    parts = [load_audio(found) for found in sorted((INPUT / "audio").glob("librivox*.flac"))]
    soundfile.write(path, np.resize(np.concatenate(parts), round(minutes * 60 * SAMPLE_RATE)), SAMPLE_RATE)


def long_run(minutes: float) -> LongRun:
    with tempfile.TemporaryDirectory() as folder:
        speech = Path(folder) / "speech.flac"
        write_speech(speech, minutes)
        seconds, peak_mb = run_demo("--no_video", "-a", str(speech))
    return LongRun(minutes, seconds, minutes * 60 / seconds, peak_mb)


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(DemoFlags, __doc__, argv)
    if flags.minutes:
        result = [long_run(minutes) for minutes in flags.minutes]
        print(table(result))
    elif flags.looks:
        result = looks(RenderStyle(flags.size, renderer=flags.renderer), flags.frames, flags.repeats)
        print(table(result))
    else:
        found = stages(RenderStyle(flags.size, renderer=flags.renderer), flags.frames, flags.repeats)
        print(f"{flags.size}x{flags.size}", table(found), sep="\n")
        rows = {stage.name: {"fps": stage.fps, "cpu_ms": stage.cpu_ms} for stage in found}
        result = {"size": flags.size, "renderer": flags.renderer, **rows}
        if flags.process:
            result["process_s"] = [run_demo()[0] for _ in range(2)]
            print("demo.py: {:.1f} s, again {:.1f} s".format(*result["process_s"]))
    write_json(flags.json, result)


if __name__ == "__main__":
    main()
