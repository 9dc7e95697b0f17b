"""A grid of settings, each scored into a folder of its own, and one table of them all."""

from __future__ import annotations

import csv
import io
import itertools
import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.metrics.catalogue import MAIN, METRICS
from models.metrics.output import cell, label
from models.metrics.suite import MODEL
from utils.atomic import write_text
from utils.errors import UserError
from utils.reading.json_file import read_json
from utils.reports.text_table import text_table

log = logging.getLogger(__name__)
RECORD = "point.json"  # beside a finished point's metrics.json: what it was scored with
_LONGEST = 200  # letters of a folder's name


@dataclass(frozen=True)
class Point:
    """One combination of values."""

    values: dict[str, Any]  # flag -> value

    @property
    def name(self) -> str:
        """Its folder: seed=0,steps=6."""
        return re.sub(r"[^\w.,=+-]", "_", ",".join(f"{name}={value}" for name, value in self.values.items()))

    @property
    def argv(self) -> list[str]:
        """Its values as flags."""
        shown = ([f"--{name}"] if value is True else [f"--{name}", str(value)] for name, value in self.values.items())
        return list(itertools.chain.from_iterable(shown))


def read_points(path: Path) -> list[Point]:
    """All combinations of the values in a file {flag: [values]}; a single value need not be a list.

    Raises:
        UserError: unreadable, no value, a value that is neither text, number nor true, or a combination twice.
    """
    grid = {name: value if isinstance(value, list) else [value] for name, value in read_json(path).items()}
    for name, values in grid.items():
        if not values or not all(value is True or type(value) in (str, int, float) for value in values):
            raise UserError(f"{path}: {name} is {values!r}; list the values that the flag shall have")
    points = [Point(dict(zip(grid, values))) for values in itertools.product(*grid.values())]
    names = {point.name for point in points}
    if not grid or len(names) < len(points) or max(map(len, names)) > _LONGEST:
        raise UserError(f"{path}: needs flags with different values, and fewer than {_LONGEST} letters for all of them")
    return points


def is_done(folder: Path, record: str) -> bool:
    """Whether a point has been scored.

    Raises:
        UserError: it has, but with other settings.
    """
    file = folder / RECORD
    if not file.is_file():
        return False
    before, now = read_json(file), json.loads(record)
    other = [key for key in now if before.get(key) != now[key]]
    if other:
        raise UserError(f"{folder}: was scored with another {', '.join(other)}; delete it, or give another --output")
    return True


def score_points(folder: Path, points: Sequence[Point], records: Sequence[str], score: Callable[[Point], None]) -> None:
    """Score the points that are not there yet into folders of `folder`.

    Args:
        records: for each point, JSON of all settings that its numbers depend on.
        score: scores a point into its folder.
    """
    left = [not is_done(folder / point.name, record) for point, record in zip(points, records)]
    log.info("%s: %d of %d points to score", folder, sum(left), len(points))
    for i, point in enumerate(points):
        if left[i]:
            log.info("point %d of %d: %s", i + 1, len(points), point.name)
            score(point)
            write_text(folder / point.name / RECORD, records[i])


def write_sweep(folder: Path, points: Sequence[Point]) -> str:
    """Write sweep.csv of points that are scored; the table of the main figures."""
    found = [read_json(folder / point.name / "metrics.json")["pooled"][MODEL] for point in points]
    write_text(folder / "sweep.csv", sweep_csv(points, found))
    head = [*points[0].values, *map(label, MAIN)]
    body = [[*map(str, point.values.values()), *(cell(one.get(name), METRICS[name]) for name in MAIN)]
            for point, one in zip(points, found)]  # fmt: skip
    return text_table([head, *body])


def sweep_csv(points: Sequence[Point], found: Sequence[dict[str, dict[str, Any]]]) -> str:
    """One line for each point: its values, then mean and standard deviation of every metric."""
    text, names = io.StringIO(), [name for name in METRICS if any(name in one for one in found)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*points[0].values, *(f"{name}{what}" for name in names for what in ("", "_std"))])
    for point, one in zip(points, found):
        numbers = (one.get(name, {}).get(key) for name in names for key in ("mean", "std"))
        writer.writerow([*point.values.values(), *("" if x is None else f"{x:.6g}" for x in numbers)])
    return text.getvalue()
