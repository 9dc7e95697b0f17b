"""Mouths close up: f, l, a tongue that comes out, wide open; from in front and from the side.

    python -m benchmarks.figures.mouths [-o docs/images/mouths.webp]

A row for each of `PEOPLE`, a column for each of `POSTURES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.figures.sheet import save_sheet
from benchmarks.report import read_flags
from benchmarks.subject import INPUT
from models.heads.decode import decode
from models.heads.flame import Flame, load_flame
from utils.config import flag
from utils.errors import cli
from utils.heads.joints import JAW_OPEN_RADIANS
from utils.motion_file import Motion, load_shape
from utils.rendering.looks import dress, framed_part, pivot, seen_from
from utils.rendering.renderer import Renderer, RenderStyle
from utils.rendering.stage import stage_for
from utils.runs.run_dir import ROOT

PEOPLE = ("female_young", "average", "male_broad")
SIZE, WIDTH, HEIGHT = 1600, 480, 420  # of the whole picture, of what is kept round the mouth; pixels
LIPS = (48, 51, 54, 57)  # of the 68 landmarks


@dataclass(frozen=True)
class Posture:
    """One column."""

    jaw: float  # jawOpen
    units: dict[str, float] = field(default_factory=dict)  # of both sides
    tongue: tuple[float, float] = (0.0, 0.0)
    yaw: float = 0.0  # degrees

    def motion(self, names: Sequence[str], shape: np.ndarray) -> Motion:
        """One frame."""
        exp = [self.units.get(name.removesuffix("Left").removesuffix("Right"), 0.0) for name in names]
        pose = [0, 0, 0, self.jaw * JAW_OPEN_RADIANS, 0, 0]
        units, angles, tongue = (np.array([row], np.float32) for row in (exp, pose, self.tongue))
        return Motion(units, angles, shape, tongue=tongue)


F = {"mouthRollLower": 0.45, "mouthUpperUp": 0.5, "mouthClose": 0.1}
POSTURES = (
    Posture(0.12, F),
    Posture(0.12, F, yaw=35),
    Posture(0.3, {"mouthUpperUp": 0.2, "mouthLowerDown": 0.2}, (0, 1)),
    Posture(0.6, tongue=(1, 1)),
    Posture(0.6, tongue=(1, 1), yaw=40),
    Posture(1.0, {"mouthStretch": 0.4, "mouthUpperUp": 0.4, "mouthLowerDown": 0.4}),
)


class CloseUp:
    """Draws the mouth of one person."""

    def __init__(self, flame: Flame, person: str) -> None:
        look = dress(flame.head, "skin", person=person)
        self.head, self.shape = look.drawn, load_shape(INPUT / "coef" / f"{person}.npy")
        self._flame, self._renderer = Flame(self.head), Renderer(self.head, RenderStyle(SIZE, texture=look.texture))
        self._to_screen = stage_for(framed_part(self.head), SIZE, black_bg=False).to_screen

    def __call__(self, frame: Motion, yaw: float = 0.0) -> np.ndarray:
        """(HEIGHT, WIDTH, 3) uint8."""
        assert self.head.lmk68 is not None
        turned = seen_from(decode(self._flame, frame, self.shape).numpy(), pivot(self.head), yaw)
        place = self._to_screen @ np.r_[turned[0][self.head.lmk68[list(LIPS)]].mean(0), 1]
        x, y = (SIZE * (1 + place[:2] / place[3] * (1, -1)) / 2).astype(int) - (WIDTH // 2, HEIGHT // 2)
        return next(self._renderer.frames(turned))[y : y + HEIGHT, x : x + WIDTH]


def mouths(flame: Flame, person: str) -> np.ndarray:
    """(HEIGHT, columns * WIDTH, 3) one head in every posture."""
    draw, names = CloseUp(flame, person), flame.head.exp_names or ()
    return np.concatenate([draw(one.motion(names, draw.shape), one.yaw) for one in POSTURES], axis=1)


@dataclass(frozen=True)
class MouthFlags:
    """All flags."""

    output: Path = flag(ROOT / "docs/images/mouths.webp", "-o")
    """Picture, webp or png."""


@cli
def main(argv: list[str] | None = None) -> None:
    flags, flame = read_flags(MouthFlags, __doc__, argv), load_flame()
    save_sheet(np.concatenate([mouths(flame, person) for person in PEOPLE]), flags.output, half=True)


if __name__ == "__main__":
    main()
