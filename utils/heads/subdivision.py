"""One step of Loop subdivision on chosen triangles, as a sparse matrix on the vertices (Loop 1987).

The rest of the mesh stays as it is: on the border of the chosen part new vertices lie in the middles of edges and the
neighbouring triangles are split to meet them, so that no crack opens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

# New triangles of a face by which of its edges (ab, bc, ca) are split; corners 0..2, then the middles 3..5.
_SPLITS = {
    (0, 0, 0): ((0, 1, 2),),
    (1, 0, 0): ((0, 3, 2), (3, 1, 2)),
    (0, 1, 0): ((0, 1, 4), (0, 4, 2)),
    (0, 0, 1): ((0, 1, 5), (5, 1, 2)),
    (1, 1, 0): ((3, 1, 4), (0, 3, 4), (0, 4, 2)),
    (0, 1, 1): ((4, 2, 5), (0, 1, 4), (0, 4, 5)),
    (1, 0, 1): ((0, 3, 5), (3, 1, 5), (5, 1, 2)),
    (1, 1, 1): ((0, 3, 5), (3, 1, 4), (5, 4, 2), (3, 4, 5)),
}


@dataclass(frozen=True)
class Subdivided:
    """V vertices became N, U texture corners M."""

    operator: sp.csr_matrix  # (N, V), rows sum to 1; the first V rows are the old vertices, smoothed
    faces: np.ndarray  # (F', 3)
    uv_operator: sp.csr_matrix  # (M, U)
    ft: np.ndarray  # (F', 3)


def subdivide(faces: np.ndarray, ft: np.ndarray, n: tuple[int, int], chosen: np.ndarray) -> Subdivided:
    """faces, ft (F, 3); n = (V, U); chosen (F,) bool."""
    edges = Edges(faces, n[0], chosen)
    new_faces, new_ft = [], []
    split = edges.split[edges.of_face]
    corners = np.hstack([faces, n[0] + edges.number[edges.of_face]])
    # Texture edges are numbered by themselves: at a seam the middle has a corner on either side.
    uv_split, uv_numbers = _forced(ft, n[1], split)
    uv_corners = np.hstack([ft, n[1] + uv_numbers])
    for pattern, triangles in _SPLITS.items():
        these = np.flatnonzero((split == pattern).all(1))
        for triangle in triangles:
            new_faces.append(corners[these][:, triangle])
            new_ft.append(uv_corners[these][:, triangle])
    return Subdivided(
        sp.csr_matrix(sp.vstack([_old(edges, n[0]), _middles(edges, n[0])])),
        np.concatenate(new_faces),
        sp.csr_matrix(sp.vstack([sp.identity(n[1]), uv_split])),
        np.concatenate(new_ft),
    )


class Edges:
    """Undirected edges of a mesh; those of chosen faces are split."""

    def __init__(self, faces: np.ndarray, n: int, chosen: np.ndarray) -> None:
        pairs = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        key, inverse = np.unique(pairs[:, 0] * np.int64(n) + pairs[:, 1], return_inverse=True)
        self.ends = np.stack([key // n, key % n], axis=1)
        self.of_face = inverse.reshape(-1, 3)
        self.split = np.bincount(inverse, np.repeat(chosen, 3), len(key)) > 0
        self.number = np.cumsum(self.split) - 1  # of the new vertex
        # An edge is inner if two chosen faces meet at it.
        self.inner = np.bincount(inverse, np.repeat(chosen, 3), len(key)) == 2
        self.far = np.full((len(key), 2), -1)
        order = np.argsort(inverse, kind="stable")
        first = np.r_[True, np.diff(inverse[order]) > 0]
        far = faces[:, [2, 0, 1]].ravel()[order]
        self.far[inverse[order][first], 0] = far[first]
        self.far[inverse[order][~first], 1] = far[~first]


def _middles(edges: Edges, n: int) -> sp.csr_matrix:
    """Rows of the new vertices: 3/8 of the ends and 1/8 of the far corners, or the middle on a border."""
    ids = np.flatnonzero(edges.split)
    inner = edges.inner[ids]
    end = np.where(inner, 3 / 8, 1 / 2)
    rows = np.arange(len(ids))
    weights = np.concatenate([end, end, np.full(inner.sum(), 1 / 8), np.full(inner.sum(), 1 / 8)])
    where = np.concatenate([rows, rows, rows[inner], rows[inner]])
    far = edges.far[ids][inner]
    columns = np.concatenate([edges.ends[ids, 0], edges.ends[ids, 1], far[:, 0], far[:, 1]])
    return sp.csr_matrix((weights, (where, columns)), shape=(len(ids), n))


def _old(edges: Edges, n: int) -> sp.csr_matrix:
    """Rows of the old vertices: smoothed where every edge round them is an inner one, else unchanged."""
    degree = np.bincount(edges.ends.ravel(), minlength=n)
    inner = np.bincount(edges.ends.ravel(), np.repeat(edges.inner, 2), n)
    moves = (degree > 0) & (degree == inner)
    beta = np.where(degree == 3, 3 / 16, 3 / (8 * np.maximum(degree, 1)))
    ring = sp.coo_matrix((np.ones(len(edges.ends)), edges.ends.T), shape=(n, n)).tocsr()
    share = sp.diags(np.where(moves, beta, 0.0))
    return sp.diags(np.where(moves, 1 - degree * beta, 1.0)) + share @ (ring + ring.T)


def _forced(ft: np.ndarray, n: int, split: np.ndarray) -> tuple[sp.csr_matrix, np.ndarray]:
    """Middles of the texture edges of split edges: rows (M - U, U), and the number of each face's edges (F, 3)."""
    pairs = np.sort(ft[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    key, inverse = np.unique(pairs[:, 0] * np.int64(n) + pairs[:, 1], return_inverse=True)
    used = np.bincount(inverse, split.ravel(), len(key)) > 0
    ends = np.stack([key // n, key % n], axis=1)[used]
    rows = np.repeat(np.arange(len(ends)), 2)
    matrix = sp.csr_matrix((np.full(2 * len(ends), 0.5), (rows, ends.ravel())), shape=(len(ends), n))
    return matrix, (np.cumsum(used) - 1)[inverse].reshape(-1, 3)
