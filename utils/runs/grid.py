"""Settings to try, from a file, and the table of what they gave: sweeps of evaluate.py, ablations of training."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.reading.array_file import read_bytes
from utils.reading.json_file import parse_json_value

_LONGEST = 200  # letters of a folder's name
_BASE = "base"  # the point that changes nothing


@dataclass(frozen=True)
class Point:
    """One combination of values."""

    values: dict[str, Any]  # flag -> value

    @property
    def name(self) -> str:
        """Its folder: seed=0,steps=6."""
        pairs = ",".join(f"{name}={value}" for name, value in self.values.items())
        return re.sub(r"[^\w.,=+-]", "_", pairs) or _BASE

    @property
    def argv(self) -> list[str]:
        """Its values as flags."""
        shown = ([f"--{name}"] if value is True else [f"--{name}", str(value)] for name, value in self.values.items())
        return list(itertools.chain.from_iterable(shown))


def read_points(path: Path) -> list[Point]:
    """All combinations of the values in a file {flag: [values]}, or the points of a list [{flag: value}, {}].

    A single value need not be a list.

    Raises:
        UserError: unreadable, no value, a value that is neither text, number nor true, or a combination twice.
    """
    content = parse_json_value(read_bytes(path), str(path))
    grids = content if isinstance(content, list) else [content]
    if not all(isinstance(grid, dict) for grid in grids):
        raise UserError(f"{path}: must be an object {{flag: [values]}}, or a list of such objects")
    points = [point for grid in grids for point in _combinations(grid, path)]
    names = {point.name for point in points}
    if not flags_in(points) or len(names) < len(points) or max(map(len, names)) > _LONGEST:
        raise UserError(f"{path}: needs flags with different values, and fewer than {_LONGEST} letters for all of them")
    return points


def _combinations(grid: dict[str, Any], path: Path) -> list[Point]:
    lists = {name: value if isinstance(value, list) else [value] for name, value in grid.items()}
    for name, values in lists.items():
        if not values or not all(value is True or type(value) in (str, int, float) for value in values):
            raise UserError(f"{path}: {name} is {values!r}; list the values that the flag shall have")
    return [Point(dict(zip(lists, values))) for values in itertools.product(*lists.values())]


def flags_in(points: Sequence[Point]) -> list[str]:
    """The flags of all points, which head the first columns of a table."""
    return list(dict.fromkeys(name for point in points for name in point.values))


def grid_rows(points: Sequence[Point]) -> list[list[str]]:
    """For each point, the cells of these columns."""
    return [[str(point.values.get(name, "-")) for name in flags_in(points)] for point in points]


def grid_csv(points: Sequence[Point], columns: Sequence[str], found: Sequence[Mapping[str, float | None]]) -> str:
    """One line for each point: its values, then the columns of what was found."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*flags_in(points), *columns])
    for point, one in zip(points, found):
        numbers = (one.get(name) for name in columns)
        values = (point.values.get(name, "") for name in flags_in(points))
        writer.writerow([*values, *("" if x is None else f"{x:.6g}" for x in numbers)])
    return text.getvalue()
