"""A tracker's coefficients -> our motion: 25 fps, 50 expressions, one head rotation, a jaw that only opens.

The head's rotation is global * neck, a product of rotations. FLAME turns the head about the neck joint first, then
about the root. Here it turns about the root only: the orientation is right, but the head is displaced by
(I - R_neck) * (neck joint - root), about 1 mm per degree.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from utils.coefs import N_EXP, N_SHAPE
from utils.errors import UserError
from utils.motion_file import FLAME_2020, FLAME_2023, OPEN_HEAD, STILL, Motion, doubts
from utils.reports.wording import counted
from utils.rotations import axis_angle, parse_rotations, resample_rotations, resample_values
from utils.timebase import FPS
from utils.trackers.content import Content, load_content
from utils.trackers.formats import read_shape, read_tracked
from utils.trackers.tracked import HUGE, Tracked, as_float, frame_times

MAX_LOST, _LONG_GAP = 0.3, 0.5  # largest accepted share of lost frames; seconds of a gap that is worth a warning
_VIEWER = Rotation.from_matrix(np.diag([-1.0, 1.0, -1.0]))  # PyTorch3D's camera axes -> x right, y up, z to the viewer


@dataclass(frozen=True)
class ImportOptions:
    """What a file does not say about itself."""

    format: str = "auto"
    fps: float | None = None  # of the tracked video; None: as the file says, else 25
    notation: str = "auto"  # of rotations, see utils.rotations
    head_model: str | None = None
    full_jaw: bool = False  # keep the jaw's sideways rotations
    flip: tuple[int, ...] = ()  # axes (0 to 2) of Euler angles whose sign is reversed


@dataclass(frozen=True)
class Imported:
    """A motion, and notes on what was guessed, changed or left out."""

    motion: Motion
    format: str
    notes: tuple[str, ...]


def import_shape(path: str | Path) -> np.ndarray:
    """Head shape (100,) float32 of a file: MICA's identity, or the shape beside a motion.

    Raises:
        UserError: the file holds none.
    """
    content = load_content(path)
    values = read_shape(content)
    shape, _ = _shape(read_tracked(content)[1].shape if values is None else values, str(path))
    if shape is None:
        raise UserError(f"{path}: holds no head shape (found: {content.describe()}); give MICA's identity")
    return shape


def from_content(content: Content, options: ImportOptions) -> Imported:
    """The output of any known tracker, or one of our own files -> a motion.

    Raises:
        UserError: unknown or damaged content; see `utils.trackers`.
    """
    fmt, tracked = read_tracked(content, options.format)
    source = str(content.path)
    times, notes = frame_times(content, len(tracked.exp), options.fps, tracked.fps)
    keep, lost_notes = _tracked_frames(tracked, times, source)
    times, notes = times[keep], [*content.notes, *tracked.notes, *notes, *lost_notes]
    head, jaw = _rotations(tracked, keep, options, source)
    exp, exp_notes = _expressions(tracked.exp[keep])
    new_times = _output_times(times)
    head, jaw = (resample_rotations(times, rotation, new_times) for rotation in (head, jaw))
    jaw_angles, jaw_notes = (axis_angle(jaw), []) if options.full_jaw else opening(jaw)
    shape, shape_notes = _shape(tracked.shape, source)
    model = options.head_model or tracked.head_model
    pose = np.concatenate([axis_angle(head), jaw_angles], axis=1)
    exp = resample_values(times, exp, new_times).astype(np.float32)
    notes += [*exp_notes, *jaw_notes, *shape_notes, *_about_head(model, head, tracked)]
    motion = Motion(exp, pose.astype(np.float32), shape, source, model)
    return Imported(motion, fmt.name, (*notes, *doubts(motion)))


def _tracked_frames(tracked: Tracked, times: np.ndarray, source: str) -> tuple[np.ndarray, list[str]]:
    """Frames without NaN (bool (T,)), and notes on the gaps, which interpolation fills."""
    columns = [x for x in (tracked.exp, tracked.head, tracked.jaw, tracked.neck) if x is not None]
    if len({len(x) for x in columns}) != 1:
        lengths = ", ".join(str(len(x)) for x in columns)
        raise UserError(f"{source}: expressions and rotations differ in length ({lengths} frames); track again")
    finite = np.all([np.isfinite(x).all(axis=1) for x in columns], axis=0)
    if finite.mean() < 1 - MAX_LOST:
        raise UserError(f"{source}: {(~finite).sum()} of {len(finite)} frames are lost (NaN or infinite); track again")
    huge = max(np.abs(x[finite]).max() for x in columns)
    if huge > HUGE:
        raise UserError(f"{source}: holds numbers as large as {huge:.3g}; these are not coefficients")
    lost = int((~finite).sum())
    notes = [f"{counted(lost, 'lost frame (NaN) is', 'lost frames (NaN) are')} interpolated"] if lost else []
    gaps = np.diff(times[finite])
    step = np.median(gaps) if len(gaps) else 0
    missing = (int(np.round(gaps / step - 1).sum()) if step else 0) - lost
    if missing > 0:
        notes.append(f"{counted(missing, 'frame is', 'frames are')} missing and interpolated")
    if len(gaps) and gaps.max() > max(_LONG_GAP, 3 * step):
        notes.append(f"the longest gap is {gaps.max():.1f} s: cut the clip there before training on it")
    return finite, notes


def _rotations(tracked: Tracked, keep: np.ndarray, options: ImportOptions, source: str) -> tuple[Rotation, Rotation]:
    """Head (neck included) and jaw."""
    notation = tracked.notation if options.notation == "auto" else options.notation
    head = tracked.head[keep].copy()
    for axis in options.flip:
        head[:, axis] *= -1
    rotation = parse_rotations(head, notation, f"{source}: head")
    if tracked.camera:
        rotation = _VIEWER * rotation.inv()
    if tracked.neck is not None:
        rotation = rotation * parse_rotations(tracked.neck[keep], notation, f"{source}: neck")
    return rotation, parse_rotations(tracked.jaw[keep], tracked.own_jaw or notation, f"{source}: jaw")


def _output_times(times: np.ndarray) -> np.ndarray:
    """Times at 25 fps over the tracked range: the tracked ones themselves if they are at 25 fps."""
    return times[0] + np.arange(int(np.floor((times[-1] - times[0]) * FPS + 1e-6)) + 1) / FPS


def _expressions(exp: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The first 50. Missing ones are 0, which is exact: the components come in order of their strength."""
    width = exp.shape[1]
    if width < N_EXP:
        return np.pad(exp, {1: (0, N_EXP - width)}), [f"{width} expressions, filled up to {N_EXP} with zeros"]
    if width == N_EXP:
        return exp, []
    lost = (exp[:, N_EXP:] ** 2).sum() / max((exp**2).sum(), 1e-12)
    return exp[:, :N_EXP], [f"{width - N_EXP} of {width} expressions left out: {100 * lost:.1f} % of their squares"]


