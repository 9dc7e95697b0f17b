"""csv files of Epic's Live Link Face app, as Unreal's Live Link Face Importer reads them.

Two columns, Timecode and BlendShapeCount (61), then 52 blend shapes in the app's order and 9 angles. The importer takes
the last field of a timecode, hh:mm:ss:frames, as frames of 1/60 s with a fraction, whatever the rate of the rows.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from utils.atomic import write_text
from utils.errors import UserError
from utils.exports.arkit import ANGLES, BLEND_SHAPES, ArkitTrack
from utils.reading.array_file import read_bytes

TIMECODE_RATE = 60
COLUMNS = tuple(name[0].upper() + name[1:] for name in BLEND_SHAPES + ANGLES)
HEADER = ("Timecode", "BlendShapeCount", *COLUMNS)
_MILLI = 1000
MAX_BYTES = 256 << 20  # 12 h of 60 rows a second


def timecode(seconds: float) -> str:
    """hh:mm:ss:ff.fff with ff.fff in 60ths of a second."""
    thousandths = round(seconds * TIMECODE_RATE * _MILLI)
    total, rest = divmod(thousandths, TIMECODE_RATE * _MILLI)
    frame, fraction = divmod(rest, _MILLI)
    return f"{total // 3600:02d}:{total // 60 % 60:02d}:{total % 60:02d}:{frame:02d}.{fraction:03d}"


def write_livelink(path: str | Path, track: ArkitTrack) -> None:
    """Write the csv.

    Raises:
        UserError: the path cannot be written.
    """
    values = np.concatenate([track.weights, track.angles], axis=1)
    lines = [",".join(HEADER)]
    for i, row in enumerate(values.tolist()):
        numbers = ",".join(f"{value:.6f}" for value in row)
        lines.append(f"{timecode(i / track.fps)},{len(COLUMNS)},{numbers}")
    write_text(path, "\n".join(lines) + "\n", encoding="ascii")


def read_livelink(path: str | Path) -> ArkitTrack:
    """Read a csv of the app (or ours); columns are found by name, in any case and order.

    Raises:
        UserError: no such file, missing columns, or values that are not numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; check the path")
    try:
        text = read_bytes(path, MAX_BYTES).decode("utf-8-sig", "replace")
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except csv.Error as error:
        raise UserError(f"{path}: not a readable table ({error}); export it again") from error
    names = [name.strip().lower() for name in rows[0]] if rows else []
    missing = [name for name in HEADER if name.lower() not in names and name != "BlendShapeCount"]
    if missing or len(rows) < 2:
        what = f"lacks {', '.join(missing[:4])}" if missing else "has no frames"
        raise UserError(f"{path}: {what}; give a csv of the Live Link Face app")
    try:
        table = np.array(
            [[float(row[names.index(name.lower())]) for name in COLUMNS] for row in rows[1:]], dtype=np.float32
        )
        seconds = [_seconds(row[names.index("timecode")]) for row in rows[1:]]
        if not (np.isfinite(table).all() and np.isfinite(seconds).all()):
            raise ValueError("numbers must be finite")
    except (ValueError, IndexError, OverflowError) as error:
        raise UserError(f"{path}: a row is not readable ({error}); export it again") from error
    span = seconds[-1] - seconds[0]
    fps = (len(seconds) - 1) / span if span > 0 else float(TIMECODE_RATE)
    if not 0.1 <= fps <= 10_000:
        raise UserError(f"{path}: its timecodes mean {fps:.3g} frames per second; export it again")
    return ArkitTrack(table[:, : len(BLEND_SHAPES)], table[:, len(BLEND_SHAPES) :], fps)


def _seconds(text: str) -> float:
    hours, minutes, seconds, frames = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(frames) / TIMECODE_RATE
