"""Joins the pieces into one triangle mesh and maps base vertices to its vertices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree

from setup.open_head.parts import Part, eyeball, mirrored_vertices, skin, socket_vertices, tongue
from setup.open_head.source import BaseMesh
from setup.open_head.teeth import teeth
from setup.open_head.topology import BodyTopology

LIP_CONTACT = 523  # midline vertex of the lip loop where the lips meet


@dataclass(frozen=True)
class HeadMesh:
    """The assembled head at MakeHuman's default shape. V vertices, decimetres."""

    operator: sp.csr_matrix  # (V, 19158)
    offset: np.ndarray  # (V, 3)
    rest: np.ndarray  # (V, 3)
    triangles: np.ndarray  # (F, 3)
    uv: np.ndarray  # (U, 2)
    triangles_uv: np.ndarray  # (F, 3)
    part: np.ndarray  # (V,) name of the piece
    mirror: np.ndarray  # (V,) vertex at the mirror image
    from_base: dict[int, int]  # base vertex -> head vertex (skin only)
    topology: BodyTopology
    socket: np.ndarray  # (V,) bool, eye sockets
    mouth_bag: np.ndarray  # (V,) bool, skin behind the lips' contact loop

    def displacement(self, base: np.ndarray) -> np.ndarray:
        """A morph target (19158, 3) on the head (V, 3)."""
        return self.operator @ base

    def ids(self, base_ids: list[int] | np.ndarray) -> np.ndarray:
        """Head vertices of base vertices, all of which must be skin."""
        return np.array([self.from_base[int(i)] for i in base_ids])

    def is_part(self, *names: str) -> np.ndarray:
        return np.isin(self.part, names)

    def adjacency(self) -> sp.csr_matrix:
        """(V, V) symmetric 0/1 matrix of triangle edges."""
        t = self.triangles
        pairs = np.unique(np.sort(np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]]), axis=1), axis=0)
        half = sp.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(self.rest),) * 2)
        return (half + half.T).tocsr()


def assemble(mesh: BaseMesh) -> HeadMesh:
    """Skin, eyeballs, teeth and tongue as one mesh."""
    topology = BodyTopology(mesh)
    parts = [
        skin(mesh, topology),
        eyeball(mesh, "left_eyeball"),
        eyeball(mesh, "right_eyeball"),
        teeth(mesh, "upper_teeth"),
        teeth(mesh, "lower_teeth"),
        tongue(mesh),
    ]
    operator = sp.vstack([part.operator for part in parts]).tocsr()
    offset = np.concatenate([part.offset for part in parts])
    rest = operator @ mesh.vertices + offset
    triangles, triangles_uv = _triangulate(parts, rest)
    labels = np.repeat([part.name for part in parts], [len(part.offset) for part in parts])
    from_base = {int(base): i for i, base in enumerate(parts[0].operator.indices)}
    left = socket_vertices(topology)
    socket = np.r_[left, mirrored_vertices(mesh, left)]
    return HeadMesh(
        operator=operator,
        offset=offset,
        rest=rest,
        triangles=triangles,
        uv=np.concatenate([part.uv for part in parts]),
        triangles_uv=triangles_uv,
        part=labels,
        mirror=_mirror(rest, labels),
        from_base=from_base,
        topology=topology,
        socket=_flag(socket, from_base, len(rest)),
        mouth_bag=_flag(_mouth_bag(topology), from_base, len(rest)),
    )


def _triangulate(parts: list[Part], rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quads split along the shorter diagonal, which keeps the mesh symmetric."""
    triangles, triangles_uv, first, first_uv = [], [], 0, 0
    for part in parts:
        for face, face_uv in zip(part.faces, part.faces_uv):
            corners, corners_uv = np.add(face, first), np.add(face_uv, first_uv)
            for pick in _split(rest[corners]):
                triangles.append(corners[pick])
                triangles_uv.append(corners_uv[pick])
        first, first_uv = first + len(part.offset), first_uv + len(part.uv)
    return np.array(triangles), np.array(triangles_uv)


def _split(points: np.ndarray) -> list[list[int]]:
    if len(points) == 3:
        return [[0, 1, 2]]
    if np.linalg.norm(points[0] - points[2]) <= np.linalg.norm(points[1] - points[3]) + 1e-6:
        return [[0, 1, 2], [0, 2, 3]]
    return [[1, 2, 3], [1, 3, 0]]


def _mirror(rest: np.ndarray, labels: np.ndarray) -> np.ndarray:
    other = {"left_eyeball": "right_eyeball", "right_eyeball": "left_eyeball"}
    mirror = np.zeros(len(rest), int)
    for name in np.unique(labels):
        here, there = np.flatnonzero(labels == name), np.flatnonzero(labels == other.get(name, name))
        mirror[here] = there[cKDTree(rest[there]).query(rest[here] * [-1, 1, 1])[1]]
    return mirror


def _mouth_bag(topology: BodyTopology) -> np.ndarray:
    """Base vertices of the pocket behind the lips' contact loop."""
    loop = topology.lip_loop(LIP_CONTACT)
    inside = min(
        (topology.vertices_from(n, loop) for n in sorted(topology.neighbours[LIP_CONTACT] - set(loop))), key=len
    )
    return np.asarray(inside)


def _flag(base_ids: np.ndarray, from_base: dict[int, int], n: int) -> np.ndarray:
    flag = np.zeros(n, bool)
    flag[[from_base[int(i)] for i in base_ids if int(i) in from_base]] = True
    return flag
