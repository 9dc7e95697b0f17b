"""From one clip's files to motion and audio of equal length: the published preparation's steps as plain functions.

The published order: jaw y and z (Euler angles) set to 0; Savitzky-Golay over 5 frames, order 2, on jaw and expressions;
6DRepNet's rotation matrices instead of the tracker's head rotation, as axis-angle, Savitzky-Golay over 7 frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.signal import savgol_filter

from utils.errors import UserError
from utils.media.audio import SoundPart, load_audio
from utils.media.timeline import BEGINS_WITH, Clock
from utils.motion_file import Motion
from utils.reading.array_file import read_npy, read_npz
from utils.reports.wording import counted
from utils.rotations import axis_angle, parse_rotations
from utils.timebase import FPS, SAMPLE_RATE, samples_per_frame
from utils.trackers.content import load_content
from utils.trackers.to_motion import ImportOptions, from_content, import_shape, opening

FACE_WINDOW, HEAD_WINDOW, ORDER = 5, 7, 2
MAX_NUMBER = 1e4  # larger than any angle or entry of a matrix
MAX_OFF = 2  # frames by which head rotations may be shorter or longer than the face's motion


@dataclass(frozen=True)
class Sources:
    """The files of one clip."""

    clip: str
    coefs: Path
    audio: Path | None = None
    shape: Path | None = None
    rotations: Path | None = None

    @property
    def files(self) -> list[Path]:
        return [path for path in (self.coefs, self.audio, self.shape, self.rotations) if path is not None]


@dataclass(frozen=True)
class Treatment:
    """What is done to every clip."""

    options: ImportOptions = ImportOptions()
    smooth: bool = True
    max_mismatch: float = 0.5  # seconds
    audio_track: int | None = None  # from 1; None: the first that is not silent


def prepare_motion(sources: Sources, treatment: Treatment) -> tuple[Motion, list[str]]:
    """Motion of one clip, filtered, with the shape and head rotation from their own files if given; and notes.

    Raises:
        UserError: unreadable or contradictory files.
    """
    imported = from_content(load_content(sources.coefs), treatment.options)
    motion, notes = imported.motion, list(imported.notes)
    if sources.shape is not None:
        motion = replace(motion, shape=import_shape(sources.shape))
    rotation = None
    if sources.rotations is not None:
        rotation, more = read_head_rotations(sources.rotations, len(motion))
        motion, notes = motion.cut(len(rotation)), notes + more
    return fix_pose(motion, rotation, treatment.smooth), notes


def fix_pose(motion: Motion, head: np.ndarray | None, smooth: bool) -> Motion:
    """The published corrections: jaw that only opens, another head rotation (T, 3) if given, filters."""
    face, pose = motion.exp, motion.pose.copy()
    if head is not None:
        pose[:, :3] = head
    if pose[:, 4:].any():
        pose[:, 3:] = opening(parse_rotations(pose[:, 3:], "axis_angle", motion.source))[0]
    if smooth:
        face = savgol(face, FACE_WINDOW)
        pose = np.concatenate([savgol(pose[:, :3], HEAD_WINDOW), savgol(pose[:, 3:], FACE_WINDOW)], axis=1)
    return replace(motion, exp=face.astype(np.float32), pose=pose.astype(np.float32))


def savgol(values: np.ndarray, window: int) -> np.ndarray:
    """Savitzky-Golay of order 2 along time; clips shorter than the window stay as they are."""
    return np.asarray(savgol_filter(values, window, ORDER, axis=0)) if len(values) >= window else values


def read_head_rotations(path: Path, n_frames: int) -> tuple[np.ndarray, list[str]]:
    """Rotation matrices (T, 3, 3), or any notation of 4, 6 or 9 numbers -> axis-angle (T, 3) without jumps; notes.

    Raises:
        UserError: no rotations, or of another length than the motion.
    """
    if path.suffix == ".npz":
        arrays = [values for values in read_npz(path).values() if values.ndim >= 2]
        if len(arrays) != 1:
            raise UserError(f"{path}: has {len(arrays)} arrays of rotations, not one; store (T, 3, 3)")
        values = arrays[0]
    else:
        values = read_npy(path)
    if values.ndim < 2 or values.dtype.kind != "f" or not np.isfinite(values).all():
        raise UserError(f"{path}: is {values.dtype} {values.shape} or not finite, not rotations (T, 3, 3)")
    if np.abs(values).max(initial=0) > MAX_NUMBER:
        raise UserError(f"{path}: holds numbers as large as {np.abs(values).max():.3g}; these are not rotations")
    off = len(values) - n_frames
    if abs(off) > MAX_OFF:
        raise UserError(f"{path}: has {len(values)} rotations for {n_frames} frames; track the same video at {FPS} fps")
    rotations = axis_angle(parse_rotations(values[:n_frames], "auto", str(path)))
    differ = f"{counted(abs(off), 'frame')} fewer or more head rotations than motion: cut to the shorter"
    return rotations, [differ] if off else []


def fit_audio(
    clip: str, audio: np.ndarray, motion: Motion, max_mismatch: float
) -> tuple[np.ndarray, Motion, list[str]]:
    """Audio and motion cut to the shorter of them; a difference of more than a frame is noted.

    Raises:
        UserError: they differ by more than `max_mismatch` seconds.
    """
    frames = len(audio) / samples_per_frame()
    off = frames - len(motion)
    if abs(off) > max_mismatch * FPS:
        raise UserError(
            f"{clip}: {len(audio) / SAMPLE_RATE:.2f} s of audio for {len(motion) / FPS:.2f} s of motion; do they "
            "belong together, is --fps right? (--max_mismatch allows more)"
        )
    n_frames = max(1, min(len(motion), round(frames)))
    notes = [f"audio and motion differ by {abs(off) / FPS:.2f} s: cut to the shorter"] if abs(off) > 1 else []
    return audio[: n_frames * samples_per_frame()], motion.cut(n_frames), notes


def clock_of(coefs: Path) -> Clock:
    """What a motion file's frame 0 belongs to: track_video says so in its npz; other trackers see pictures only.

    Older files of track_video, which hold a confidence but do not say it, begin with the sound.
    """
    if coefs.suffix != ".npz":
        return "picture"
    arrays = read_npz(coefs)
    said = str(arrays[BEGINS_WITH]) if BEGINS_WITH in arrays else "sound" if "confidence" in arrays else "picture"
    return "sound" if said == "sound" else "picture"


def prepare_clip(sources: Sources, treatment: Treatment) -> tuple[np.ndarray, Motion, list[str]]:
    """Audio, motion and notes of one clip.

    Raises:
        UserError: unreadable or contradictory files, silent audio.
    """
    assert sources.audio is not None  # pair_up gives every clip its audio
    motion, notes = prepare_motion(sources, treatment)
    sound = load_audio(sources.audio, part=SoundPart(treatment.audio_track, clock_of(sources.coefs)), notes=notes)
    audio, motion, more = fit_audio(sources.clip, sound, motion, treatment.max_mismatch)
    notes += more
    if motion.shape is None:
        notes.append("no head shape: the average head's")
        motion = replace(motion, shape=motion.shape_or_average)
    return audio, motion, notes
