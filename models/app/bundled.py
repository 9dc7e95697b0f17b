"""The folders of the demo, what programs take from them by default, and the style files and encoder of a talker."""

from __future__ import annotations

from pathlib import Path

from utils.errors import UserError
from utils.runs.run_dir import ROOT, find_checkpoint, style_folder

INPUT, OUTPUT = ROOT / "demo" / "input", ROOT / "demo" / "output"
DEFAULT_AUDIO, DEFAULT_SHAPE, DEFAULT_STYLE = "librivox_austen_0890.flac", "average.npy", "normal.npy"


def input_folder(kind: str) -> Path:
    """The folder of the inputs of a kind: audio, coef (head shapes), motion or style."""
    return INPUT / kind


def style_files_of(style_encoder: str | Path) -> Path:
    """The folder of the style files that a style encoder's checkpoint made."""
    return input_folder("style") / style_folder(style_encoder)


def style_encoder_file(recorded: str | None) -> Path:
    """The style encoder's checkpoint that a talker names: at that path, from the repository, or that run's in
    experiments/SE, since published talkers name a path of the authors' machine.

    Raises:
        UserError: the talker has no style input, or the file is not here.
    """
    if not recorded:
        raise UserError("this model was trained without a style encoder; use one with styles")
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
    """A file as given, or in one of the demo's input folders.

    Raises:
        UserError: it is in none of them; the message lists what the first existing folder has.
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
