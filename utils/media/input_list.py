"""Many recordings at once: a folder or a list of paths, and what their results are called. The one list of formats."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from utils.errors import UserError
from utils.media.sound_file import has_sound, is_result
from utils.media.video_frames import VIDEO_SUFFIXES
from utils.reading.json_file import read_lines

log = logging.getLogger(__name__)
SOUND_SUFFIXES = (
    *(".wav", ".w64", ".flac", ".mp3", ".mp2", ".m4a", ".m4b", ".aac", ".ac3", ".eac3", ".ogg", ".oga", ".opus"),
    *(".aiff", ".aif", ".aifc", ".au", ".snd", ".caf", ".amr", ".wma", ".mka", ".weba"),
)
RECORDINGS = (*SOUND_SUFFIXES, *(suffix for suffix in VIDEO_SUFFIXES if suffix != ".gif"))  # a video's sound counts
# Never recordings, and not worth a line: what this project writes or is given beside them.
OTHERS = (
    *(".npz", ".npy", ".csv", ".glb", ".usda", ".obj", ".ply", ".json", ".jsonl", ".ndjson", ".txt", ".lst", ".tsv"),
    *(".md", ".png", ".jpg", ".jpeg", ".gif", ".pkl", ".pt", ".srt", ".vtt"),
)
MAX_INPUTS = 20_000
LIST_SUFFIXES = (".txt", ".lst")
_NAMED = 5  # files that are passed over and named in the log


def is_many(name: str | Path) -> bool:
    """Whether the path names several inputs: a folder or a text file."""
    path = Path(name)
    return path.is_dir() or (path.suffix.lower() in LIST_SUFFIXES and path.is_file())


@dataclass(frozen=True)
class Named:
    """A recording and the path of its results without ending, below the folder of all results."""

    path: Path
    name: str


def read_inputs(name: str | Path, recursive: bool = False, results: Path | None = None) -> list[Named]:
    """Recordings in a folder (sorted), or the paths in a list: one per line, # for comments, relative to the list's
    folder.

    Args:
        name: the folder or the list.
        recursive: also search the folder's subfolders, whose structure the names keep.
        results: where results are written; videos and wavs of earlier runs there are not recordings.

    Raises:
        UserError: an empty folder or list, or a list that is not text.
    """
    path = Path(name)
    if path.is_dir():
        own = results is not None and path.resolve() in (results.resolve(), *results.resolve().parents)
        found = list(_recordings(path, recursive, own))
        if not found:
            kinds = "wav, flac, mp3, m4a, ogg, mp4, webm, ..."
            deeper = "" if recursive else ", or search subfolders with --recursive"
            raise UserError(f"{path}: this folder has no recordings ({kinds}); name another{deeper}")
        return unique((file, file.relative_to(path)) for file in found)
    lines = [line.strip() for line in read_lines(path)]
    found = [path.parent / line for line in lines if line and not line.startswith("#")]
    if not found:
        raise UserError(f"{path}: the list is empty; write one path a line")
    if len(found) > MAX_INPUTS:
        raise UserError(f"{path}: names {len(found)} recordings, at most {MAX_INPUTS} are taken; cut it into several")
    return unique((file, Path(file.name)) for file in found)


def is_recording(path: Path) -> bool:
    """Whether a file is listed as a recording by its ending, or holds sound that can be decoded."""
    suffix = path.suffix.lower()
    return suffix in RECORDINGS or (suffix not in OTHERS and has_sound(path))


def _recordings(folder: Path, recursive: bool, own: bool) -> Iterator[Path]:
    """Recordings of a folder; with `own`, those that this program made are left out. Others are named in the log."""
    other = []
    for path in _files(folder, recursive):
        if not is_recording(path):
            other += [path.name] if path.suffix.lower() not in OTHERS else []
        elif not (own and is_result(path)):
            yield path
    if other:
        more = f" and {len(other) - _NAMED} more" if len(other) > _NAMED else ""
        log.info("%s: without sound that can be read: %s%s", folder, ", ".join(other[:_NAMED]), more)


def _files(folder: Path, recursive: bool) -> Iterator[Path]:
    """Files by name, hidden ones and hidden folders left out; links to folders are not followed."""
    for where, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if recursive and not name.startswith("."))
        yield from (Path(where, name) for name in sorted(files) if not name.startswith("."))


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be read ({error.strerror}); change its permissions") from error


def result_name(name: str) -> str:
    """What a recording's results are called: it depends on nothing but its own name, so that no other file changes it.

    `a.wav` -> a; every other ending stays: `a.mp3` -> a.mp3, and `a.mp3.wav` -> a.mp3.wav.
    """
    path = Path(name)
    plain = path.suffix.lower() == ".wav" and Path(path.stem).suffix.lower() not in RECORDINGS
    return path.stem if plain else path.name


def unique(files: Iterable[tuple[Path, Path]]) -> list[Named]:
    """(file, its path below the folder of results) -> names that differ even where upper and lower case do not.

    A name that is taken gets the name of the file's folder, and if that is not enough a number.
    """
    taken: set[str] = set()
    last: dict[str, int] = {}  # number that a name got last
    found = []
    for path, below in files:
        plain = result_name(below.name)
        name = (below.parent / plain).as_posix()
        if name.casefold() in taken:
            name = (below.parent / f"{path.absolute().parent.name}_{plain}").as_posix()
        while name.casefold() in taken:
            last[plain] = last.get(plain, 1) + 1
            name = (below.parent / f"{plain}_{last[plain]}").as_posix()
        taken.add(name.casefold())
        found.append(Named(path, name))
    return found
