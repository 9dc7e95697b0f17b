"""csv files of Epic's Live Link Face app, as Unreal's Live Link Face Importer reads them.

Two columns, Timecode and BlendShapeCount (61), then 52 blend shapes in the app's order and 9 angles. The importer takes
the last field of a timecode, hh:mm:ss:frames, as frames of 1/60 s with a fraction, whatever the rate of the rows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from utils.atomic import write_text
from utils.exports.arkit import ANGLES, BLEND_SHAPES, ArkitTrack

TIMECODE_RATE = 60
COLUMNS = tuple(name[0].upper() + name[1:] for name in BLEND_SHAPES + ANGLES)
HEADER = ("Timecode", "BlendShapeCount", *COLUMNS)
_MILLI = 1000


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
