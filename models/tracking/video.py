"""A video of a person -> a head's motion: landmarker, fitted head (the open head or FLAME), 25 fps, confidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from models.tracking.embedding import EMBEDDING, LANDMARKS, LandmarkHead
from models.tracking.film import NEAR_REST, PROFILE, Film, FilmFitter, FitOptions
from models.tracking.unseen import NOTE, NOTE_FLAME
from utils.errors import UserError
from utils.exports.arkit import BLEND_SHAPES, has_arkit_expressions, head_model_of
from utils.heads.head_file import load_head_file
from utils.heads.landmark_file import FLAME_EMBEDDING
from utils.media.timeline import BEGINS_WITH, Clock
from utils.media.video_frames import VideoFrame, check_there, read_frames
from utils.motion_file import Motion
from utils.reports.wording import counted
from utils.rotations import axis_angle, resample_rotations, resample_values
from utils.timebase import FPS
from utils.trackers.content import Content
from utils.trackers.landmarker import check_installed, find_model, watch
from utils.trackers.sightings import OUTLINE, Sightings, check_any
from utils.trackers.to_motion import MAX_LOST, ImportOptions, from_content

FIRST_LATE = 0.5 / FPS  # seconds by which the first picture may come after the sound without being held
UNSTEADY = 1e-3  # share of the cost of change that is left without smoothing
LONG_GAP = 0.5  # seconds without a face worth a note
COLUMNS = [OUTLINE.index(landmark) for landmark in LANDMARKS]


@dataclass(frozen=True)
class VideoOptions:
    """Options of the tracking."""

    model: Path | None = None  # file of the Face Landmarker; None: that of an installed package
    raw: bool = False  # MediaPipe's scores without a fit
    smooth: bool = True  # penalise changes from frame to frame
    max_seconds: float | None = None  # longer videos are refused
    rest: float | None = None  # the second at which the face is at rest; None: found automatically
    fov: float | None = None  # degrees that the longer side of the picture spans; None: the most likely
    head: Path | None = None  # file of the head that is fitted; None: the open head
    landmarks: Path | None = None  # where landmarks lie on it; None: FLAME's file beside `head`, or the open head's


@dataclass(frozen=True)
class TrackedVideo:
    """Motion at 25 fps with the confidence of each frame, and notes on the tracking."""

    motion: Motion
    confidence: np.ndarray  # (T,) float32 in 0..1, see `Sightings.confidence`
    sightings: Sightings
    notes: tuple[str, ...]
    residual: np.ndarray | None = None  # (T,) float32, mm between detected and fitted landmarks; None: no fit
    identity: np.ndarray | None = None  # (100,) float32, shape of the person's head
    fitted: np.ndarray | None = None  # (frames of the video, P, 2) float32, pixels, NaN where there is none

    @property
    def begins_with(self) -> Clock:
        """What frame 0 belongs to: the first picture, if that is close to the beginning of the sound, or the sound."""
        return "picture" if abs(self.sightings.times[0]) <= FIRST_LATE else "sound"

    def save(self, path: str | Path) -> None:
        """Write a motion npz with `confidence`, `begins_with` and, after a fit, `residual` and `identity`."""
        extra = {"confidence": self.confidence, "residual": self.residual, "identity": self.identity}
        extra[BEGINS_WITH] = np.array(self.begins_with)
        self.motion.save(path, {key: value for key, value in extra.items() if value is not None})


def track_video(path: str | Path, options: VideoOptions | None = None, progress: bool = False) -> TrackedVideo:
    """Track the face in a video.

    Raises:
        UserError: MediaPipe or its model is missing; the file is not a readable video, is too long, or shows no face
            in over 30 % of its frames.
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
    """Motion from the landmarker's detections.

    Raises:
        UserError: over 30 % of the frames show no face, or one turned beyond PROFILE; no face at the second of rest.
    """
    check_any(sightings, source)
    head = None if options.raw else landmark_head(options.head, options.landmarks)
    usable = sightings.found if options.raw else film_of(sightings).found
    if (lost := 1 - usable.mean()) > MAX_LOST:
        turned = sightings.found.sum() - usable.sum()
        what = f"no face in {1 - sightings.found.mean():.0%}"
        what += f", and one turned beyond {PROFILE:g} degrees in {turned / len(usable):.0%}," if turned else ""
        more = "more than" if not turned else f"{lost:.0%} in all, more than"
        raise UserError(f"{source}: {what} of {len(sightings)} frames, {more} {MAX_LOST:.0%}; "
                        "cut the video to where one person faces the camera")  # fmt: skip
    return _scores_as_they_are(sightings, source) if head is None else _fit(sightings, usable, source, options, head)


