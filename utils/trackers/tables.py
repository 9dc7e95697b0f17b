"""Tables (csv) of blendshape weights: columns of numbers and the times of their rows."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass

import numpy as np

from utils.errors import UserError

MAX_COLUMNS = 2000
_SECONDS, _MILLISECONDS = ("time", "timestamp", "seconds", "timestamp_s"), ("timestamp_ms", "time_ms", "ms")
_TIMECODE = re.compile(r"(\d+):(\d+):(\d+):(\d+)(\.\d+)?")  # hours : minutes : seconds : frames . part of a frame
_RATES = (24, 25, 30, 60)  # frames per second that Live Link Face records at


@dataclass(frozen=True)
class Table:
    """Columns by lower-case name; rows whose time does not increase are left out."""

    columns: dict[str, np.ndarray]  # (T,) float64; empty cells are NaN
    times: np.ndarray | None  # (T,) seconds
    notes: tuple[str, ...]


def parse_table(data: bytes, source: str) -> Table | None:
    """A table with a header row; None if the bytes are not text with commas.

    Raises:
        UserError: rows and header differ in length, or cells are not numbers.
    """
    if b"\0" in data[:4096] or b"," not in data[:65536]:
        return None
    try:
        rows = [row for row in csv.reader(io.StringIO(data.decode("utf-8-sig"))) if row]
    except UnicodeDecodeError:
        return None
    except csv.Error as error:
        raise UserError(f"{source}: not a readable table ({error}); export it again as csv") from error
    names = [name.strip().lower() for name in rows[0]]
    if len(names) > MAX_COLUMNS or len(set(names)) != len(names) or len(rows) < 2:
        raise UserError(f"{source}: a table needs a header with a name for each column, and rows; export it again")
    uneven = next((i for i, row in enumerate(rows) if len(row) != len(names)), None)
    if uneven is not None:
        raise UserError(f"{source}: row {uneven + 1} has {len(rows[uneven])} cells, the header {len(names)}; repair it")
    cells = dict(zip(names, zip(*rows[1:])))
    codes = cells.pop("timecode", None)
    columns = {name: _numbers(values, f"{source}: column {name}") for name, values in cells.items()}
    times = _timecodes(codes, source) if codes else _times(columns)
    return _increasing(columns, times)


def _numbers(cells: tuple[str, ...], what: str) -> np.ndarray:
    try:
        return np.array([float(cell) if cell.strip() else np.nan for cell in cells])
    except ValueError as error:
        raise UserError(f"{what}: {error}; a table of weights holds numbers only") from error


def _times(columns: dict[str, np.ndarray]) -> np.ndarray | None:
    for names, scale in ((_SECONDS, 1.0), (_MILLISECONDS, 1e-3)):
        for name in names:
            if name in columns:
                return columns.pop(name) * scale
    return None


def _timecodes(codes: tuple[str, ...], source: str) -> np.ndarray:
    """HH:MM:SS:FF.sub -> seconds. The rate is the lowest usual one above every frame number of the file."""
    rows = []
    for code in codes:
        match = _TIMECODE.fullmatch(code.strip())
        if match is None:
            raise UserError(f"{source}: timecode {code[:30]!r} is not HH:MM:SS:FF; export it again")
        rows.append([float(x) for x in match.group(1, 2, 3, 4)] + [float(match[5] or 0)])
    parts = np.array(rows)
    rate = next((r for r in _RATES if parts[:, 3].max() < r), None)
    if rate is None:
        raise UserError(
            f"{source}: timecodes with {parts[:, 3].max():.0f} frames per second are not supported; export at 60"
        )
    times = parts[:, :3] @ [3600, 60, 1] + (parts[:, 3] + parts[:, 4]) / rate
    return times + 86400 * np.cumsum(np.diff(times, prepend=times[:1]) < -43200)  # over midnight


def _increasing(columns: dict[str, np.ndarray], times: np.ndarray | None) -> Table:
    if times is None:
        return Table(columns, None, ())
    highest = np.fmax.accumulate(np.r_[-np.inf, times[:-1]])
    keep = np.isfinite(times) & (times > highest)
    dropped = int((~keep).sum())
    notes = (f"{dropped} rows repeat a time and are left out",) if dropped else ()
    return Table({name: values[keep] for name, values in columns.items()}, times[keep], notes)
