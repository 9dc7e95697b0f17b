"""OpenFace's csv of action units (intensities 0 to 5) and head pose -> the open head.

Each action unit drives the ARKit shapes of the same muscles. OpenFace's axes are the picture's: x to the right, y down,
z away from the camera, R = Rx Ry Rz in radians.
"""

from __future__ import annotations

import numpy as np

from utils.heads.joints import JAW_OPEN_RADIANS
from utils.motion_file import OPEN_HEAD
from utils.trackers.arkit import unit_names
from utils.trackers.content import Content
from utils.trackers.tracked import Format, Tracked

FULL = 5.0  # the largest intensity
_JAW = "au26_r"
UNITS = {
    "au01_r": ("browInnerUp",), "au02_r": ("browOuterUpLeft", "browOuterUpRight"),
    "au04_r": ("browDownLeft", "browDownRight"), "au05_r": ("eyeWideLeft", "eyeWideRight"),
    "au06_r": ("cheekSquintLeft", "cheekSquintRight"), "au07_r": ("eyeSquintLeft", "eyeSquintRight"),
    "au09_r": ("noseSneerLeft", "noseSneerRight"), "au10_r": ("mouthUpperUpLeft", "mouthUpperUpRight"),
    "au12_r": ("mouthSmileLeft", "mouthSmileRight"), "au14_r": ("mouthDimpleLeft", "mouthDimpleRight"),
    "au15_r": ("mouthFrownLeft", "mouthFrownRight"), "au17_r": ("mouthShrugLower",),
    "au20_r": ("mouthStretchLeft", "mouthStretchRight"), "au23_r": ("mouthPressLeft", "mouthPressRight"),
    "au25_r": ("mouthLowerDownLeft", "mouthLowerDownRight"), "au45_r": ("eyeBlinkLeft", "eyeBlinkRight"),
}  # fmt: skip


def _matches(content: Content) -> bool:
    return content.has("au12_r", _JAW) and content.suffix == ".csv"


def read(content: Content) -> Tracked:
    """Frames without success are lost."""
    jaw = content.columns[_JAW] / FULL
    exp = np.zeros((len(jaw), len(unit_names())))
    for unit, shapes in UNITS.items():
        for shape in shapes if content.has(unit) else ():
            exp[:, unit_names().index(shape.lower())] = content.columns[unit] / FULL
    turns = [content.columns.get(f"pose_r{axis}", np.zeros(len(jaw))) for axis in "xyz"]
    head = np.stack(turns, axis=1) * [1, -1, -1]  # y up, z towards the camera
    found = content.columns.get("success")
    head[np.zeros(len(jaw), bool) if found is None else found == 0] = np.nan
    opened = np.stack([JAW_OPEN_RADIANS * jaw, 0 * jaw, 0 * jaw], axis=1)
    notes = ("17 action units move 28 of the open head's shapes; the lips' own shapes stay at rest",)
    return Tracked(exp, head, opened, notation="euler_XYZ", own_jaw="axis_angle", head_model=OPEN_HEAD, notes=notes)


OPENFACE = Format("openface", "a csv with columns AU01_r ... AU45_r, pose_Rx, pose_Ry, pose_Rz", _matches, read)