def landmark_head(path: Path | None = None, landmarks: Path | None = None) -> LandmarkHead:
    """The head that is fitted; see `VideoOptions.head` and `VideoOptions.landmarks`.

    Raises:
        UserError: no such head model, no file of its landmarks, or one of another mesh.
    """
    head = load_head_file(path)
    if landmarks is None:
        landmarks = EMBEDDING if path is None or has_arkit_expressions(head) else path.with_name(FLAME_EMBEDDING)
    if not landmarks.is_file():
        raise UserError(
            f"--landmarks {landmarks}: no such file; give FLAME's {FLAME_EMBEDDING} (MediaPipe landmark embedding), or "
            "make a file with `python -m setup.build_landmarks --head`"
        )
    return LandmarkHead(head, landmarks)


def film_of(sightings: Sightings) -> Film:
    """The fitted landmarks, in pixels."""
    height, width = sightings.size
    points = sightings.points[:, COLUMNS] * np.array([width, height], np.float32)
    return Film(sightings.times, points, sightings.matrices, sightings.size)


def _fit(
    sightings: Sightings, usable: np.ndarray, source: str, options: VideoOptions, head: LandmarkHead
) -> TrackedVideo:
    rows = np.flatnonzero(usable)
    film = film_of(sightings)[rows]
    if options.rest is not None and not (np.abs(film.times - options.rest) <= NEAR_REST).any():
        raise UserError(f"--rest {options.rest:g}: {source} shows no face at that second; give another, or auto")
    fit = FitOptions(rest=() if options.rest is None else (options.rest,), fov=options.fov,
                     steadiness=1.0 if options.smooth else UNSTEADY)  # fmt: skip
    (fitted,) = FilmFitter(head, fit)([film])
    times = output_times(sightings.times)
    rotations = resample_rotations(film.times, Rotation.from_rotvec(fitted.pose[:, :3]), times)
    jaw, residual = resample_values(film.times, np.stack([fitted.pose[:, 3], fitted.residual], axis=1), times).T
    pose = np.zeros((len(times), 6), np.float32)
    pose[:, :3], pose[:, 3] = axis_angle(rotations), jaw
    exp = resample_values(film.times, fitted.exp, times).astype(np.float32)
    points = np.full((len(sightings), len(LANDMARKS), 2), np.nan, np.float32)
    points[rows] = fitted.points
    is_open = has_arkit_expressions(head.head)
    notes = (*_gaps(sightings, usable), *_crowd(sightings), NOTE if is_open else NOTE_FLAME)
    motion = Motion(exp, pose, None if is_open else fitted.identity, source, head_model_of(head.head))
    return TrackedVideo(motion, _confidence(sightings, times), sightings, notes, residual.astype(np.float32),
                        fitted.identity, points)  # fmt: skip


def output_times(times: np.ndarray) -> np.ndarray:
    """25 times per second from the beginning of the sound, or from the first picture if it is close to that."""
    first = times[0] if abs(times[0]) <= FIRST_LATE else 0.0
    return first + np.arange(int(np.floor((max(times[-1], first) - first) * FPS + 1e-6)) + 1) / FPS


def _confidence(sightings: Sightings, times: np.ndarray) -> np.ndarray:
    return resample_values(sightings.times, sightings.confidence()[:, None], times)[:, 0].astype(np.float32)


def _gaps(sightings: Sightings, usable: np.ndarray) -> tuple[str, ...]:
    """Notes on frames without a usable face."""
    lost, turned = int((~sightings.found).sum()), int((sightings.found & ~usable).sum())
    notes = [f"{counted(lost, 'lost frame (no face) is', 'lost frames (no face) are')} interpolated"] if lost else []
    beyond = f"turned beyond {PROFILE:g} degrees"
    notes += [f"{counted(turned, f'frame {beyond} is', f'frames {beyond} are')} interpolated"] if turned else []
    longest = np.diff(sightings.times[usable]).max(initial=0)
    if longest > LONG_GAP:
        notes.append(f"the longest gap is {longest:.1f} s: cut the clip there before you train on it")
    return tuple(notes)


def _scores_as_they_are(sightings: Sightings, source: str) -> TrackedVideo:
    """MediaPipe's scores and head matrix through the `mediapipe` format."""
    times, rows = _from_the_start(sightings.times, sightings.found)
    scores = sightings.scores[rows].astype(np.float64)
    columns = {name.lower(): scores[:, k] for k, name in enumerate(BLEND_SHAPES)}
    matrices = sightings.matrices[rows].reshape(-1, 9)
    columns |= {f"m{row}{column}": matrices[:, 3 * row + column] for row in range(3) for column in range(3)}
    imported = from_content(Content(Path(source), columns, times=times, suffix=".csv"), ImportOptions("mediapipe"))
    confidence = _confidence(sightings, times[0] + np.arange(len(imported.motion)) / FPS)
    return TrackedVideo(imported.motion, confidence, sightings, (*imported.notes, *_crowd(sightings)))


def _from_the_start(times: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times and rows for motion that begins with the sound; the first and the last face are held to both ends."""
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
    return (
        f"{counted(sightings.crowds, 'frame shows', 'frames show')} several faces: the one that is largest and most "
        "central at first is tracked",
    )
