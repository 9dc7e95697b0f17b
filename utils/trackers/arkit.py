"""Tables of ARKit blendshapes (Live Link Face, MediaPipe's Face Landmarker) -> the open head's 50 units and jaw.

The open head's units are ARKit's without jawOpen, which is the jaw's rotation, and tongueOut, which it does not have.
The head's angles: yaw about y (to the speaker's left), pitch about x (down) and roll about z, turned in this order;
Live Link Face says neither its unit nor its signs, so they can be chosen (`unit`, `flip`).
"""

from __future__ import annotations

import functools

import numpy as np

from utils.errors import UserError
from utils.heads.head_file import load_head_file
from utils.heads.joints import JAW_OPEN_RADIANS
from utils.motion_file import OPEN_HEAD
from utils.trackers.content import Content
from utils.trackers.tracked import Format, Tracked

_ENOUGH = 10  # columns with known names that make a table one of blendshapes
_ANGLES = ("yaw", "pitch", "roll")


@functools.cache
def unit_names() -> tuple[str, ...]:
    """The open head's expressions in lower case."""
    return tuple(name.lower() for name in load_head_file().exp_names or ())


def _known(content: Content) -> list[str]:
    return [name for name in unit_names() if name in content.columns]


def _is_table(content: Content) -> bool:
    return content.suffix == ".csv" and len(_known(content)) >= _ENOUGH


def _is_live_link(content: Content) -> bool:
    return _is_table(content) and content.has("blendshapecount")


def read(content: Content) -> Tracked:
    """Missing units count as 0 and are named in the notes. Raises UserError without jawOpen."""
    if not content.has("jawopen"):
        raise UserError(f"{content.path}: has no column jawOpen; export all blendshapes")
    n_frames = len(content.columns["jawopen"])
    missing = [name for name in unit_names() if name not in content.columns]
    zeros = np.zeros(n_frames)
    exp = np.stack([content.columns.get(name, zeros) for name in unit_names()], axis=1)
    jaw = np.stack([JAW_OPEN_RADIANS * content.columns["jawopen"], zeros, zeros], axis=1)
    head, notation, note = _head(content, n_frames)
    notes = (note,) if note else ()
    if missing:
        notes += (f"{len(missing)} units are not in the table and stay at rest: {', '.join(missing[:6])}",)
    return Tracked(exp, head, jaw, notation=notation, own_jaw="axis_angle", head_model=OPEN_HEAD, notes=notes)


def _head(content: Content, n_frames: int) -> tuple[np.ndarray, str, str]:
    """Rotation columns with their notation and a note."""
    for start in ("head", ""):
        names = [start + name for name in _ANGLES]
        if content.has(*names):
            values = np.stack([content.columns[name] for name in names], axis=1)
            return values, "euler_YXZ", "head angles taken as radians, yaw to the left and pitch down positive"
    matrix = [f"m{row}{column}" for row in range(3) for column in range(3)]
    if content.has(*matrix):
        return np.stack([content.columns[name] for name in matrix], axis=1), "matrix", ""
    return np.zeros((n_frames, 3)), "axis_angle", "no head angles in the table: the head stays still"


_NEEDS = "a csv with columns jawOpen, mouthClose, eyeBlinkLeft, ... and perhaps time or timestamp_ms"
LIVE_LINK = Format("livelink", "a csv with columns Timecode, BlendShapeCount, EyeBlinkLeft, ..., HeadYaw",
                   _is_live_link, read)  # fmt: skip
MEDIAPIPE = Format("mediapipe", f"{_NEEDS}, and yaw, pitch, roll or m00 to m22", _is_table, read)
