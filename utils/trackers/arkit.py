"""Tables of ARKit blendshapes (Live Link Face, MediaPipe, Audio2Face, phone apps) -> the open head's 50 units and jaw.

The open head's units are ARKit's without jawOpen, which is the jaw's rotation, and tongueOut, which it does not have.
The head's angles: yaw about y (to the speaker's left), pitch about x (down) and roll about z, turned in this order;
Live Link Face does not document its signs, so they can be chosen (`flip`). Units are recognised by their values.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.exports.arkit import ANGLES, BLEND_SHAPES, ArkitTrack, arkit_name, yaw_pitch_roll
from utils.heads.head_file import load_head_file
from utils.heads.joints import JAW_OPEN_RADIANS
from utils.motion_file import OPEN_HEAD
from utils.reports.wording import counted
from utils.rotations import parse_rotations, resample_values
from utils.trackers.audio2face import shapes_of_poses
from utils.trackers.content import Content, load_content
from utils.trackers.tracked import HUGE, Format, Tracked, frame_times

log = logging.getLogger(__name__)
_ENOUGH = 10  # columns with known names that make a table one of blendshapes
_ANGLES = ("yaw", "pitch", "roll")
_STARTS = ("head", "headrotation", "headpose", "headrot", "headorientation", "headquaternion", "headeuler",
           "headeulerangles", "headtransform", "headmatrix", "rotation", "pose", "quaternion", "rot", "q", "headq",
           "euler", "eulerangles", "transform", "matrix", "facialtransformationmatrix", "facialtransformationmatrixes",
           "")  # fmt: skip
_MATRIX = tuple(f"m{row}{column}" for row in range(3) for column in range(3))
# A weight of 1 is full, and few apps go beyond 1.5; a percentage is above 5 in nearly every frame.
_PERCENT, _TOO_LARGE = 5.0, 500.0
_RADIANS = 1.3  # no head is turned by 75 degrees in every 20th frame, and every head moves by 1.3 degrees


@functools.cache
def unit_names() -> tuple[str, ...]:
    """The open head's expressions in lower case."""
    return tuple(name.lower() for name in load_head_file().exp_names or ())


def blend_shapes(content: Content) -> dict[str, np.ndarray]:
    """Columns (T,) by the lower-case name of an ARKit shape; of two columns for one shape the first.

    Without enough of them, older Audio2Face's poses as shapes.
    """
    found: dict[str, np.ndarray] = {}
    for name, values in content.columns.items():
        shape = arkit_name(name) if values.ndim == 1 else None
        if shape is not None:
            found.setdefault(shape.lower(), values)
    return found if len(found) >= _ENOUGH else shapes_of_poses(content.columns) or found


def _is_table(content: Content) -> bool:
    return content.suffix == ".csv" and len(blend_shapes(content)) >= _ENOUGH


def _is_live_link(content: Content) -> bool:
    return content.has("blendshapecount") and _is_table(content)


def _is_mediapipe(content: Content) -> bool:
    plain = content.path.suffix.lower() != ".json" and not any("." in name for name in content.columns)
    return plain and _is_table(content)


def read(content: Content) -> Tracked:
    """Missing units count as 0 and are named in the notes. Raises UserError without jawOpen."""
    shapes, notes = _weights(content)
    zeros = np.zeros(len(shapes["jawopen"]))
    missing = [name for name in unit_names() if name not in shapes]
    exp = np.stack([shapes.get(name, zeros) for name in unit_names()], axis=1)
    jaw = np.stack([JAW_OPEN_RADIANS * shapes["jawopen"], zeros, zeros], axis=1)
    head, notation, note = _head(content, len(zeros))
    notes += (note,) if note else ()
    if missing:
        lack = counted(len(missing), "unit is not in the table and stays", "units are not in the table and stay")
        notes += (f"{lack} at rest: {', '.join(missing[:6])}",)
    return Tracked(exp, head, jaw, notation=notation, own_jaw="axis_angle", head_model=OPEN_HEAD, notes=notes)


