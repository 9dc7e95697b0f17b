"""metrical-tracker and Pixel3DMM: a torch `.frame` file for each frame, rotations as 6 numbers (rows, as PyTorch3D).

metrical-tracker leaves the head in place and turns the camera: its `camera.R` is PyTorch3D's (row vectors, x to the
left, z into the picture), so the head's rotation, seen by a viewer with x to the right and z towards the viewer, is
diag(-1, 1, -1) R^T. Pixel3DMM turns the head (`flame.R`) and the neck, before a camera that stands still.
"""

from __future__ import annotations

import numpy as np

from utils.motion_file import FLAME_2020, FLAME_2023
from utils.trackers.content import Content
from utils.trackers.tracked import Format, Tracked, rows


def _column(content: Content, name: str, widths: tuple[int, ...] = ()) -> np.ndarray:
    return rows(content.columns[name], f"{content.path}: {name}", widths)


def read_metrical(content: Content) -> Tracked:
    """Raises UserError for arrays of other widths."""
    return Tracked(
        _column(content, "flame.exp"),
        _column(content, "camera.R", (6, 9)),
        _column(content, "flame.jaw", (6,)),
        None,
        content.first("flame.shape"),
        camera=True,
        head_model=FLAME_2020,
        dropped=tuple(name for name in ("flame.eyes", "flame.eyelids") if content.has(name)),
    )


def read_pixel3dmm(content: Content) -> Tracked:
    """Raises UserError for arrays of other widths. The folder's name says which FLAME it was."""
    is_2023 = any("FLAME23" in part for part in content.path.resolve().parts)
    return Tracked(
        _column(content, "flame.exp"),
        _column(content, "flame.R", (6, 9)),
        _column(content, "flame.jaw", (6,)),
        _column(content, "flame.neck", (6,)) if content.has("flame.neck") else None,
        content.first("flame.shape"),
        head_model=FLAME_2023 if is_2023 else FLAME_2020,
        dropped=tuple(name for name in ("flame.eyes", "flame.eyelids") if content.has(name)),
    )


METRICAL = Format("metrical", ".frame files with flame {exp, jaw (6), shape} and camera {R (6)}",
                  lambda content: content.has("flame.exp", "flame.jaw", "camera.R"), read_metrical)  # fmt: skip
PIXEL3DMM = Format("pixel3dmm", ".frame files with flame {exp, jaw (6), R (6), neck (6), shape}",
                   lambda content: content.has("flame.exp", "flame.jaw", "flame.R"), read_pixel3dmm)  # fmt: skip
