"""A grid of settings, each scored into a folder of its own, and one table of them all."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from models.metrics.catalogue import MAIN, METRICS
from models.metrics.output import cell, label
from models.metrics.suite import MODEL
from utils.atomic import write_text
from utils.errors import UserError
from utils.reading.json_file import read_json
from utils.reports.text_table import text_table
from utils.runs.grid import Point, flags_in, grid_csv, grid_rows

log = logging.getLogger(__name__)
RECORD = "point.json"  # beside a finished point's metrics.json: what it was scored with


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
    columns = {f"{name}{what}": (name, key) for name in METRICS if any(name in one for one in found)
               for what, key in (("", "mean"), ("_std", "std"))}  # fmt: skip
    numbers = [{column: one.get(name, {}).get(key) for column, (name, key) in columns.items()} for one in found]
    write_text(folder / "sweep.csv", grid_csv(points, list(columns), numbers))
    body = [[*row, *(cell(one.get(name), METRICS[name]) for name in MAIN)]
            for row, one in zip(grid_rows(points), found)]  # fmt: skip
    return text_table([[*flags_in(points), *map(label, MAIN)], *body])
