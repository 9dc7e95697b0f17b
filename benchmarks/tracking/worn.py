"""What glasses and a beard cost the tracker: our own head filmed bare, with dark-rimmed glasses, a beard, and both.

    python -m benchmarks.tracking.worn [--frames 150] [--json FILE]

Needs MediaPipe. The glasses are lines over the picture that turn with the head; the beard is painted on the skin. A
mouth is shut where the true lips touch, and stays shut if the tracked ones are within 1 mm.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from benchmarks.report import column, publish, read_flags
from benchmarks.subject import INPUT
from benchmarks.tracking.accuracy import FilmFlags, compare
from benchmarks.tracking.films import HELD_OUT, WORN, Case, Cinema, Scene, bundled
from models.heads.mouth import opening_mm
from models.tracking.video import TrackedVideo, VideoOptions, motion_of
from utils.errors import cli
from utils.motion_file import Motion, load_shape

STYLES = ("normal", "big_mouth", "serious", "large_head_movements")
SHUT = 1.0  # mm


@dataclass(frozen=True)
class Row:
    """Means over the films of a head that wears the same."""

    worn: str = column("worn")
    found: float = column("faces found", "{:.0%}")
    r: float = column("opening r", "{:.2f}")
    gain: float = column("gain", "{:.2f}")
    offset: float = column("offset mm", "{:+.1f}")
    error: float = column("error mm", "{:.1f}")
    shut: float = column("shut kept", "{:.0%}")
    blinks: str = column("blinks")
    yaw: float = column("yaw gain", "{:.2f}")
    pitch: float = column("pitch gain", "{:.2f}")
    brow: float = column("inner brow r", "{:.2f}")
    residual: float = column("residual mm", "{:.2f}")


def shut_kept(cinema: Cinema, identity: str, true: Motion, tracked: TrackedVideo) -> tuple[int, int]:
    """Frames whose lips touch, and those of them whose tracked lips are shut as well."""
    n_frames = min(len(true), len(tracked.motion))
    shape = load_shape(INPUT / "coef" / f"{identity}.npy")
    before = opening_mm(cinema.flame, replace(true.cut(n_frames), shape=shape)) <= 0
    return int(before.sum()), int((opening_mm(cinema.flame, tracked.motion.cut(n_frames))[before] <= SHUT).sum())


def measure(cinema: Cinema, worn: str, n_frames: int) -> Row:
    """Film, track and compare all styles."""
    figures, found, shut = defaultdict(list), [], np.zeros(2, int)
    for k, style in enumerate(tqdm(STYLES, desc=worn, unit="film")):
        case = Case(style, Scene(HELD_OUT[k % len(HELD_OUT)], "skin", 480, worn=worn))
        true = bundled(style, n_frames)
        seen = cinema.watch(true, case.scene)
        tracked = motion_of(seen, style, VideoOptions())
        for name, value in compare(cinema, case, true, tracked).items():
            figures[name].append(value)
        assert tracked.residual is not None
        figures["residual"].append(float(tracked.residual.mean()))
        found.append(float(seen.found.mean()))
        shut += shut_kept(cinema, case.scene.identity, true, tracked)
    total, hits, false = (sum(figures[name]) for name in ("blinks", "blinks_found", "blinks_false"))
    names = ("mouth.r", "mouth.gain", "mouth.offset", "mouth.error")
    return Row(
        worn, float(np.mean(found)), *(float(np.mean(figures[name])) for name in names), shut[1] / max(shut[0], 1),
        f"{hits:.0f} of {total:.0f} + {false:.0f}",
        *(float(np.mean(figures[name])) for name in ("yaw.gain", "pitch.gain", "browInnerUp.r", "residual")),
    )  # fmt: skip


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(FilmFlags, __doc__, argv)
    cinema = Cinema()
    publish(f"means of {len(STYLES)} films", [measure(cinema, worn, flags.frames) for worn in WORN], flags.json)


if __name__ == "__main__":
    main()
