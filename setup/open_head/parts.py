"""The head's pieces as linear operators on the base mesh, so that every morph target carries over to them.

A piece's vertices are `operator @ base + offset`. Skin and tongue are cut out of the base mesh; eyeballs and teeth are
new surfaces expressed as combinations of MakeHuman's helper geometry. Base-mesh vertex numbers, decimetres.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from setup.open_head.source import N_VERTICES, BaseMesh
from setup.open_head.topology import BodyTopology

NECK_CUT = 1522  # on the front midline of the neck loop where the head ends
LID_LOOP = 6785  # left eye socket: everything behind this loop is hidden by the lids
SOCKET_BACK = 11915  # the deepest vertex of the left eye socket
SOCKET_DEPTH = 0.035  # socket skin further back than this in front of the eye's centre is behind the eyeball
EYES = {"left_eyeball": slice(14598, 14670), "right_eyeball": slice(14670, 14742)}
TONGUE, TONGUE_OFFSET = slice(13380, 13606), (0.0, -0.075, -0.045)

# Polar angles of the eyeball's rings in degrees, measured from the gaze axis: pupil, iris rim, limbus, then the white.
PUPIL_RING, IRIS_RING = 8.0, 22.0
EYE_RINGS = np.radians(np.r_[PUPIL_RING, IRIS_RING, 24.5, np.linspace(36, 168, 10)])
EYE_SECTORS = 16

# The labial gum row of each helper band, from the right molar to the left one.
UPPER_GUM = [*range(15068, 15061, -1), 15060, 15061, *range(15096, 15104)]
LOWER_GUM = [*range(15000, 14993, -1), 14992, 14993, *range(15028, 15036)]


@dataclass(frozen=True)
class Part:
    """One piece of the head: n vertices, faces of 3 or 4 corners into them, own texture vertices."""

    name: str
    operator: sp.csr_matrix  # (n, 19158), rows sum to 1
    offset: np.ndarray  # (n, 3)
    faces: list[list[int]]
    uv: np.ndarray  # (k, 2)
    faces_uv: list[list[int]]

    def positions(self, base: np.ndarray) -> np.ndarray:
        return self.operator @ base + self.offset


def _selection(ids: np.ndarray) -> sp.csr_matrix:
    return sp.csr_matrix((np.ones(len(ids)), (np.arange(len(ids)), ids)), shape=(len(ids), N_VERTICES))


def _spread(weights: np.ndarray, ids: np.ndarray) -> sp.csr_matrix:
    """Dense weights (n, m) over the base vertices `ids` (m,) as an operator."""
    weights = np.where(np.abs(weights) > 1e-9, weights, 0)
    row, column = np.nonzero(weights)
    return sp.csr_matrix((weights[row, column], (row, ids[column])), shape=(len(weights), N_VERTICES))


def _excerpt(name: str, mesh: BaseMesh, quads: np.ndarray, offset: tuple[float, float, float]) -> Part:
    """The base mesh's own vertices and quads."""
    ids, faces = np.unique(mesh.quads[quads], return_inverse=True)
    uv_ids, faces_uv = np.unique(mesh.quads_uv[quads], return_inverse=True)
    return Part(
        name,
        _selection(ids),
        np.tile(np.asarray(offset), (len(ids), 1)),
        faces.reshape(-1, 4).tolist(),
        mesh.uv[uv_ids],
        faces_uv.reshape(-1, 4).tolist(),
    )


def eye_centre(mesh: BaseMesh, name: str) -> np.ndarray:
    return mesh.vertices[EYES[name]].mean(0)


def socket_vertices(topology: BodyTopology) -> np.ndarray:
    """Base vertices of the left eye socket: the pocket behind the lid loop, the loop included."""
    loop = topology.lid_loop(LID_LOOP)
    return np.union1d(topology.vertices_from(SOCKET_BACK, loop), loop)


def mirrored_vertices(mesh: BaseMesh, ids: np.ndarray) -> np.ndarray:
    """Base vertices at the mirror image (x -> -x) of the given ones."""
    index = {tuple(key): i for i, key in enumerate(np.round(mesh.vertices[:13380] * 1e3).astype(int).tolist())}
    return np.array([index[-x, y, z] for x, y, z in np.round(mesh.vertices[ids] * 1e3).astype(int).tolist()])


