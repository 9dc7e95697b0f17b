"""Every emotion at intensity 1 on a face at rest, on a speaking one, and at a closure.

    python -m benchmarks.figures.emotions [-o docs/images/emotions.webp] [--person female_young]

A column for each of `EMOTIONS`, none first; a row for each of `FACES`. "neutral", which calms an expression, has no
column: these faces have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.figures.sheet import save_sheet
from benchmarks.report import read_flags
from benchmarks.subject import INPUT
from models.heads.decode import decode
from models.heads.flame import Flame, load_flame
from models.mixing.config import MixerConfig
from models.mixing.mixer import Mixer
from models.mixing.recipes import EMOTIONS
from utils.config import flag
from utils.errors import cli
from utils.heads.joints import JAW_OPEN_RADIANS
from utils.media.panels import captioned
from utils.motion_file import Motion, load_shape
from utils.rendering.looks import dress
from utils.rendering.renderer import Renderer, RenderStyle
from utils.runs.run_dir import ROOT

SIZE, FACE = 460, slice(70, 390)  # of the whole picture, and what is kept of its height and width; pixels
# jawOpen and units of both sides.
FACES: tuple[tuple[float, dict[str, float]], ...] = (
    (0.0, {}),
    (0.45, {"mouthLowerDown": 0.25, "mouthUpperUp": 0.15, "mouthStretch": 0.1}),
    (0.2, {"mouthClose": 0.19, "mouthPress": 0.2, "mouthRollLower": 0.1, "mouthRollUpper": 0.1}),
)


@dataclass(frozen=True)
class SheetFlags:
    """All flags."""

    output: Path = flag(ROOT / "docs/images/emotions.webp", "-o")
    """Picture, webp or png."""
    person: str = "female_young"
    """Bundled head shape."""


def faces(names: list[str]) -> Motion:
    """A frame for each of `FACES`."""
    exp = [[units.get(name.removesuffix("Left").removesuffix("Right"), 0.0) for name in names] for _, units in FACES]
    pose = np.zeros((len(FACES), 6), np.float32)
    pose[:, 3] = [jaw * JAW_OPEN_RADIANS for jaw, _ in FACES]
    return Motion(np.array(exp, np.float32), pose)


def sheet(flame: Flame, person: str) -> np.ndarray:
    """(rows, columns, 3) uint8."""
    look, shape = dress(flame.head, "skin", person=person), load_shape(INPUT / "coef" / f"{person}.npy")
    drawn, renderer = Flame(look.drawn), Renderer(look.drawn, RenderStyle(SIZE, texture=look.texture))
    columns = []
    for emotion in ("", *(name for name in EMOTIONS if name != "neutral")):
        mixer = Mixer(MixerConfig(emotion=(emotion,) if emotion else ()), flame.head)
        vertices = decode(drawn, mixer.push(faces(flame.head.exp_names or [])), shape).numpy()
        cropped = (picture[FACE, FACE] for picture in renderer.frames(vertices))
        pictures = captioned(cropped, emotion or "as it is", False)
        columns.append(np.concatenate(list(pictures)))
    return np.concatenate(columns, axis=1)


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(SheetFlags, __doc__, argv)
    save_sheet(sheet(load_flame(), flags.person), flags.output)


if __name__ == "__main__":
    main()
