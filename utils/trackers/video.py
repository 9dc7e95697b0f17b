"""A video of a person -> the open head's motion: landmarker, response correction, 25 fps, smoothing, confidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.signal import savgol_filter
from tqdm import tqdm

from utils.errors import UserError
from utils.exports.arkit import BLEND_SHAPES
from utils.media.video_frames import VideoFrame, check_there, read_frames
from utils.motion_file import Motion
from utils.rotations import resample_values
from utils.timebase import FPS
from utils.trackers.arkit import unit_names
from utils.trackers.content import Content
from utils.trackers.landmarker import check_installed, find_model, watch
from utils.trackers.response import load_response
from utils.trackers.sightings import Sightings, check_any
from utils.trackers.to_motion import MAX_LOST, ImportOptions, from_content

# A filter takes the depth from blinks and parts lips that were shut (benchmarks.tracking.accuracy): these have none.
FAST = ("eyeblink", "mouth", "jaw")
WINDOW, ORDER = 5, 2  # Savitzky-Golay, frames of 25 fps
FIRST_LATE = 0.5 / FPS  # seconds by which the first picture may come after the sound without being held


@dataclass(frozen=True)
class VideoOptions:
    """How a video is tracked."""

    model: Path | None = None  # Face Landmarker's file; None: of an installed package
    raw: bool = False  # MediaPipe's scores as they are, without our response
    smooth: bool = True
    max_seconds: float | None = None  # longer videos are refused


@dataclass(frozen=True)
class TrackedVideo:
    """Motion at 25 fps with the confidence of each frame, and what happened on the way."""

    motion: Motion
    confidence: np.ndarray  # (T,) float32 in 0..1, see `Sightings.confidence`
    sightings: Sightings
    notes: tuple[str, ...]

    def save(self, path: str | Path) -> None:
        """A motion npz that also holds `confidence`."""
        self.motion.save(path, {"confidence": self.confidence})


def track_video(path: str | Path, options: VideoOptions | None = None, progress: bool = False) -> TrackedVideo:
    """Track the face in a video.

    Raises:
        UserError: MediaPipe or its model is missing, the file is no readable video, longer than allowed, or shows no
            face in over 30 % of its frames.
    """
    options = options or VideoOptions()
    check_installed()
    check_there(Path(path))
    model = find_model(options.model)
    frames: Iterable[VideoFrame] = read_frames(path)
    if options.max_seconds is not None:
        frames = _at_most(frames, options.max_seconds, path)
    if progress:
        frames = tqdm(frames, desc=f"tracking {Path(path).name}", unit="frame")
    return motion_of(watch(frames, model, str(path)), str(path), options)


def _at_most(frames: Iterable[VideoFrame], seconds: float, path: str | Path) -> Iterator[VideoFrame]:
    for frame in frames:
        if frame.time > seconds:
            raise UserError(f"{path}: is longer than {seconds:g} s; cut it")
        yield frame


def motion_of(sightings: Sightings, source: str, options: VideoOptions) -> TrackedVideo:
    """Motion from what the landmarker saw.

    Raises:
        UserError: no face in over 30 % of the frames.
    """
    check_any(sightings, source)
    lost = 1 - sightings.found.mean()
    if lost > MAX_LOST:
        raise UserError(f"{source}: no face in {lost:.0%} of {len(sightings)} frames, more than {MAX_LOST:.0%}; "
                        "cut the video to where one person faces the camera")  # fmt: skip
    times, rows = _from_the_start(sightings.times, sightings.found)
    scores = sightings.scores[rows] if options.raw else load_response()(sightings.scores[rows])
    columns = {name.lower(): scores[:, k].astype(np.float64) for k, name in enumerate(BLEND_SHAPES)}
    matrices = sightings.matrices[rows].reshape(-1, 9)
    columns |= {f"m{row}{column}": matrices[:, 3 * row + column] for row in range(3) for column in range(3)}
    imported = from_content(Content(Path(source), columns, times=times, suffix=".csv"), ImportOptions("mediapipe"))
    motion = smoothed(imported.motion) if options.smooth else imported.motion
    new_times = times[0] + np.arange(len(motion)) / FPS
    confidence = resample_values(sightings.times, sightings.confidence()[:, None], new_times)[:, 0].astype(np.float32)
    return TrackedVideo(motion, confidence, sightings, (*imported.notes, *_crowd(sightings)))


def _from_the_start(times: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times and rows such that motion begins with the sound: the first and the last face are held to both ends."""
    rows = np.arange(len(times))
    first, last = np.flatnonzero(found)[[0, -1]]
    rows[:first], rows[last + 1 :] = first, last
    keep = times >= -FIRST_LATE  # pictures before the sound
    keep = keep if keep.any() else np.ones(len(times), bool)
    times, rows = times[keep], rows[keep]
    if times[0] > FIRST_LATE:
        times, rows = np.r_[0.0, times], np.r_[rows[0], rows]
    return times, rows


def _crowd(sightings: Sightings) -> tuple[str, ...]:
    if not sightings.crowds:
        return ()
    return (f"{sightings.crowds} frames show several faces: the one that is largest and most central at first counts",)


def smoothed(motion: Motion) -> Motion:
    """Savitzky-Golay over 5 frames on the head's rotation and the slow units: not on blinks, mouth and jaw."""
    if len(motion) < WINDOW:
        return motion
    slow = np.array([not name.startswith(FAST) for name in unit_names()])
    exp, pose = motion.exp.copy(), motion.pose.copy()
    exp[:, slow] = np.clip(savgol_filter(motion.exp[:, slow], WINDOW, ORDER, axis=0), 0, None)
    pose[:, :3] = savgol_filter(motion.pose[:, :3], WINDOW, ORDER, axis=0)
    return replace(motion, exp=exp, pose=pose)
