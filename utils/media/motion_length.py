"""Whether a motion lasts as long as its sound, and what its frame rate is if it does not."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from utils.errors import UserError
from utils.motion_file import Motion
from utils.rotations import axis_angle, resample_rotations, resample_values
from utils.timebase import FPS

log = logging.getLogger(__name__)
_RATES = (24, 30, 48, 50, 60, 90, 100, 120)
_FEW, _SHARE = 12, 0.05  # frames, or share of the sound, by which a motion may be longer or shorter
_SAID = 2  # frames of difference worth a line
_MATCH = 0.02  # share of the length within which another rate explains the difference


def check_length(n_frames: int, sound_frames: float, source: str, advice: str = "") -> None:
    """Say that a motion is longer or shorter than its sound (in frames at 25 fps).

    Args:
        n_frames: of the motion.
        sound_frames: of the sound or of the clip.
        source: the motion's file.
        advice: what to do about it, with {fps} for the likely rate; "": do not refuse.

    Raises:
        UserError: they differ by more than 5 % and half a second.
    """
    off = abs(n_frames - sound_frames)
    if off <= _SAID:
        return
    lengths = f"{n_frames / FPS:.2f} s of motion at {FPS} fps for {sound_frames / FPS:.2f} s of sound"
    if not advice or off <= max(_FEW, _SHARE * sound_frames):
        log.warning("%s: %s", source, lengths)
        return
    seconds = sound_frames / FPS
    rate = next((rate for rate in _RATES if abs(n_frames / rate - seconds) < _MATCH * seconds), None)
    likely = "" if rate is None else f"; at {rate} fps they would fit"
    raise UserError(f"{source}: {lengths}{likely}; {advice.format(fps=rate or FPS)}")


def from_rate(motion: Motion, fps: float) -> Motion:
    """A motion whose frames are 1 / fps seconds apart -> 25 fps: expressions linearly, rotations on the sphere.

    Raises:
        UserError: a rate that is not a number between 1 and 1000.
    """
    if not 1 <= fps <= 1000:
        raise UserError(f"--motion_fps {fps:g}: must lie between 1 and 1000")
    if fps == FPS or len(motion) < 2:
        return motion
    times = np.arange(len(motion)) / fps
    new = np.arange(int(np.floor(times[-1] * FPS + 1e-6)) + 1) / FPS
    parts = (Rotation.from_rotvec(motion.pose[:, part]) for part in (slice(0, 3), slice(3, 6)))
    pose = np.concatenate([axis_angle(resample_rotations(times, part, new)) for part in parts], axis=1)
    exp = resample_values(times, motion.exp, new).astype(np.float32)
    tongue = None if motion.tongue is None else resample_values(times, motion.tongue, new).astype(np.float32)
    return replace(motion, exp=exp, pose=pose, tongue=tongue)