def skin(mesh: BaseMesh, topology: BodyTopology) -> Part:
    """Everything above the neck cut, without the part of the eye sockets that is behind the eyeballs."""
    above = topology.quads_from(topology.top, topology.neck_loop(NECK_CUT))
    left = socket_vertices(topology)
    socket = np.r_[left, mirrored_vertices(mesh, left)]
    hidden = socket[mesh.vertices[socket, 2] < eye_centre(mesh, "left_eyeball")[2] + SOCKET_DEPTH]
    kept = [quad for quad in above if not np.isin(topology.quads[quad], hidden).any()]
    return _excerpt("skin", mesh, topology.quad_ids[kept], (0, 0, 0))


def tongue(mesh: BaseMesh) -> Part:
    """The helper tongue, moved back and down so that it clears the teeth."""
    return _excerpt("tongue", mesh, mesh.group("helper-tongue"), TONGUE_OFFSET)


def eyeball(mesh: BaseMesh, name: str) -> Part:
    """A sphere fitted to the helper eye, its pole on the gaze axis (+z), rings dense at the iris."""
    helper = mesh.vertices[EYES[name]]
    ones = np.ones((len(helper), 1))
    # |p|^2 = 2 c.p + (r^2 - |c|^2): linear least squares for centre and radius.
    solution = np.linalg.lstsq(np.hstack([2 * helper, ones]), (helper**2).sum(1), rcond=None)[0]
    centre, radius = solution[:3], np.sqrt(solution[3] + solution[:3] @ solution[:3])
    around = 2 * np.pi * np.arange(EYE_SECTORS) / EYE_SECTORS
    polar, azimuth = (grid.ravel() for grid in np.meshgrid(EYE_RINGS, around, indexing="ij"))
    direction = np.c_[np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)]
    direction = np.r_[[[0, 0, 1]], direction, [[0, 0, -1]]]
    points = centre + radius * direction
    # Affine weights of least norm: exact for every affine motion of the helper.
    weights = np.hstack([points, np.ones((len(points), 1))]) @ np.linalg.pinv(np.hstack([helper, ones]))
    ids = np.arange(EYES[name].start, EYES[name].stop)
    faces = _sphere_faces()
    uv = _eye_uv(direction, right=name == "right_eyeball")
    return Part(name, _spread(weights, ids), np.zeros((len(points), 3)), faces, uv, faces)


def _sphere_faces() -> list[list[int]]:
    n, rings = EYE_SECTORS, len(EYE_RINGS)

    def at(ring: int, sector: int) -> int:
        return 1 + ring * n + sector % n

    front = [[0, at(0, k), at(0, k + 1)] for k in range(n)]
    sides = [[at(r, k), at(r + 1, k), at(r + 1, k + 1), at(r, k + 1)] for r in range(rings - 1) for k in range(n)]
    back = [[1 + rings * n, at(rings - 1, k + 1), at(rings - 1, k)] for k in range(n)]
    return front + sides + back


def _eye_uv(direction: np.ndarray, right: bool) -> np.ndarray:
    """Azimuthal map of the sphere into a free corner of MakeHuman's texture."""
    polar = np.arccos(np.clip(direction[:, 2], -1, 1))
    across = np.linalg.norm(direction[:, :2], axis=1, keepdims=True)
    disc = direction[:, :2] / np.where(across > 1e-9, across, 1) * 0.025 * polar[:, None] / np.pi
    return disc + [0.09 if right else 0.03, 0.97]


def teeth_grid(mesh: BaseMesh, group: str, gum: list[int]) -> np.ndarray:
    """(4, 17) base vertices of a helper tooth band: labial gum, labial edge, lingual edge, lingual gum."""
    neighbours: dict[int, set[int]] = defaultdict(set)
    for quad in mesh.quads[mesh.group(group)].tolist():
        for a, b in zip(quad, quad[1:] + quad[:1]):
            neighbours[a].add(b)
            neighbours[b].add(a)
    rows, used = [list(gum)], set(gum)
    for _ in range(3):
        rows.append([(neighbours[vertex] - used).pop() for vertex in rows[-1]])
        used.update(rows[-1])
    return np.array(rows)
