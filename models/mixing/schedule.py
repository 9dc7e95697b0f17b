"""The mixer's values over time: json or csv, seconds -> values, linear between the rows.

seconds,happy,gain.head,eye_contact          [{"seconds": 0, "happy": 0.2},
0,0.2,1,                                      {"seconds": 1.5, "happy": 0.8, "gain": {"head": 0.5}}]
1.5,0.8,0.5,1
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.reading.array_file import read_bytes
from utils.reading.json_file import parse_json_value, read_lines

TIME = "seconds"
MAX_BYTES = 16 << 20


@dataclass(frozen=True)
class Curve:
    """One value over time."""

    seconds: np.ndarray  # (n,) increasing
    values: np.ndarray  # (n,)

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """(T,) linear between the rows, constant before the first and after the last."""
        return np.interp(seconds, self.seconds, self.values)


def read_schedule(path: Path) -> dict[str, Curve]:
    """Name -> curve; a row that lacks a name, or whose cell is empty, says nothing about it.

    Raises:
        UserError: unreadable, not such a table, or times that do not increase.
    """
    rows = _json_rows(path) if path.suffix.lower() == ".json" else _csv_rows(path)
    points: dict[str, list[tuple[float, float]]] = {}
    for number, row in enumerate(rows, start=1):
        if TIME not in row:
            raise UserError(f"{path}: row {number} has no {TIME!r}; every row needs its time")
        for name, value in row.items():
            points.setdefault(name, []).append((row[TIME], value))
    times = [time for time, _ in points.pop(TIME, [])]
    if not points or (np.diff(times) <= 0).any():
        reason = f"its {TIME} do not increase from row to row" if points else "holds no values"
        raise UserError(f"{path}: {reason}; docs/mixer.md shows a schedule")
    return {name: Curve(*np.array(pairs).T) for name, pairs in points.items()}


def _csv_rows(path: Path) -> list[dict[str, float]]:
    found = []
    for number, row in enumerate(csv.DictReader(read_lines(path), skipinitialspace=True), start=1):
        if None in row:
            raise UserError(f"{path}: row {number} has more cells than the heading; remove them")
        cells = {str(name).strip(): value for name, value in row.items() if value and value.strip()}
        found.append({name: _number(value, f"{path}: row {number}: {name}") for name, value in cells.items()})
    return found


def _json_rows(path: Path) -> list[dict[str, float]]:
    rows = parse_json_value(read_bytes(path, MAX_BYTES), str(path))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f'{path}: must be a list of objects, such as [{{"seconds": 0, "happy": 0.5}}]')
    found = []
    for number, row in enumerate(rows, start=1):
        flat: dict[str, object] = {}
        for name, value in row.items():
            flat |= {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
        found.append({name: _number(value, f"{path}: row {number}: {name}") for name, value in flat.items()})
    return found


def _number(value: object, what: str) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{what} is {value!r}; give a number")
    return number
