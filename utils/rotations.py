"""Rotations of tracker files: any notation in, continuous axis-angle out, resampled on the sphere (by scipy)."""

from __future__ import annotations

import re

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from utils.errors import UserError

# Notations: 6d: the first two ROWS of the matrix (PyTorch3D); 6d_columns: its first two columns (Zhou et al., 2019).
NOTATIONS = ("axis_angle", "matrix", "6d", "6d_columns", "quaternion", "quaternion_wxyz")
HOW = "auto, " + ", ".join(NOTATIONS) + " or euler_XYZ with any order of axes (xyz: fixed axes); _degrees may follow"
_EULER = re.compile(r"euler_([xyz]{3}|[XYZ]{3})(_degrees)?")
_ORTHOGONAL = 0.05  # how far a matrix's columns may be from unit length and from right angles


def parse_rotations(values: np.ndarray, notation: str, what: str) -> Rotation:
    """Numbers -> rotations.

    Args:
        values: (T, 3), (T, 4), (T, 6), (T, 9) or (T, 3, 3).
        notation: see `HOW`; "auto" chooses by width: 3 axis-angle, 4 quaternion (x, y, z, w), 6 6d, 9 matrix.
        what: for messages.

    Raises:
        UserError: unknown notation, a width that does not match it, or numbers that are not rotations.
    """
    values = np.array(values, np.float64)  # a copy: SciPy refuses read-only arrays, such as those from files
    flat = values.reshape(len(values), -1)
    degrees = notation.endswith("_degrees")
    kind = notation.removesuffix("_degrees") if notation.startswith("axis_angle") else notation
    if kind == "auto":
        kind = {3: "axis_angle", 4: "quaternion", 6: "6d", 9: "matrix"}.get(flat.shape[1], "auto")
    if kind == "axis_angle" and flat.shape[1] == 3:
        return Rotation.from_rotvec(flat, degrees=degrees)
    if match := _EULER.fullmatch(kind):
        return _euler(flat, match[1], bool(match[2]), what)
    if kind.startswith("quaternion") and flat.shape[1] == 4:
        return _quaternions(flat if kind == "quaternion" else np.roll(flat, -1, axis=1), what)
    if kind in ("6d", "6d_columns") and flat.shape[1] == 6:
        return Rotation.from_matrix(_from_6d(flat, kind == "6d_columns", what))
    if kind == "matrix" and flat.shape[1] == 9:
        return _matrices(flat.reshape(-1, 3, 3), what)
    raise UserError(f"{what}: {flat.shape[1]} numbers per frame do not fit rotations as {notation!r}; choose {HOW}")


def _euler(angles: np.ndarray, axes: str, degrees: bool, what: str) -> Rotation:
    if angles.shape[1] != 3:
        raise UserError(f"{what}: {angles.shape[1]} numbers per frame are not three angles; choose another notation")
    try:
        return Rotation.from_euler(axes, angles, degrees=degrees)
    except ValueError as error:  # the same axis twice in a row
        raise UserError(f"{what}: euler_{axes} is not an order of axes ({error}); choose {HOW}") from error


def _quaternions(values: np.ndarray, what: str) -> Rotation:
    if (np.linalg.norm(values, axis=1) < 1e-6).any():
        raise UserError(f"{what}: holds quaternions of length 0, which are not rotations; track again")
    return Rotation.from_quat(values)


def _matrices(values: np.ndarray, what: str) -> Rotation:
    off = np.abs(values @ values.transpose(0, 2, 1) - np.eye(3)).max(initial=0)
    if off > _ORTHOGONAL or (np.linalg.det(values) < 0).any():
        raise UserError(f"{what}: holds matrices that are not rotations (off by {off:.3g}); choose another notation")
    return Rotation.from_matrix(values)


def _from_6d(values: np.ndarray, columns: bool, what: str) -> np.ndarray:
    """Gram-Schmidt on two vectors, one after the other, which are the first two rows or columns of the matrix."""
    first, second = values[:, :3], values[:, 3:]
    lengths = np.linalg.norm(first, axis=1, keepdims=True)
    first = first / np.maximum(lengths, 1e-12)
    second = second - (first * second).sum(1, keepdims=True) * first
    length = np.linalg.norm(second, axis=1, keepdims=True)
    if min(lengths.min(initial=1), length.min(initial=1)) < 1e-6:
        raise UserError(f"{what}: holds 6-D values that do not define rotations; choose another notation")
    second = second / length
    return np.stack([first, second, np.cross(first, second)], axis=2 if columns else 1)


def axis_angle(rotations: Rotation) -> np.ndarray:
    """(T, 3) float32 radians without jumps: each frame's vector is the one nearest to the frame before.

    A rotation has many vectors: an angle a about an axis is also a + 2 pi k about it. The first frame's angle is at
    most pi.
    """
    vectors = rotations.as_rotvec()
    angles = np.linalg.norm(vectors, axis=1)
    axes = vectors / np.maximum(angles, 1e-12)[:, None]
    turns = np.round(((vectors[:-1] * axes[1:]).sum(axis=1) - angles[1:]) / (2 * np.pi))
    if turns.any():  # otherwise every vector is already the nearest to the frame before
        for i in np.flatnonzero(angles[1:] > 1e-9) + 1:
            vectors[i] += 2 * np.pi * np.round((vectors[i - 1] @ axes[i] - angles[i]) / (2 * np.pi)) * axes[i]
    return vectors.astype(np.float32)


def resample_rotations(times: np.ndarray, rotations: Rotation, new_times: np.ndarray) -> Rotation:
    """Rotations at `new_times` by spherical interpolation; beyond the ends the first and last are held.

    times (T,) strictly increasing.
    """
    if len(times) == 1:
        # SciPy's stub does not allow index arrays
        return rotations[np.zeros(len(new_times), int)]  # pyright: ignore[reportArgumentType]
    if _same(times, new_times):
        return rotations
    return Slerp(times, rotations)(np.clip(new_times, times[0], times[-1]))


def resample_values(times: np.ndarray, values: np.ndarray, new_times: np.ndarray) -> np.ndarray:
    """values (T, C) at `new_times` by linear interpolation; beyond the ends the first and last are held."""
    if _same(times, new_times):
        return values
    right = np.clip(np.searchsorted(times, new_times, side="right"), 1, max(len(times) - 1, 1))
    if len(times) == 1:
        return values[np.zeros(len(new_times), int)]
    share = np.clip((new_times - times[right - 1]) / (times[right] - times[right - 1]), 0, 1)[:, None]
    return values[right - 1] * (1 - share) + values[right] * share


def _same(times: np.ndarray, new_times: np.ndarray) -> bool:
    return len(times) == len(new_times) and np.abs(times - new_times).max() < 1e-6
