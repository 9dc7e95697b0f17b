"""Frames a second: drawing, encoding, both together, and the whole of demo.py.

    python -m benchmarks.speed.rendering [--size 640] [--frames 100] [--repeats 5] [--process] [--json out.json]

The open head moves as in demo/input/motion/normal.npz. The fastest of the repeats counts for frames a second, the
least processor time (all threads, this process) for milliseconds a frame. `--process` also times demo.py on its bundled
speech (5.3 s), twice: the second run finds files and compiled code in the caches.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.report import text_table, write_json
from benchmarks.subject import INPUT
from models.heads.decode import motion_vertices
from models.heads.flame import load_flame
from utils.config import UserParser
from utils.errors import UserError, cli
from utils.media.video import write_video
from utils.motion_file import load_motion
from utils.rendering.renderer import Renderer, RenderStyle
from utils.runs.run_dir import ROOT
from utils.timebase import FPS


def timed(work: Callable[[], object], n_frames: int, repeats: int) -> dict[str, float]:
    """Best of the repeats: frames per second of wall time, milliseconds of processor time per frame."""
    wall, processor = [], []
    for _ in range(repeats):
        began, busy = time.perf_counter(), time.process_time()
        work()
        wall.append(time.perf_counter() - began)
        processor.append(time.process_time() - busy)
    return {"fps": n_frames / min(wall), "cpu_ms": 1000 * min(processor) / n_frames}


def moving_head(n_frames: int) -> tuple[np.ndarray, object]:
    """Vertices (n, V, 3) of the bundled motion, and the head."""
    flame, motion = load_flame(None), load_motion(INPUT / "motion" / "normal.npz")
    cut = replace(motion.cut(n_frames), shape=None)
    return np.concatenate(list(motion_vertices(flame, cut))), flame.head


def measure(size: int, n_frames: int, repeats: int) -> dict[str, dict[str, float]]:
    """Drawing alone, encoding alone, both."""
    moving, head = moving_head(n_frames)
    renderer, n = Renderer(head, RenderStyle(size)), len(moving)
    pictures = list(renderer.frames(moving))
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        return {
            "drawing": timed(lambda: list(renderer.frames(moving)), n, repeats),
            "encoding": timed(lambda: write_video(film, pictures, n, FPS, None), n, repeats),
            "both": timed(lambda: write_video(film, renderer.frames(moving), n, FPS, None), n, repeats),
        }


def whole_process() -> list[float]:
    """Seconds of two runs of demo.py."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            began = time.perf_counter()
            command = [sys.executable, str(ROOT / "demo.py"), "-o", str(Path(folder) / "film.mp4")]
            subprocess.run(command, check=True, capture_output=True)
            seconds.append(time.perf_counter() - began)
    return seconds


@cli
def main(argv: list[str] | None = None) -> None:
    parser = UserParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=640, help="of the picture, pixels (default: 640)")
    parser.add_argument("--frames", type=int, default=100, help="(default: 100)")
    parser.add_argument("--repeats", type=int, default=5, help="(default: 5)")
    parser.add_argument("--process", action="store_true", help="also time demo.py as a whole")
    parser.add_argument("--json", type=Path, help="also write all figures here")
    args = parser.parse_args(argv)
    for flag in ("frames", "repeats"):
        if getattr(args, flag) < 1:
            raise UserError(f"--{flag} {getattr(args, flag)}: must be at least 1")
    found = measure(args.size, args.frames, args.repeats)
    rows = [(name, f"{row['fps']:.1f}", f"{row['cpu_ms']:.1f}") for name, row in found.items()]
    print(text_table([(f"{args.size}x{args.size}", "frames/s", "processor ms/frame"), *rows]))
    result = {"size": args.size, **found}
    if args.process:
        result["process_s"] = whole_process()
        print("demo.py: {:.1f} s, again {:.1f} s".format(*result["process_s"]))
    if args.json:
        write_json(args.json, result)


if __name__ == "__main__":
    main()
