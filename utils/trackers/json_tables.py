"""JSON of face tracking: a list of frames, or names beside a matrix of weights, as a table.

Frames are dicts of numbers, lists, or further dicts. `{"names": [...], "frames": [{"weights": [...]}]}`,
`[{"time": ..., "blendshapes": {...}}]` and Audio2Face's `{"exportFps", "facsNames", "weightMat"}` are the usual ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from utils.errors import UserError
from utils.trackers.tables import MAX_COLUMNS, Table, in_time
from utils.trackers.timecodes import Clock, read_clock, time_column

_ENOUGH_NAMES = 10
_RATES = ("fps", "exportfps", "framerate", "frame_rate")
_MOST = 1024  # numbers of a frame under one name: no vertices


def parse_tree(tree: dict | list, source: str) -> Table:
    """The table in a JSON value: (T,) or (T, n) columns by lower-case dotted name, and whatever else has numbers.

    Raises:
        UserError: no numbers, or too many names.
    """
    top = dict(_numbers_of({"": tree} if isinstance(tree, list) else tree, "", depth=3))
    names = next((value for value in _values(tree) if _is_names(value)), None)
    rows = [dict(chain(_flat(frame, names or [], ""))) for frame in _frames(tree)]
    keys = list(dict.fromkeys(chain.from_iterable(rows)))
    if len(keys) > MAX_COLUMNS:
        raise UserError(f"{source}: holds {len(keys)} names of numbers per frame, more than {MAX_COLUMNS}; cut it")
    when = time_column(keys)
    columns = {key: _column([row.get(key) for row in rows]) for key in keys if key != when}
    clock = Clock(None) if when is None else read_clock([_text(row.get(when)) for row in rows], f"{source}: {when}")
    columns = {key: values for key, values in columns.items() if values is not None}
    if names and not columns:
        columns = _matrix(top, names)
    if not rows and (when := time_column([name for name, values in top.items() if values.ndim == 1])):
        clock = read_clock([repr(float(x)) for x in top.pop(when)], f"{source}: {when}")
    return in_time({**top, **columns, **_rate(top)}, clock)


def _values(tree: dict | list) -> Iterator[Any]:
    """The values of the outer dict and of the dicts in it."""
    for value in tree.values() if isinstance(tree, dict) else ():
        yield value
        if isinstance(value, dict):
            yield from value.values()


def _frames(tree: dict | list) -> list[dict]:
    """The longest list of dicts."""
    values = [[frame for _, frame in numbered(value)] or value for value in (tree, *_values(tree))]
    lists = [value for value in values if isinstance(value, list) and value]
    return max((value for value in lists if all(isinstance(item, dict) for item in value)), key=len, default=[])


def numbered(tree: Any) -> list[tuple[int, dict]]:
    """(number, frame) in a dict of dicts whose names hold the numbers, such as `f_000012` or 12; else empty."""
    if not isinstance(tree, dict) or not all(isinstance(frame, dict) and frame for frame in tree.values()):
        return []
    found = [(re.findall(r"\d{1,9}", str(name)), frame) for name, frame in tree.items()]
    frames = {int(digits[-1]): frame for digits, frame in found if digits}
    return sorted(frames.items(), key=lambda item: item[0]) if len(frames) == len(tree) else []


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) >= _ENOUGH_NAMES and all(isinstance(x, str) for x in value)


def _flat(value: Any, names: Sequence[str], name: str) -> Iterator[tuple[str, Any]]:
    """(dotted name, number, list of numbers or text of a time) of everything in a frame."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, names, f"{name}.{key.lower()}" if name else key.lower())
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for item in value:
            yield from _named(item)
    elif isinstance(value, list) and len(value) == len(names) and names:
        yield from ((key.lower(), item) for key, item in zip(names, value) if _is_number(item))
    elif isinstance(value, list) or _is_number(value) or (isinstance(value, str) and time_column([name])):
        yield name, value


def _named(item: Any) -> Iterator[tuple[str, Any]]:
    """`{"name": "jawOpen", "value": 0.5}`, also in MediaPipe's words."""
    if isinstance(item, dict):
        lower = {key.lower(): value for key, value in item.items()}
        name = next((lower[key] for key in ("categoryname", "name", "key") if isinstance(lower.get(key), str)), None)
        number = next((lower[key] for key in ("score", "value", "weight") if _is_number(lower.get(key))), None)
        if name is not None and number is not None:
            yield name.lower(), number


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value) if _is_number(value) else ""


def _array(value: Any) -> np.ndarray | None:
    """Numbers of any shape, float64; None for anything else."""
    try:
        with np.errstate(all="ignore"):
            array = np.asarray(value, np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    return array if array.size and array.dtype.kind == "f" else None


def _column(values: list) -> np.ndarray | None:
    """One row per frame, NaN where a frame lacks the name or has another number of values."""
    whole = _array(values)  # of frames that are alike; a None among numbers becomes NaN
    if whole is not None and whole.size <= _MOST * len(values):
        return whole if whole.ndim == 1 else whole.reshape(len(values), -1)
    arrays = [None if value is None else _array(value) for value in values]
    first = next((array for array in arrays if array is not None), None)
    if first is None or first.size > _MOST:
        return None
    lost = np.full(first.size, np.nan)
    rows = [lost if array is None or array.size != first.size else array.reshape(-1) for array in arrays]
    return np.stack(rows)[:, 0] if first.ndim == 0 else np.stack(rows)


def _numbers_of(value: Any, name: str, depth: int) -> Iterator[tuple[str, np.ndarray]]:
    """Arrays of numbers outside the frames, by dotted name: rates, a head shape, a column for each name."""
    if isinstance(value, dict):
        for key, item in value.items() if depth else ():
            yield from _numbers_of(item, f"{name}.{key.lower()}" if name else key.lower(), depth - 1)
    elif _is_number(value) or (isinstance(value, list) and value and not isinstance(value[0], dict | str)):
        array = _array(value)
        if array is not None:
            yield name, array


def _matrix(top: dict[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
    """The columns of the one matrix that has as many as there are names."""
    found = [values for values in top.values() if values.ndim == 2 and values.shape[1] == len(names)]
    return {name.lower(): found[0][:, k] for k, name in enumerate(names)} if len(found) == 1 else {}


def _rate(top: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    rates = [values for name, values in top.items() if name.rpartition(".")[2] in _RATES and values.ndim == 0]
    return {"fps": rates[0]} if rates else {}
