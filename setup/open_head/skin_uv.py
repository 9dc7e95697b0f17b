"""Texture coordinates of the skin look: MakeHuman's unwrapping, repacked so that the face fills the picture.

MakeHuman's atlas is for a whole body: the head has a quarter of it, lying on its side. Each island keeps its shape up
to a stretch that magnifies the face (monotone in both axes, so nothing overlaps that did not before).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from setup.open_head.shapes import ball_centre
from utils.heads.head_file import HeadFile

MAGNIFY = 3.6  # the stretch is asinh(MAGNIFY * distance), distance 1 at the island's edge
MAGNIFY_EYE = 8.0
GAP = 0.006  # between islands
WHITE_UV = (0.96, 0.03)  # a white spot, for parts that are painted at their vertices
MAIN_BOX = (0.0, 0.36, 1.0, 0.64)  # left, bottom, width, height of the face and scalp
# Where the other islands go: name of a vertex mask (in order of preference) -> boxes, for islands sorted by x.
SHELVES = {
    "left_eyeball": [(0.62, 0.18, 0.17, 0.17)],
    "right_eyeball": [(0.80, 0.18, 0.17, 0.17)],
    "teeth": [(0.62, 0.09, 0.30, 0.085), (0.62, 0.0, 0.30, 0.085)],
    "tongue": [(0.46, 0.0, 0.14, 0.17)],
    "mouth_interior": [(0.32, 0.18, 0.28, 0.17)],
    "neck": [(0.0, 0.0, 0.31, 0.35)],
    "eye_region": [(0.32, 0.0, 0.065, 0.17), (0.39, 0.0, 0.065, 0.17)],
}


def packed_uv(head: HeadFile) -> np.ndarray:
    """(U, 2) float32 in 0..1, v up, for the head's own `ft`.

    Raises:
        ValueError: islands that the layout has no place for.
    """
    parts = islands(head)
    main = max(parts, key=len)
    uv = np.zeros_like(head.uv)
    uv[main] = _fit(_magnified(_upright(head, main)), MAIN_BOX)
    free = {name: list(boxes) for name, boxes in SHELVES.items()}
    rest = sorted((part for part in parts if part is not main), key=lambda i: float(head.uv[i, 0].mean()))
    for island in rest:
        name = _region(head, island)
        if not free.get(name):
            raise ValueError(f"no place for an island of {len(island)} corners in {name}; add a box to SHELVES")
        uv[island] = _fit(_arranged(head, island, name), free[name].pop(0))
    return uv.astype(np.float32)


def islands(head: HeadFile) -> list[np.ndarray]:
    """Texture corners by connected component."""
    n = len(head.uv)
    edges = np.concatenate([head.ft[:, [0, 1]], head.ft[:, [1, 2]]])
    graph = scipy.sparse.coo_matrix((np.ones(len(edges)), edges.T), shape=(n, n))
    count, label = connected_components(graph, directed=False)
    used = np.zeros(n, bool)
    used[head.ft.ravel()] = True
    found = [np.flatnonzero((label == k) & used) for k in range(count)]
    return [island for island in found if len(island)]


def vertex_of_corner(head: HeadFile) -> np.ndarray:
    """(U,) the vertex that a texture corner belongs to."""
    vertex = np.zeros(len(head.uv), np.int64)
    vertex[head.ft.ravel()] = head.faces.ravel()
    return vertex


def _region(head: HeadFile, island: np.ndarray) -> str:
    vertices = vertex_of_corner(head)[island]
    shares = {name: float(head.masks[name][vertices].mean()) for name in SHELVES}
    return next((name for name in SHELVES if shares[name] > 0.5), max(shares, key=shares.get))


def _upright(head: HeadFile, island: np.ndarray) -> np.ndarray:
    """The island turned by a right angle and mirrored if necessary, so that u follows the head's x and v its y."""
    points = head.uv[island] - head.uv[island].mean(0)
    place = head.v_template[vertex_of_corner(head)[island]][:, :2]
    slope = points.T @ (place - place.mean(0))  # (uv, xy)
    if abs(slope[0, 1]) + abs(slope[1, 0]) > abs(slope[0, 0]) + abs(slope[1, 1]):
        points, slope = points[:, ::-1], slope[::-1]
    return points * np.sign([slope[0, 0], slope[1, 1]])


def _arranged(head: HeadFile, island: np.ndarray, name: str) -> np.ndarray:
    """A smaller island's points: the neck upright, eyeballs with a large iris, others as they are."""
    if name == "neck":
        return _upright(head, island)
    points = head.uv[island]
    if not name.endswith("eyeball"):
        return points
    ray = points - ball_centre(points)
    radius = np.linalg.norm(ray, axis=1, keepdims=True) / np.abs(ray).max()
    return ray * np.arcsinh(MAGNIFY_EYE * radius) / np.maximum(radius, 1e-9)


def _magnified(points: np.ndarray) -> np.ndarray:
    """Stretched about the densest part, which is the face."""
    centre = np.median(points, axis=0)
    reach = np.abs(points - centre).max(0)
    return np.arcsinh(MAGNIFY * (points - centre) / reach)


def _fit(points: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """Fill a box, less the gap."""
    low, high = points.min(0), points.max(0)
    corner, size = np.array(box[:2]) + GAP, np.array(box[2:]) - 2 * GAP
    return corner + (points - low) / (high - low) * size
