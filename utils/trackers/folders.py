"""Which files of a folder are one tracked video."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from utils.errors import UserError
from utils.reports.wording import counted

FRAME_SUFFIXES = (".frame", ".npz", ".npy", ".pt", ".pth", ".pkl")
_NAME = re.compile(r"(\D*)(\d+)(?:_(\d+))?")  # 00012, frame_00012, 000012_000 (frame, number of the face in it)
_WHOLE = ("smoothed.pkl", "optim.pkl", "flame_params.json")  # the last step of GAGAvatar_track; IMavatar
_TABLES, _BEGINNING = (".csv", ".tsv", ".txt", ".json"), 1 << 16  # bytes by which a table of blendshapes is recognised
_TAKE = ("take.json", "frame_log.csv")  # what Live Link Face writes beside a take's table


@dataclass(frozen=True)
class FrameFile:
    """The file of one frame, or its folder of npy files."""

    path: Path
    number: int
    files: dict[str, Path]  # name of the array, if the file does not say it -> file

    @property
    def suffix(self) -> str:
        return next(iter(self.files.values())).suffix


def find_files(folder: Path) -> Path | dict[str, Path] | tuple[list[FrameFile], tuple[str, ...]]:
    """What to read in a folder: one file; npy files by name, of all frames; or frames with notes.

    Raises:
        UserError: the folder holds no tracked video.
    """
    names = sorted(_entries(folder))
    tracked = [p for p in names if re.fullmatch(r"tracked_flame_params(_\d+)?\.npz", p.name)]
    if tracked:  # VHAP writes one per epoch; the last counts
        return max(tracked, key=lambda p: int("".join(filter(str.isdigit, p.name)) or 0))
    for inner in ("checkpoint", "flame_param"):
        if (folder / inner).is_dir():
            return find_files(folder / inner)
    whole = next((folder / name for name in _WHOLE if (folder / name).is_file()), None)
    if whole:
        return whole
    if _has_codes(folder):
        return {p.stem: p for p in names if p.suffix == ".npy"}
    return _table(folder, names) or _frames(folder, names)


def _has_codes(folder: Path) -> bool:
    """Whether it holds EMOCA's or EMICA's arrays."""
    return (folder / "exp.npy").is_file() and any((folder / f"{name}.npy").is_file() for name in ("pose", "jawpose"))


def _table(folder: Path, names: list[Path]) -> Path | None:
    """The table of blendshapes in a take's folder: the calibrated one before the raw one.

    Raises:
        UserError: there are several.
    """
    tables = [path for path in names if path.suffix.lower() in _TABLES and path.is_file() and holds_motion(path)]
    ranks = {path: ("raw" in path.stem.lower(), "cal" not in path.stem.lower()) for path in tables}
    best = [path for path in tables if ranks[path] == min(ranks.values())]
    if len(best) > 1:
        raise UserError(f"{folder}: holds {len(best)} tables of blendshapes ({best[0].name}, ...); name one of them")
    return best[0] if best else None


def holds_motion(path: Path) -> bool:
    """Whether a file of text begins as a table of blendshapes does, unlike the notes that lie beside motion."""
    if path.name in _WHOLE:
        return True
    try:
        with path.open("rb") as file:
            return b"jawopen" in file.read(_BEGINNING).replace(b"\0", b"").lower()
    except OSError:
        return False


def is_tracked_folder(folder: Path) -> bool:
    """Whether a folder is one tracked video, not a folder of several: numbered npz files, and a table without Live Link
    Face's other files, count as several videos."""
    try:
        found = find_files(folder)
    except UserError:
        return False
    if isinstance(found, Path) and found.suffix.lower() in _TABLES and found.name not in _WHOLE:
        return any((folder / name).is_file() and found.name != name for name in _TAKE)
    return (
        not isinstance(found, tuple)
        or found[0][0].path.is_dir()
        or found[0][0].path.parent != folder
        or (found[0][0].suffix == ".frame")
    )


def _entries(folder: Path) -> list[Path]:
    try:
        return [p for p in folder.iterdir() if not p.name.startswith(".")]
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error


def _frames(folder: Path, names: list[Path]) -> tuple[list[FrameFile], tuple[str, ...]]:
    found: dict[int, list[tuple[int, FrameFile]]] = {}
    for path in names:
        match = _NAME.fullmatch(path.stem if path.is_file() else path.name)
        files = _files_of(path)
        if match and files:
            number, face = int(match[2]), int(match[3] or 0)
            found.setdefault(number, []).append((face, FrameFile(path, number, files)))
    if not found:
        kinds = ", ".join(sorted({p.suffix or p.name for p in names})[:8]) or "nothing"
        raise UserError(f"{folder}: no tracked frames in this folder (found: {kinds}); give one video's folder or file")
    frames = [min(faces, key=lambda item: item[0])[1] for _, faces in sorted(found.items())]
    suffix = frames[0].suffix
    frames = [frame for frame in frames if frame.suffix == suffix]
    several = sum(len(faces) > 1 for faces in found.values())
    if not several:
        return frames, ()
    return frames, (f"{counted(several, 'frame shows', 'frames show')} several faces; the first face of each is used",)


def _files_of(path: Path) -> dict[str, Path]:
    if path.is_file():
        return {"": path} if path.suffix in FRAME_SUFFIXES else {}
    if path.is_dir() and _has_codes(path):
        return {p.stem: p for p in sorted(path.glob("*.npy"))}
    return {}
