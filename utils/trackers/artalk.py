"""ARTalk: one array of 106 numbers a frame: 100 expressions, global rotation and jaw as axis-angle; 25 fps.

Of 108 numbers the last two are eyelids.
"""

from __future__ import annotations

import numpy as np

from utils.motion_file import FLAME_2020
from utils.trackers.content import Content
from utils.trackers.tracked import Format, Tracked, rows

WIDTHS = (106, 108)


def _array(content: Content) -> np.ndarray | None:
    found = [v for v in content.columns.values() if v.ndim >= 2 and v.shape[-1] in WIDTHS]
    return found[0] if len(found) == 1 else None


def read(content: Content) -> Tracked:
    """Raises UserError for an array without frames."""
    values = rows(_array(content), f"{content.path}", WIDTHS)
    shape = content.first("shape", "shape_code", "shapecode")
    eyelids = ("eyelids",) if values.shape[1] > WIDTHS[0] else ()
    return Tracked(values[:, :100], values[:, 100:103], values[:, 103:106], None, shape, head_model=FLAME_2020,
                   dropped=eyelids)  # fmt: skip


ARTALK = Format("artalk", "one array (T, 106 or 108): expressions 100, global rotation 3, jaw 3, perhaps eyelids 2",
                lambda content: _array(content) is not None, read)  # fmt: skip
