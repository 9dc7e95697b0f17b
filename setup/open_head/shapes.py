"""Geometry and colour that several builders of the open head share."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def grid_quads(rows: int, columns: int, closed: bool = False) -> np.ndarray:
    """(n, 4) corners of the cells of a grid of vertices, row by row; if `closed`, the last column meets the first."""
    first = columns * np.arange(rows - 1)[:, None]
    left = np.arange(columns if closed else columns - 1)
    a, b = (first + left).ravel(), (first + (left + 1) % columns).ravel()
    return np.stack([a, b, b + columns, a + columns], axis=1)


def triangles(quads: np.ndarray) -> np.ndarray:
    """(2 n, 3): quads (n, 4), each split along the diagonal from its first corner."""
    return quads[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)


def outwards(faces: np.ndarray, points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The faces turned away from the centre, all of them or none."""
    corners = points[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return faces if (normal * (corners.mean(1) - centre)).sum() > 0 else faces[:, ::-1]


def loop_halves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions in a closed loop of its two halves between the least and the largest x, both ends in each."""
    first, second = sorted((int(x.argmin()), int(x.argmax())))
    return np.arange(first, second + 1), np.arange(second, first + len(x) + 1) % len(x)


def ball_centre(points: np.ndarray) -> np.ndarray:
    """(3,) middle of a ball's vertices; their mean is not, since rings are denser in front."""
    return (points.max(0) + points.min(0)) / 2


def smooth_step(part: np.ndarray) -> np.ndarray:
    """0..1 -> 0..1 with level ends."""
    return part * part * (3 - 2 * part)


def near(points: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    """(n,) 1 at the centre, falling off as a Gaussian of that radius (metres)."""
    return np.exp(-0.5 * ((points - centre) ** 2).sum(1) / radius**2)


def mix(one: ArrayLike, other: ArrayLike, share: ArrayLike) -> np.ndarray:
    """(1 - share) one + share other; share is a number or (n,)."""
    return np.asarray(one) + (np.asarray(other) - np.asarray(one)) * np.asarray(share)[..., None]
