"""Head motion: beats and their alignment, size and speed of each rotation axis."""

from __future__ import annotations

import numpy as np

from utils.timebase import FPS

AXES = ("pitch", "yaw", "roll")  # x, y, z of the axis-angle vector
SIGMA = 3.0  # frames, of the beat alignment
_STILL = 1e-6  # radians; an axis with a smaller standard deviation does not move


def rotation_matrices(rotation: np.ndarray) -> np.ndarray:
    """Axis-angle (T, 3) -> matrices (T, 3, 3) float64."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(np.asarray(rotation, np.float64)).as_matrix()


def rotational_speed(rotation: np.ndarray, fps: int = FPS) -> np.ndarray:
    """Axis-angle (T, 3) -> angle between neighbouring frames times fps (T - 1,), radians per second."""
    matrices = rotation_matrices(rotation)
    change = np.swapaxes(matrices[:-1], 1, 2) @ matrices[1:]
    axis = np.stack([change[:, 2, 1] - change[:, 1, 2], change[:, 0, 2] - change[:, 2, 0],
                     change[:, 1, 0] - change[:, 0, 1]], axis=1)  # fmt: skip
    sine, cosine = np.linalg.norm(axis, axis=1) / 2, (np.trace(change, axis1=1, axis2=2) - 1) / 2
    return np.arctan2(sine, cosine) * fps  # exact for small angles, where the arc cosine is not


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