def opening(jaw: Rotation) -> tuple[np.ndarray, list[str]]:
    """Jaw rotation about x only, as the published data have it: Euler angles y and z set to 0."""
    angles = jaw.as_euler("XYZ")
    kept = np.zeros((len(angles), 3), np.float32)
    kept[:, 0] = angles[:, 0]
    sideways = np.degrees((Rotation.from_rotvec(kept).inv() * jaw).magnitude())
    if sideways.max() < 0.01:
        return kept, []
    return kept, [f"jaw reduced to its opening: {sideways.mean():.2f} degrees left out on average, at most "
                  f"{sideways.max():.1f}"]  # fmt: skip


def _shape(values: np.ndarray | None, source: str) -> tuple[np.ndarray | None, list[str]]:
    """(100,): the mean over the frames if it is estimated for each of them."""
    if values is None or not values.size:
        return None, []
    shape = np.atleast_1d(as_float(values))
    shape = shape.reshape(-1, shape.shape[-1])
    shape = shape[np.isfinite(shape).all(axis=1)]
    if not len(shape) or shape.shape[1] < N_SHAPE or np.abs(shape).max() > HUGE:
        raise UserError(f"{source}: shape is {values.shape}, not {N_SHAPE} or more plausible numbers; leave it out")
    varied = float(shape.std(axis=0).max())
    notes = (
        [f"the shape differs from frame to frame (by up to {varied:.2f}): their mean is used"] if varied > 1e-4 else []
    )
    mean = shape.mean(axis=0) if varied > 1e-4 else shape[0]
    return mean[:N_SHAPE].astype(np.float32), notes


def _about_head(model: str, head: Rotation, tracked: Tracked) -> list[str]:
    """Warnings on another head model, a head that looks away, and parts that were dropped."""
    notes = [f"left out: {', '.join(tracked.dropped)}"] if tracked.dropped else []
    if model == FLAME_2023:
        notes.append("FLAME 2023: its expressions are not FLAME 2020's, which published models were trained on")
    elif model not in (FLAME_2020, OPEN_HEAD):
        notes.append(
            f"head model: {model}; published models were trained on FLAME 2020 (--head_model says which it is)"
        )
    if len(head) > 1 and (head[0].inv() * head).magnitude().max() < STILL:
        notes.append("the head's rotation was not recorded (it never changes); a style takes it from another motion")
    away = float(np.degrees(np.median(head.magnitude())))
    if away > 60:
        notes.append(f"the head is turned by {away:.0f} degrees most of the time: are notation and format right?")
    return notes
