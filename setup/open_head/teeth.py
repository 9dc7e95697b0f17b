"""Tooth bands: 14 teeth per jaw modelled as grooves and notches on a resampled helper band. Decimetres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from setup.open_head.parts import LOWER_GUM, UPPER_GUM, Part, _spread, teeth_grid
from setup.open_head.shapes import grid_quads
from setup.open_head.source import BaseMesh

# Where each row of the new band lies between the helper's four rows, and how deep the grooves are there.
ROWS = np.array([0.0, 0.75, 1.25, 2.0, 2.2, 3.0])
GROOVE = np.array([0.0, 0.45, 1.0, 0.8, 0.6, 0.0])
EDGE_ROWS = (3, 4)  # the biting edge: neighbouring teeth are notched here
GROOVE_DEPTH, NOTCH_DEPTH = 0.013, 0.007
SAMPLES = (0.0, 0.22, 0.78)  # per tooth; 0 lies in the groove to the previous one
N_TEETH = 14


@dataclass(frozen=True)
class Jaw:
    """What differs between the upper and the lower band."""

    group: str
    gum: list[int]
    widths: tuple[float, ...]  # mm, from the central incisor outwards (textbook mesiodistal widths)
    shift: tuple[float, float, float]  # so that teeth clear the lips and each other at rest
    up: float  # direction in which notches are cut: towards the gum
    uv_left: float

    def boundaries(self, length: float) -> np.ndarray:
        """Arc positions (15,) where teeth meet, over a band of this length."""
        widths = np.r_[self.widths[::-1], self.widths]
        return np.r_[0, np.cumsum(widths)] / widths.sum() * length


JAWS = {
    "upper_teeth": Jaw(
        "helper-upper-teeth", UPPER_GUM, (8.5, 6.6, 7.6, 7.0, 6.8, 9.8, 9.5), (0, -0.022, -0.022), 1, 0.15
    ),
    "lower_teeth": Jaw(
        "helper-lower-teeth", LOWER_GUM, (5.4, 5.9, 6.8, 7.0, 7.1, 10.6, 10.2), (0, -0.012, -0.034), -1, 0.27
    ),
}


def teeth(mesh: BaseMesh, name: str) -> Part:
    """The 'upper_teeth' or 'lower_teeth' band: 6 rows of 43 vertices."""
    jaw = JAWS[name]
    grid = teeth_grid(mesh, jaw.group, jaw.gum)
    edge = mesh.vertices[grid[2]]  # (17, 3) the biting edge
    arc = np.r_[0, np.cumsum(np.linalg.norm(np.diff(edge, axis=0), axis=1))]
    bounds = jaw.boundaries(arc[-1])
    along = np.r_[[b + f * (e - b) for b, e in zip(bounds, bounds[1:]) for f in SAMPLES], bounds[-1]]
    in_groove = np.r_[np.tile([s == 0.0 for s in SAMPLES], N_TEETH), True].astype(float)
    column = np.interp(along, arc, np.arange(17.0))
    weights = _bilinear(ROWS, column)
    offset = _relief(edge, column, in_groove, jaw) + np.asarray(jaw.shift)
    operator = _spread(weights, grid.ravel())
    faces = grid_quads(len(ROWS), len(column)).tolist()
    if _faces_backwards(operator @ mesh.vertices, faces, len(column)):
        faces = [face[::-1] for face in faces]
    uv = [[jaw.uv_left + 0.1 * j / len(column), 0.95 + 0.04 * i / 6] for i in range(6) for j in range(len(column))]
    return Part(name, operator, offset, faces, np.array(uv), faces)


def _bilinear(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Weights (R * C, 4 * 17) of points at fractional rows and columns of the helper grid."""

    def linear(positions: np.ndarray, size: int) -> np.ndarray:
        return np.clip(1 - np.abs(positions[:, None] - np.arange(size)), 0, None)

    return np.einsum("ra,cb->rcab", linear(rows, 4), linear(columns, 17)).reshape(len(rows) * len(columns), -1)


def _relief(edge: np.ndarray, column: np.ndarray, in_groove: np.ndarray, jaw: Jaw) -> np.ndarray:
    """Offsets (R * C, 3): grooves inwards between teeth, notches in the biting edge."""
    start = np.minimum(column.astype(int), 15)
    normal = np.cross(edge[start + 1] - edge[start], [0, 1.0, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    centre = np.array([0, edge[0, 1], edge[:, 2].min() + 0.25])
    normal *= np.where(((edge[start] - centre) * normal).sum(1, keepdims=True) < 0, -1, 1)
    inwards = -GROOVE_DEPTH * GROOVE[:, None, None] * (in_groove[:, None] * normal)
    notch = np.zeros_like(inwards)
    notch[list(EDGE_ROWS), :, 1] = jaw.up * NOTCH_DEPTH * in_groove
    return (inwards + notch).reshape(-1, 3)


def _faces_backwards(points: np.ndarray, faces: list[list[int]], columns: int) -> bool:
    """Whether the front teeth's faces point into the mouth."""
    a, b, c, _ = faces[(columns - 1) + columns // 2]
    return bool(np.cross(points[b] - points[a], points[c] - points[a])[2] < 0)
