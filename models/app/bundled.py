"""The demo's folders and default inputs, and where a talker's style files and style encoder lie."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.motion_file import load_shape
from utils.runs.run_dir import ROOT, find_checkpoint, style_folder

INPUT, OUTPUT = ROOT / "demo" / "input", ROOT / "demo" / "output"
DEFAULT_AUDIO, DEFAULT_SHAPE, DEFAULT_STYLE = "librivox_austen_0890.flac", "average.npy", "normal.npy"


def input_folder(kind: str) -> Path:
    """The folder with inputs of one kind: audio, coef (head shapes), motion or style."""
    return INPUT / kind


def bundled_shapes() -> dict[str, np.ndarray]:
    """The bundled head shapes (100,) by name."""
    return _shapes_in(input_folder("coef"))


@cache
def _shapes_in(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: load_shape(path) for path in sorted(folder.glob("*.npy"))}


def person_like(shape: np.ndarray | None) -> str:
    """Name of the bundled shape nearest to a head shape (100,), whose skin and hair suit it; None: the average head."""
    shapes = bundled_shapes()
    if shape is None:
        return Path(DEFAULT_SHAPE).stem
    return min(shapes, key=lambda name: float(np.linalg.norm(shapes[name] - shape)))


def style_files_of(style_encoder: str | Path) -> Path:
    """The folder of the style files that a style encoder's checkpoint extracted."""
    return input_folder("style") / style_folder(style_encoder)


def style_encoder_file(recorded: str | None) -> Path:
    """The checkpoint of a talker's style encoder.

    It lies at the path that the talker records, relative to the repository, or in the run of that name in
    experiments/SE: published talkers record a path on the authors' machine.

    Raises:
        UserError: the talker has no style input, or the file is missing.
    """
    if not recorded:
        raise UserError("this model was trained without a style encoder; use a model with styles")
    path = ROOT / str(recorded).replace("\\", "/")
    if path.is_file():
        return path
    folder = style_folder(recorded)
    try:
        return find_checkpoint("SE", folder.parent.name, int(folder.name.removeprefix("iter_")))
    except ValueError as error:
        raise UserError(
            f"{path}: this model's style encoder is missing; put it there, or use bundled styles"
        ) from error


def find_input(name: str, folders: list[Path]) -> Path:
    """The file of this path, or of this name in one of the demo's input folders.

    Raises:
        UserError: there is no such file; the message lists the bundled ones.
    """
    candidates = [Path(name), *(folder / name for folder in folders)]
    for path in candidates:
        if path.is_file():
            return path
    if Path(name).is_dir():
        raise UserError(f"{name}: is a folder, not a file; give a file in it")
    files = [p for folder in folders if folder.is_dir() for p in sorted(folder.iterdir()) if p.is_file()]
    offered = [p.name for p in files if p.suffix not in (".md", ".tsv", ".txt")]
    raise UserError(f"{name}: no such file; bundled ones: {', '.join(offered[:20]) or 'none'}")
