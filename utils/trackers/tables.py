"""Tables of blendshape weights in any dialect of csv: columns of numbers and the times of their rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from utils.errors import UserError
from utils.reports.wording import counted
from utils.trackers.timecodes import Clock, read_clock, time_column

MAX_COLUMNS = 2000
_MARKS = ",;\t"
_HEAD = 4096  # bytes by which a file of text is recognised


@dataclass(frozen=True)
class Table:
    """Columns by lower-case name; rows whose time does not increase are left out."""

    columns: dict[str, np.ndarray] = field(default_factory=dict)  # (T,) float64, or (T, n); empty cells are NaN
    times: np.ndarray | None = None  # (T,) seconds
    notes: tuple[str, ...] = ()


def decode_text(data: bytes) -> str | None:
    """UTF-8 or UTF-16 text; None for anything else, zip archives (npz) included, whose bytes can pass as UTF-16."""
    if data[:2] == b"PK":
        return None
    head = data[:_HEAD]
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    zeros = [head[start::2].count(0) > len(head) // 3 for start in (0, 1)]
    coding = "utf-16" if wide else "utf-16-be" if zeros[0] else "utf-16-le" if zeros[1] else "utf-8-sig"
    if coding == "utf-8-sig" and b"\0" in head:
        return None
    try:
        return data.decode(coding)
    except UnicodeDecodeError:
        return None


def parse_table(data: bytes, source: str) -> Table | None:
    """A table with a header row, whose cells are separated by commas, semicolons or tabs; None for other files.

    Raises:
        UserError: rows and header differ in length, or cells are not numbers.
    """
    text = decode_text(data)
    if text is None or not any(mark in text[: 16 * _HEAD] for mark in _MARKS):
        return None
    if text[:4].lower() == "sep=":  # a spreadsheet's own first line
        text = text.partition("\n")[2]
    head = next((line for line in text[: 16 * _HEAD].splitlines() if line.strip() and line[0] != "#"), "")
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(_MARKS, key=head.count))
        rows = [row for row in reader if any(cell.strip() for cell in row) and row[0][:1] != "#"]
    except csv.Error as error:
        raise UserError(f"{source}: not a readable table ({error}); export it again as csv") from error
    names = [name.strip().lower() for name in rows[0]] if rows else []
    while names and not names[-1]:
        names.pop()
    named = [name for name in names if name]
    if len(names) > MAX_COLUMNS or len(set(named)) != len(named) or len(rows) < 2:
        raise UserError(f"{source}: a table needs a header with a name for each column, and rows; export it again")
    rows, notes = _whole_rows(rows[1:], len(names), source)
    cells = {name: values for name, values in zip(names, zip(*rows)) if name}
    return make_table(cells, source, notes)


def _whole_rows(rows: list[list[str]], width: int, source: str) -> tuple[list[list[str]], tuple[str, ...]]:
    """Rows of `width` cells, without empty cells behind them and without a last row that was cut off; notes."""
    rows = [row[:width] if not any(cell.strip() for cell in row[width:]) else row for row in rows]
    rows = [row + [""] * (width - len(row)) if _is_lost(row) else row for row in rows]
    uneven = [i for i, row in enumerate(rows) if len(row) != width]
    cut = len(rows) > 1 and (uneven == [len(rows) - 1] or (not uneven and not _is_number(rows[-1][-1])))
    if uneven and not cut:
        count = len(rows[uneven[0]])
        raise UserError(f"{source}: row {uneven[0] + 2} has {count} cells, the header {width}; repair it")
    return (rows[:-1], ("the last row is cut off and left out",)) if cut else (rows, ())


def _is_lost(row: list[str]) -> bool:
    """Live Link Face counts 0 blendshapes where it sees no face, and writes none."""
    return len(row) > 1 and all(cell.strip() in ("", "0") for cell in row[1:])


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _number(cell: str) -> float:
    """A decimal comma counts as a point."""
    return float(cell if "." in cell else cell.replace(",", ".")) if cell.strip() else np.nan


def make_table(cells: Mapping[str, Sequence[str]], source: str, notes: tuple[str, ...] = ()) -> Table:
    """Columns of text -> numbers and times.

    Raises:
        UserError: cells that are not numbers, or times that cannot be read.
    """
    name = time_column(tuple(cells))
    clock = Clock(None) if name is None else read_clock(cells[name], f"{source}: column {name}")
    columns = {key: _numbers(values, f"{source}: column {key}") for key, values in cells.items() if key != name}
    return in_time(columns, clock, notes)


def _numbers(cells: Sequence[str], what: str) -> np.ndarray:
    try:
        return np.array([_number(cell) for cell in cells])
    except ValueError as error:
        raise UserError(f"{what}: {error}; a table of weights holds numbers only") from error


def in_time(columns: dict[str, np.ndarray], clock: Clock, notes: tuple[str, ...] = ()) -> Table:
    """The rows whose time, or number of a frame, is later than that of all rows before."""
    notes += clock.notes
    order = clock.frames if clock.seconds is None else clock.seconds
    if order is None:
        return Table(columns, None, notes)
    if clock.seconds is None:
        columns = {**columns, "frame": order}
    highest = np.fmax.accumulate(np.r_[-np.inf, order[:-1]])
    keep = np.isfinite(order) & (order > highest)
    dropped = int((~keep).sum())
    repeat = counted(dropped, "row repeats a time and is", "rows repeat a time and are")
    notes += (f"{repeat} left out",) if dropped else ()
    kept = {name: values[keep] if values.shape[:1] == keep.shape else values for name, values in columns.items()}
    return Table(kept, None if clock.seconds is None else clock.seconds[keep], notes)
