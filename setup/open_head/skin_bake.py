"""From mesh to texture: which point of the head every pixel shows, how much sky it sees, and noise in space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from setup.open_head.shapes import smooth_step
from utils.exports.surface import smooth_normals
from utils.heads.head_file import HeadFile

DIRECTIONS, CELL, BIAS = 160, 0.0012, 0.0016  # of the occlusion's light directions; grid and tolerance in metres
BLEED = 12  # pixels of colour around every island, so that filtering never mixes in the background


@dataclass(frozen=True)
class Texels:
    """The M covered pixels of a square texture."""

    size: int
    row: np.ndarray  # (M,) from the top
    column: np.ndarray  # (M,)
    triangle: np.ndarray  # (M,)
    weights: np.ndarray  # (M, 3) barycentric

    def spread(self, values: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """Values per vertex (V,) or (V, k) -> per texel (M,) or (M, k)."""
        corners = values[faces[self.triangle]]
        return np.einsum("mk,mk...->m...", self.weights, corners)


def texels(uv: np.ndarray, ft: np.ndarray, size: int) -> Texels:
    """Rasterise the unwrapped triangles. uv (U, 2), v up; ft (F, 3)."""
    corner = np.stack([uv[:, 0], 1 - uv[:, 1]], axis=1)[ft].astype(np.float64) * size - 0.5
    found = [_covered(points, number, size) for number, points in enumerate(corner)]
    row, column, triangle, weights = (np.concatenate(part) for part in zip(*found))
    _, first = np.unique(row * size + column, return_index=True)  # pixels on shared edges belong to the first triangle
    return Texels(size, row[first], column[first], triangle[first], weights[first])


def _covered(points: np.ndarray, number: int, size: int) -> tuple[np.ndarray, ...]:
    """Pixels of one triangle (3, 2), slightly beyond its edges so that no gaps are left."""
    low = np.maximum(np.floor(points.min(0)).astype(int), 0)
    high = np.minimum(np.ceil(points.max(0)).astype(int), size - 1)
    x, y = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
    x, y = x.ravel(), y.ravel()
    (ax, ay), (bx, by), (cx, cy) = points
    area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
    if abs(area) < 1e-9:
        x = y = np.zeros(0, int)
        area = 1.0
    second = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area
    third = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area
    weights = np.stack([1 - second - third, second, third], axis=1)
    inside = weights.min(1) > -0.05
    kept = np.clip(weights[inside], 0, 1)
    kept /= kept.sum(1, keepdims=True)
    return y[inside], x[inside], np.full(int(inside.sum()), number), kept


def picture(texels: Texels, colours: np.ndarray) -> np.ndarray:
    """Colours per texel (M, 3) in 0..1 -> uint8 (size, size, 3), bled over the islands' borders."""
    image = np.zeros((texels.size, texels.size, 3), np.float32)
    known = np.zeros((texels.size, texels.size), np.uint8)
    image[texels.row, texels.column] = colours
    known[texels.row, texels.column] = 1
    kernel = np.ones((3, 3, 1), np.float32)
    for _ in range(BLEED):
        weight = ndimage.correlate(known.astype(np.float32), kernel[..., 0], mode="constant")
        total = ndimage.correlate(image, kernel, mode="constant")
        new = (known == 0) & (weight > 0)
        image[new] = total[new] / weight[new][:, None]
        known[new] = 1
    image[known == 0] = colours.mean(0)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def openness(head: HeadFile, samples: int = 24, towards: np.ndarray | None = None) -> np.ndarray:
    """(V,) share of the sky that a vertex sees, weighted by the cosine: 1 on a convex spot, small in a nostril.

    With `towards`, of the sky about that direction (unit vector). Depth maps of the surface's points from many
    directions; a vertex is lit if nothing lies clearly in front of it.
    """
    rng = np.random.default_rng(0)
    points = head.v_template.astype(np.float64)
    normals = smooth_normals(points, head.faces)
    share = rng.dirichlet(np.ones(3), (len(head.faces), samples))
    cloud = np.einsum("fsk,fkx->fsx", share, points[head.faces]).reshape(-1, 3)
    seen, total = np.zeros(len(points)), np.zeros(len(points))
    for direction in _sphere(DIRECTIONS):
        across = np.linalg.svd(direction[None])[2][1:]  # two axes of the plane across the light
        cells, own = ((np.floor(p @ across.T / CELL)).astype(int) for p in (cloud, points))
        low = np.minimum(cells.min(0), own.min(0))
        width = int(np.maximum(cells.max(0), own.max(0))[1] - low[1] + 1)
        index, at = ((c - low) @ [width, 1] for c in (cells, own))
        front = np.full(max(index.max(), at.max()) + 1, -np.inf)
        np.maximum.at(front, index, cloud @ direction)
        cosine = np.maximum(normals @ direction, 0) if towards is None else max(direction @ towards - 0.3, 0)
        seen += cosine * (points @ direction >= front[at] - BIAS)
        total += cosine
    return seen / np.maximum(total, 1e-9)


def _sphere(n: int) -> np.ndarray:
    """(n, 3) even directions (Fibonacci lattice)."""
    height = 1 - 2 * (np.arange(n) + 0.5) / n
    angle = np.pi * (1 + 5**0.5) * np.arange(n)
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(angle), height, radius * np.sin(angle)], axis=1)


def noise(points: np.ndarray, cell: float | tuple[float, float, float], seed: int) -> np.ndarray:
    """Smooth random values in -1..1 of points (M, 3): lattice of the given cell (metres), interpolated."""
    place = points / np.asarray(cell) + 1000.0
    base = np.floor(place).astype(np.int64)
    part = smooth_step(place - base)
    total = np.zeros(len(points))
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, part, 1 - part), axis=1)
        total += weight * _hashed(base + corner, seed)
    return total


def _hashed(cells: np.ndarray, seed: int) -> np.ndarray:
    """A value in -1..1 per lattice cell (M, 3)."""
    mixed = (cells * np.array([73856093, 19349663, 83492791])).sum(1) ^ (seed * 2654435761)
    for shift in (33, 29, 32):
        mixed = (mixed ^ (mixed >> shift)) * 0x2545F4914F6CDD1D
    return (mixed & 0xFFFFFF) / float(0x7FFFFF) - 1