def _weights(content: Content) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The shapes' columns in 0..1, whatever the file counts in; notes.

    Raises:
        UserError: without jawOpen, of different lengths, or with numbers that are neither weights nor percentages.
    """
    shapes = blend_shapes(content)
    if content.has("jaw_rx") and "jawopen" not in shapes:  # our own csv
        shapes["jawopen"] = content.columns["jaw_rx"] / JAW_OPEN_RADIANS
    if "jawopen" not in shapes:
        raise UserError(f"{content.path}: has no column jawOpen; export all blendshapes")
    if len({len(values) for values in shapes.values()}) != 1 or not len(shapes["jawopen"]):
        raise UserError(f"{content.path}: its blendshapes differ in length, or have no frames; export it again")
    largest = np.fmax.reduce([np.abs(values) for values in shapes.values()])
    largest = largest[np.isfinite(largest)]
    high = float(np.quantile(largest, 0.9)) if largest.size else 0.0
    if high > _TOO_LARGE:
        raise UserError(f"{content.path}: holds weights of {high:.3g}, neither 0 to 1 nor percent; export it again")
    if high <= _PERCENT:
        return shapes, ()
    return {name: values / 100 for name, values in shapes.items()}, ("weights are taken as percent",)


def _plain(name: str) -> str:
    """`head_rotation.w` -> headrotationw, and `head.HeadYaw` -> headyaw."""
    last = name.rpartition(".")[2]
    name = last if last.startswith("head") else name
    return "".join(filter(str.isalnum, name))


def _head(content: Content, n_frames: int) -> tuple[np.ndarray, str, str]:
    """The head's rotation with its notation and a note."""
    plain = {_plain(name): values for name, values in reversed(content.columns.items())}

    def stacked(start: str, ends: tuple[str, ...]) -> np.ndarray | None:
        found = [plain.get(start + end) for end in ends]
        given = [values for values in found if values is not None and values.shape == (n_frames,)]
        return np.stack(given, axis=1) if len(given) == len(ends) else None

    for start in _STARTS:
        if (angles := stacked(start, _ANGLES)) is not None:
            return _in_radians(angles, "euler_YXZ", "yaw to the left and pitch down positive")
        if (quaternion := stacked(start, ("x", "y", "z", "w"))) is not None:
            return quaternion, "quaternion", ""
    if (matrix := stacked("", _MATRIX)) is not None:
        return matrix, "matrix", ""
    for start in _STARTS[:-1]:
        values = plain.get(start)
        for ends in (("x", "y", "z"), ("rx", "ry", "rz")):
            values = stacked(start, ends) if values is None else values
        if values is not None and values.ndim == 2 and len(values) == n_frames and values.shape[1] in (3, 4, 9, 16):
            return _vector(values)
    return np.zeros((n_frames, 3)), "axis_angle", ""


def _vector(values: np.ndarray) -> tuple[np.ndarray, str, str]:
    """A list of 3 (about x, y and z), 4 (quaternion x y z w), 9 or 16 numbers (matrix, in rows or in columns)."""
    if values.shape[1] == 3:
        return _in_radians(values, "axis_angle", "about x (down), y (to the left) and z")
    if values.shape[1] == 16:
        square = values.reshape(-1, 4, 4)
        square = square if np.abs(square[:, 3, :3]).sum() <= np.abs(square[:, :3, 3]).sum() else square.swapaxes(1, 2)
        values = square[:, :3, :3].reshape(-1, 9)
    return values, "auto", ""


def _in_radians(angles: np.ndarray, notation: str, signs: str) -> tuple[np.ndarray, str, str]:
    """Angles with their notation in radians or degrees, by their size."""
    largest = np.abs(angles).max(axis=1)
    largest = largest[np.isfinite(largest)]
    degrees = largest.size > 0 and np.quantile(largest, 0.95) > _RADIANS
    unit = "degrees" if degrees else "radians"
    return angles, notation + "_degrees" * bool(degrees), f"head angles taken as {unit}, {signs}"


def read_track(path: str | Path, fps: float | None = None) -> ArkitTrack:
    """All 52 weights and the head's angles at the times of their rows; lost rows are interpolated. A given rate
    overrides the file's times. What was assumed about units is logged.

    Raises:
        UserError: unreadable, or not a table of ARKit blendshapes.
    """
    content = load_content(path)
    if not _is_table(content):
        raise UserError(f"{path}: holds no ARKit blend shapes ({content.describe()}); give a csv of the Live Link Face "
                        "app, or another file of them (docs/data.md)")  # fmt: skip
    shapes, notes = _weights(content)
    zeros = np.zeros(len(shapes["jawopen"]))
    times, more = frame_times(content, len(zeros), fps)
    values, notation, about_head = _head(content, len(zeros))
    for note in filter(None, (*content.notes, *notes, *more, about_head)):
        log.info("%s: %s", path, note)
    eyes = [content.columns.get(name.lower(), zeros) for name in ANGLES[3:]]
    columns = np.stack([*(shapes.get(name.lower(), zeros) for name in BLEND_SHAPES), *eyes], axis=1)
    numbers = np.concatenate([columns, values], axis=1)
    known = np.isfinite(numbers).all(axis=1)
    if not known.any() or np.abs(numbers[known]).max() > HUGE:
        raise UserError(f"{path}: holds no whole frame of plausible numbers; export it again")
    turns = parse_rotations(values[known], notation, f"{path}: head")
    angles = np.unwrap(yaw_pitch_roll(turns), axis=0)
    rows = resample_values(times[known], np.concatenate([columns[known], angles], axis=1), times).astype(np.float32)
    n = len(BLEND_SHAPES)
    fps = 1 / max(float(np.median(np.diff(times))), 1e-3) if len(times) > 1 else 60.0
    return ArkitTrack(rows[:, :n], np.concatenate([rows[:, -3:], rows[:, n:-3]], axis=1), fps, times)


_NEEDS = "a csv with columns jawOpen, mouthClose, eyeBlinkLeft, ... and perhaps time or timestamp_ms"
LIVE_LINK = Format("livelink", "a csv with columns Timecode, BlendShapeCount, EyeBlinkLeft, ..., HeadYaw",
                   _is_live_link, read)  # fmt: skip
MEDIAPIPE = Format("mediapipe", f"{_NEEDS}, and yaw, pitch, roll or m00 to m22", _is_mediapipe, read)
ARKIT = Format("arkit", "json of ARKit blendshapes, or Audio2Face's json or csv", _is_table, read)
