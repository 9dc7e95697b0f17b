"""What a tracker says about a face, in its own notation: the result of reading any format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from utils.errors import UserError
from utils.motion_file import UNKNOWN_FLAME
from utils.timebase import FPS
from utils.trackers.content import Content

_NUMBERS = ("frame", "frame_id", "frame_number", "framenumber", "frame_index", "frameindex")
MAX_SECONDS = 12 * 3600
HUGE = 1e4  # larger than any coefficient or angle of a face


@dataclass(frozen=True)
class Tracked:
    """Coefficients of T frames as the file has them. Lost frames may be NaN."""

    exp: np.ndarray  # (T, any)
    head: np.ndarray  # (T, 3, 4, 6 or 9): global rotation in `notation`
    jaw: np.ndarray  # (T, 3, 4, 6 or 9)
    neck: np.ndarray | None = None
    shape: np.ndarray | None = None  # (n,) or (T, n)
    notation: str = "auto"  # of the rotations, see utils.rotations
    own_jaw: str = ""  # notation of the jaw, if it is fixed whatever the user says about the head's
    camera: bool = False  # `head` is the camera's rotation (PyTorch3D), not the head's
    head_model: str = UNKNOWN_FLAME
    fps: float | None = None  # the format's usual rate, for files that do not say theirs
    dropped: tuple[str, ...] = ()  # columns that a motion cannot hold
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Format:
    """How one tracker's files are recognised and read."""

    name: str
    needs: str  # what must be in a file, for messages
    matches: Callable[[Content], bool]
    read: Callable[[Content], Tracked]  # raises UserError


def as_float(values: np.ndarray | float) -> np.ndarray:
    """float64; a signalling NaN is a NaN like any other."""
    with np.errstate(invalid="ignore"):
        return np.asarray(values, np.float64)


def frame_times(
    content: Content, n_frames: int, fps: float | None = None, usual: float | None = None
) -> tuple[np.ndarray, list[str]]:
    """Time of each frame in seconds after the first, and notes. A given rate overrides the file's times and rate, which
    override the `usual` one.

    Raises:
        UserError: an impossible rate, numbers of frames that do not increase, or more than 12 hours.
    """
    times, notes = content.times, []
    if fps is not None or times is None or len(times) != n_frames:
        times, notes = _counted(content, n_frames, fps, usual)
    with np.errstate(over="ignore"):
        times = times - times[0]
    if times[-1] > MAX_SECONDS:
        raise UserError(f"{content.path}: {times[-1] / 3600:.0f} h is too long; is --fps right?")
    return times, notes


def _counted(content: Content, n_frames: int, fps: float | None, usual: float | None) -> tuple[np.ndarray, list[str]]:
    """Times by the numbers of the frames."""
    stored = content.first("fps", "mocap_frame_rate", "mocap_framerate")
    if fps is None and stored is not None and stored.size == 1:
        fps = float(stored.reshape(-1)[0])
    if fps is not None and not 1 <= fps <= 1000:
        raise UserError(f"{content.path}: {fps:g} frames per second make no sense; give --fps")
    rate = fps or usual or FPS
    notes = [] if fps is not None else [f"the frame rate is not in the file: taken as {rate:g}; --fps says otherwise"]
    numbers = content.frames if content.frames is not None else content.first(*_NUMBERS)
    numbers = np.arange(n_frames) if numbers is None or numbers.shape != (n_frames,) else as_float(numbers)
    if not np.isfinite(numbers).all() or (np.diff(numbers) <= 0).any():
        raise UserError(f"{content.path}: frame numbers do not increase; sort the frames")
    return numbers / rate, notes


def rows(values: np.ndarray | None, what: str, widths: tuple[int, ...] = ()) -> np.ndarray:
    """One row per frame, float64 (T, n): single frames, axes of length 1 and matrices are flattened.

    Raises:
        UserError: no rows, or a width that is not among `widths`. A missing array counts as a single NaN.
    """
    array = as_float(np.nan if values is None else values)
    if array.ndim >= 3 and array.shape[0] == 1 and array.shape[1:] not in ((3, 3), (1, 3)):
        array = array[0]  # (1, T, n): a batch of one
    array = array[None] if array.ndim <= 1 else array
    array = array.reshape(len(array), -1) if array.size else array.reshape(len(array), 0)
    if not array.size:
        raise UserError(f"{what}: holds no numbers; track again")
    if widths and array.shape[1] not in widths:
        wanted = ", ".join(map(str, widths))
        raise UserError(f"{what}: has {array.shape[1]} numbers per frame, not {wanted}; is --format right?")
    return array
