"""Many inputs at once: a folder of recordings or a list of paths, and what their outputs are called."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from utils.errors import UserError
from utils.reading.json_file import read_lines

AUDIO_SUFFIXES = frozenset(
    [".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".oga", ".opus", ".aiff", ".aif", ".wma"]
    + [".mp4", ".mov", ".mkv", ".webm"]  # the sound of a video
)
MAX_INPUTS = 20_000
LIST_SUFFIXES = (".txt", ".lst")


def is_many(name: str | Path) -> bool:
    """Whether the path names several inputs: a folder or a text file."""
    path = Path(name)
    return path.is_dir() or (path.suffix.lower() in LIST_SUFFIXES and path.is_file())


def read_inputs(name: str | Path) -> list[Path]:
    """Recordings in a folder (sorted, without subfolders), or the paths in a list: one per line, # for comments,
    relative to the list's folder.

    Raises:
        UserError: an empty folder or list, or a list that is not text.
    """
    path = Path(name)
    if path.is_dir():
        files = (p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        found = sorted(p for p in files if p.suffix.lower() in AUDIO_SUFFIXES)
        if not found:
            raise UserError(
                f"{path}: this folder has no recordings (wav, flac, mp3, m4a, ogg, mp4, webm); name another"
            )
        return found
    lines = [line.strip() for line in read_lines(path)]
    found = [path.parent / line for line in lines if line and not line.startswith("#")]
    if not found:
        raise UserError(f"{path}: the list is empty; write one path a line")
    if len(found) > MAX_INPUTS:
        raise UserError(f"{path}: names {len(found)} recordings, at most {MAX_INPUTS} are taken; cut it into several")
    return found


def output_names(inputs: list[Path]) -> list[str]:
    """A name without suffix for each input: its stem, or its whole name where two share a stem (a.wav and a.mp3).
    Inputs with the same name in several folders also get the folder's name and, if that is not enough, a number."""
    chosen: list[str] = []
    forms = (
        [path.stem for path in inputs],
        [path.name for path in inputs],
        [f"{path.absolute().parent.name}_{path.name}" for path in inputs],
        [f"{path.name}_{i}" for i, path in enumerate(inputs)],
    )
    counts = [Counter(name.casefold() for name in names) for names in forms]
    for names in zip(*forms):
        unique = (name for name, count in zip(names, counts) if count[name.casefold()] == 1)
        chosen.append(next(unique, names[-1]))
    return chosen
