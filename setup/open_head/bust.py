"""A closed bust in a plain shirt below the neck: MakeHuman's shoulders as seen from a point in the chest. Metres."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from setup.open_head.assembly import HeadMesh
from setup.open_head.shapes import grid_quads, outwards, triangles
from setup.open_head.skin_uv import WHITE_UV
from setup.open_head.source import BaseMesh
from utils.heads.dressed_head import Part
from utils.heads.head_file import HeadFile

SHIRT, HEM = (0.335, 0.395, 0.45), (0.27, 0.325, 0.375)
STEPS = 18
CENTRE = np.array([0.0, -0.26, -0.07])  # rays start here
REACH = np.array([0.215, 0.30, 0.125])  # half axes of the ellipsoid that ends the shoulders
SLOPE = 0.42  # of the shoulders, beyond MakeHuman's level ones
COLLAR = 0.0028  # thickness of the cloth


def bust(head: HeadFile, mesh: HeadMesh, base: BaseMesh) -> Part:
    """Rings from the mesh's open rim over the shoulders to a closed underside."""
    rim = _rim(head)
    body = _body(head, mesh, base)
    start = head.v_template[rim].astype(np.float64) - CENTRE
    polar, around = _angles(start)
    share = np.linspace(0, 1, STEPS)
    rings, n = [], len(rim)
    surface = _Surface(body - CENTRE)
    first = np.linalg.norm(start, axis=1)
    gap = first - surface.radius(polar, around)
    for step, s in enumerate(share):
        angle = polar + (np.pi * 0.995 - polar) * s**1.15
        direction = _direction(angle, around)
        ends = 1 / np.linalg.norm(direction / REACH, axis=1)
        radius = surface.radius(angle, around) + gap * np.exp(-s / 0.10)
        radius = -0.012 * np.logaddexp(-radius / 0.012, -ends / 0.012)  # the smaller of the two, rounded
        if step == 0:
            radius = first - 0.004  # below the skin
        rings.append(CENTRE + direction * (radius + (COLLAR if step else 0))[:, None])
        if step == 0:
            lip = head.v_template[rim] + COLLAR * _away(head, rim) + [0, 0.0035, 0]
            rings += [head.v_template[rim] + [0, 0.0035, 0] - 0.001 * _away(head, rim), lip]
    points = np.concatenate([np.concatenate(rings), [CENTRE - [0, REACH[1], 0]]])
    slope = np.maximum(np.hypot(points[:, 0], 0.02) - 0.08, 0)
    points[:, 1] -= SLOPE * slope * np.clip((points[:, 1] + 0.40) / 0.2, 0, 1)
    count = len(rings)
    sides = triangles(grid_quads(count, n, closed=True))
    end = [[(count - 1) * n + j, (count - 1) * n + (j + 1) % n, count * n] for j in range(n)]
    colour = np.tile(SHIRT, (len(points), 1))
    colour[: 3 * n] = HEM
    distance, ids = cKDTree(head.v_template[rim]).query(points, k=6)
    shares = 1 / np.maximum(distance, 1e-3)
    faces = outwards(np.concatenate([sides, end]), points, CENTRE)
    return Part(points, faces, np.column_stack([colour, np.zeros(len(points))]),
                np.tile(WHITE_UV, (len(points), 1)), rim[ids], shares / shares.sum(1, keepdims=True))  # fmt: skip


def _rim(head: HeadFile) -> np.ndarray:
    """The neck's open edge in order."""
    pairs = np.sort(head.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, count = np.unique(pairs, axis=0, return_counts=True)
    open_edges = edges[(count == 1) & head.masks["boundary"][edges].all(1)]
    after: dict[int, list[int]] = {}
    for a, b in open_edges.tolist():
        after.setdefault(a, []).append(b)
        after.setdefault(b, []).append(a)
    loop = [int(open_edges[0, 0])]
    while len(loop) < len(after):
        loop.append(next(v for v in after[loop[-1]] if v not in loop[-2:-1] and (v not in loop)))
    return np.array(loop)


def _body(head: HeadFile, mesh: HeadMesh, base: BaseMesh) -> np.ndarray:
    """(F, 3, 3) the body's triangles about the shoulders, laid on the head's neck."""
    old, new = np.array(list(mesh.from_base.keys())), np.array(list(mesh.from_base.values()))
    neck = head.masks["neck"][new]
    one, other = base.vertices[old[neck]], head.v_template[new[neck]].astype(np.float64)
    scale = 0.1
    shift = other.mean(0) - scale * one.mean(0)
    placed = scale * base.vertices + shift
    quads = base.quads[base.group("body")]
    near = (
        (np.abs(placed[quads, 0]).max(1) < 0.30) & (placed[quads, 1].min(1) > -0.65) & (placed[quads, 1].max(1) < -0.06)
    )
    triangles = placed[quads[near]]
    return np.concatenate([triangles[:, [0, 1, 2]], triangles[:, [0, 2, 3]]])


class _Surface:
    """Triangles as the distance at which a ray from the origin leaves them."""

    def __init__(self, triangles: np.ndarray) -> None:
        self.a = triangles[:, 0]
        self.ab, self.ac = triangles[:, 1] - self.a, triangles[:, 2] - self.a

    def radius(self, polar: np.ndarray, around: np.ndarray) -> np.ndarray:
        found = []
        for d in _direction(polar, around):
            p = np.cross(d, self.ac)
            det = (self.ab * p).sum(1)
            det = np.where(np.abs(det) < 1e-12, 1e-12, det)
            u = (-self.a * p).sum(1) / det
            q = np.cross(-self.a, self.ab)
            v, t = (q @ d) / det, (self.ac * q).sum(1) / det
            hit = (u > -1e-3) & (v > -1e-3) & (u + v < 1 + 1e-3) & (t > 0)
            found.append(t[hit].min() if hit.any() else 0.5)
        return np.array(found)


def _angles(rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.arctan2(np.hypot(rays[:, 0], rays[:, 2]), rays[:, 1]), np.arctan2(rays[:, 2], rays[:, 0])


def _direction(polar: np.ndarray, around: np.ndarray) -> np.ndarray:
    return np.stack([np.sin(polar) * np.cos(around), np.cos(polar), np.sin(polar) * np.sin(around)], axis=1)


def _away(head: HeadFile, rim: np.ndarray) -> np.ndarray:
    """Unit vectors out of the neck."""
    out = head.v_template[rim] - head.v_template[rim].mean(0)
    out[:, 1] = 0
    return out / np.linalg.norm(out, axis=1, keepdims=True)
