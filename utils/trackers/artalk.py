"""ARTalk: one array of 106 numbers a frame: 100 expressions, global rotation and jaw as axis-angle; 25 fps."""

from __future__ import annotations

import numpy as np

from utils.motion_file import FLAME_2020
from utils.trackers.content import Content
from utils.trackers.tracked import Format, Tracked, rows

WIDTH = 106


def _array(content: Content) -> np.ndarray | None:
    found = [v for v in content.columns.values() if v.ndim >= 2 and v.shape[-1] == WIDTH]
    return found[0] if len(found) == 1 else None


def read(content: Content) -> Tracked:
    """Raises UserError for an array without frames."""
    values = rows(_array(content), f"{content.path}", (WIDTH,))
    shape = content.first("shape", "shape_code", "shapecode")
    return Tracked(values[:, :100], values[:, 100:103], values[:, 103:], None, shape, head_model=FLAME_2020)


ARTALK = Format("artalk", "one array (T, 106): expressions 100, global rotation 3, jaw 3",
                lambda content: _array(content) is not None, read)  # fmt: skip
