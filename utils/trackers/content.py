"""Any tracker's output as named columns of frames, whatever files it is spread over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import UserError
from utils.reading.array_file import parse_npy, read_bytes, zip_members
from utils.reading.json_file import parse_json_value
from utils.reports.wording import counted
from utils.trackers import json_tables, pickles, tables
from utils.trackers.folders import FrameFile, find_files

# Of a file for one frame only small arrays are kept: no textures and no vertex offsets.
_MAX_PER_FRAME, _FRAME_FILE_BYTES = 1024, 64 << 20


@dataclass(frozen=True)
class Content:
    """Arrays by name; `frames` are the numbers of the frames if every frame came from a separate file."""

    path: Path
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    frames: np.ndarray | None = None  # (T,) int, increasing
    times: np.ndarray | None = None  # (T,) seconds, increasing
    notes: tuple[str, ...] = ()
    suffix: str = ""  # of the files, e.g. ".frame"; ".csv" for a table
    texts: dict[str, str] = field(default_factory=dict)

    def has(self, *names: str) -> bool:
        return all(name in self.columns for name in names)

    def first(self, *names: str) -> np.ndarray | None:
        """The first of these columns that exists; None if none does."""
        return next((self.columns[name] for name in names if name in self.columns), None)

    def describe(self) -> str:
        """What was found, for messages."""
        items = [f"{name} {values.shape}" for name, values in list(self.columns.items())[:14]]
        rest = len(self.columns) - len(items)
        frames = "" if self.frames is None else f"{counted(len(self.frames), f'{self.suffix} frame')} of "
        return frames + ", ".join(items) + (f" and {rest} more" if rest > 0 else "") if items else "nothing"


def load_content(path: str | Path) -> Content:
    """Read a file or folder.

    Raises:
        UserError: missing, of an unknown kind, damaged, too large, or holding code.
    """
    path = Path(path)
    if not path.is_dir():
        return _from_file(path)
    found = find_files(path)
    if isinstance(found, Path):
        return _from_file(found)
    if isinstance(found, dict):
        columns = {name: _numbers(parse_npy(read_bytes(file), str(file))) for name, file in found.items()}
        return Content(path, {name: values for name, values in columns.items() if values is not None}, suffix=".npy")
    return _from_frames(path, *found)


def _from_file(path: Path) -> Content:
    data = read_bytes(path)
    if table := _table(data, str(path)):
        return Content(path, table.columns, times=table.times, notes=table.notes, suffix=".csv")
    tree = load_tree(data, str(path))
    if isinstance(tree, list) and tree and all(isinstance(item, dict) for item in tree):
        return _stacked(path, [(str(i), flatten(item)) for i, item in enumerate(tree)], range(len(tree)))
    if frames := json_tables.numbered(tree):
        numbers = [number for number, _ in frames]
        return _stacked(path, [(f"{path}: frame {number}", flatten(frame)) for number, frame in frames], numbers)
    columns = flatten(
        _unwrapped(tree) if isinstance(tree, dict) else {"": np.asarray(tree) if _is_numbers(tree) else None}
    )
    if path.suffix == ".frame":
        return _stacked(path, [(str(path), columns)], range(1))
    return Content(path, columns, suffix=path.suffix, texts=_texts(tree))


def _unwrapped(tree: dict) -> dict:
    """Also what lies under one name, if there is only one such dict."""
    inner = [value for value in tree.values() if isinstance(value, dict)]
    return tree | inner[0] if len(inner) == 1 else tree


def _table(data: bytes, source: str) -> tables.Table | None:
    """A csv or JSON file; None for other kinds."""
    if data.lstrip()[:1] in (b"{", b"["):
        return json_tables.parse_tree(parse_json_value(data, source), source)
    return None if _is_pickle(data) else tables.parse_table(data, source)


def _is_pickle(data: bytes) -> bool:
    """Whether a pickle begins here: of any protocol, since 0 and 1 have no mark of their own."""
    return data[:1] == b"\x80" or (data[:1] in (b"(", b"}", b"]") and data[-1:] == b".")


def load_tree(data: bytes, source: str) -> Any:
    """npy, npz, torch zip or pickle -> arrays, dicts, lists; the first bytes tell the kind.

    Raises:
        UserError: of another kind, damaged, or holding code.
    """
    if data[:6] == b"\x93NUMPY":
        try:
            return parse_npy(data, source)
        except UserError:
            return pickles.load_object_npy(data, source)
    if data[:2] == b"PK" and b"data.pkl" in data:
        return pickles.load_torch_zip(data, source)
    if data[:2] == b"PK":
        members = zip_members(data, source)
        return {name.removesuffix(".npy"): load_tree(value, f"{source}: {name}") for name, value in members.items()}
    if _is_pickle(data):
        return pickles.load_tree(data, source)
    raise UserError(f"{source}: is not an npz, npy, csv, json, torch or pickle file; give a tracker's output")


def flatten(tree: dict, start: str = "") -> dict[str, np.ndarray]:
    """Nested dicts -> numeric arrays by dotted name; anything else is left out."""
    columns: dict[str, np.ndarray] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            columns |= flatten(value, f"{start}{name}.")
        elif (values := _numbers(value)) is not None:
            columns[f"{start}{name}"] = values
    return columns


def _texts(tree: Any) -> dict[str, str]:
    """Single texts, such as the name of the head model."""
    items = tree.items() if isinstance(tree, dict) else ()
    text = {name: value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value for name, value in items}
    return {name: value[:200] for name, value in text.items() if isinstance(value, str) and value.isprintable()}


def _numbers(value: Any) -> np.ndarray | None:
    if not _is_numbers(value):
        return None
    array = np.asarray(value)
    return array if array.dtype.kind in "fiub" else None


def _is_numbers(value: Any) -> bool:
    if isinstance(value, np.ndarray | np.generic | int | float):
        return True
    try:  # nested lists of numbers, as some scripts store them
        return isinstance(value, list) and len(value) > 0 and np.asarray(value).dtype.kind in "fiu"
    except ValueError:
        return False


def _from_frames(path: Path, files: Sequence[FrameFile], notes: tuple[str, ...]) -> Content:
    """One file, or one folder of npy files, per frame."""
    rows = []
    for frame in files:
        columns: dict[str, np.ndarray] = {}
        for name, file in frame.files.items():
            tree = load_tree(read_bytes(file, _FRAME_FILE_BYTES), str(file))
            columns |= flatten(tree if isinstance(tree, dict) else {name: tree})
        rows.append((str(frame.path), columns))
    return _stacked(path, rows, [frame.number for frame in files], notes, files[0].suffix)


def _stacked(path: Path, rows: list, numbers: Sequence[int], notes: tuple[str, ...] = (), suffix: str = "") -> Content:
    """Stack the frames' columns. The columns are those of the first frame; every other frame must have them."""
    columns = {}
    for name, example in rows[0][1].items():
        if example.size > _MAX_PER_FRAME:
            continue
        for source, values in rows:
            if name not in values or values[name].size != example.size:
                raise UserError(
                    f"{source}: has no '{name}' of {example.size} numbers, unlike the first frame; track again"
                )
        columns[name] = np.stack([values[name].reshape(-1) for _, values in rows])
    return Content(path, columns, np.asarray(list(numbers)), notes=notes, suffix=suffix or path.suffix)
