"""Head motion: beats and their alignment, size and speed of each rotation axis."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from utils.timebase import FPS

AXES = ("pitch", "yaw", "roll")  # x, y, z of the axis-angle vector
SIGMA = 3.0  # frames, of the beat alignment
_STILL = 1e-6  # radians; an axis with a smaller standard deviation does not move


def rotational_speed(rotation: np.ndarray, fps: int = FPS) -> np.ndarray:
    """Axis-angle (T, 3) -> angle between neighbouring frames times fps (T - 1,), radians per second."""
    turns = Rotation.from_rotvec(np.asarray(rotation, np.float64))
    return (turns[:-1].inv() * turns[1:]).magnitude() * fps


def beats(rotation: np.ndarray) -> np.ndarray:
    """Indices of the local minima of the rotational speed: frames between which the head is slowest."""
    speed = rotational_speed(rotation)
    return 1 + np.flatnonzero((speed[1:-1] < speed[:-2]) & (speed[1:-1] <= speed[2:]))


def alignment(predicted: np.ndarray, truth: np.ndarray, sigma: float = SIGMA) -> np.ndarray:
    """exp(-d^2 / (2 sigma^2)) for every true beat, for d frames to the nearest predicted one: (len(truth),).

    Beat alignment is its mean. Without any predicted beat all values are 0.
    """
    if not len(predicted):
        return np.zeros(len(truth))
    distance = np.abs(truth[:, None] - predicted[None]).min(1)
    return np.exp(-(distance**2) / (2 * sigma**2))


def spectral_centroid(track: np.ndarray, fps: int = FPS) -> float:
    """Mean frequency (Hz) of a track (T,), weighted by its power (mean removed, Hann window); NaN for a still track."""
    centred = track - track.mean()
    if len(track) < 8 or centred.std() < _STILL:
        return float("nan")
    power = np.abs(np.fft.rfft(centred * np.hanning(len(track)))) ** 2
    power[0] = 0
    return float((np.fft.rfftfreq(len(track), 1 / fps) * power).sum() / power.sum())
