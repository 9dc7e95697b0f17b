"""Corresponding vertices of the open head and another head (FLAME).

They are given by the user, or derived from 68 (or the inner 51) facial landmarks of both heads: the open head is warped
onto the other by a thin-plate spline through the landmarks, then nearest vertices that face the same way are paired.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.spatial import KDTree

from utils.errors import UserError
from utils.exports.surface import smooth_normals
from utils.heads.flame_pickle import load_flame_pickle
from utils.heads.head_file import HeadFile
from utils.reading.array_file import is_finite, is_numeric, read_npz

REACH = 0.006  # metres: farther vertices do not correspond
SAME_SIDE = 0.5  # least cosine of normals, which separates the upper lip from the lower
INNER = ("mouth_interior", "left_eyeball", "right_eyeball", "teeth", "tongue")
MIN_PAIRS = 200
_WHAT = (
    "an npz with open_head and head (N,), vertex numbers; or with lmk68 (68,), vertex numbers; or FLAME's "
    "flame_static_embedding.pkl (lmk_face_idx, lmk_b_coords)"
)


@dataclass(frozen=True)
class Pairs:
    """N corresponding vertices."""

    open_vertices: np.ndarray  # (N,) int64
    head_vertices: np.ndarray  # (N,) int64
    linear: np.ndarray  # (3, 3) rotation times scale from the open head's space to the other's


def find_pairs(open_head: HeadFile, head: HeadFile, match: Path | None = None) -> Pairs:
    """Pairs from the user's file, else from the head's 68 landmarks.

    Raises:
        UserError: neither a file nor landmarks, an unusable file, or fewer than 200 pairs.
    """
    if match is None:
        if head.lmk68 is None:
            raise UserError(f"{head.name}: has no 68 landmarks to match with ARKit's face; give --match, {_WHAT}")
        return pairs_from_landmarks(open_head, head, head.v_template[head.lmk68])
    arrays = _read(Path(match))
    try:
        if {"open_head", "head"} <= arrays.keys():
            return _given_pairs(open_head, head, arrays)
        return pairs_from_landmarks(open_head, head, _landmark_points(head, arrays))
    except UserError:
        raise
    except (KeyError, IndexError, ValueError) as error:
        raise UserError(f"--match {match}: is not {_WHAT}") from error


def pairs_from_landmarks(open_head: HeadFile, head: HeadFile, points: np.ndarray) -> Pairs:
    """Pairs from landmark positions (68, 3) or, without the face's contour, (51, 3) on the other head's template.

    Raises:
        UserError: fewer than 200 vertices correspond.
    """
    assert open_head.lmk68 is not None, "the open head has landmarks"
    source, target = (h.v_template.astype(np.float64) for h in (open_head, head))
    anchors = source[open_head.lmk68[-len(points) :]]
    bend = RBFInterpolator(anchors, points, kernel="thin_plate_spline", smoothing=1e-6)
    inner = np.any([open_head.mask(name) for name in INNER], axis=0)
    face = np.flatnonzero(open_head.mask("face") & ~inner)
    bent = bend(source)
    near, found = map(np.asarray, KDTree(target).query(bent[face], distance_upper_bound=REACH))
    met = np.isfinite(near)
    ours, theirs = face[met], found[met]
    facing = smooth_normals(bent, open_head.faces)[ours] * smooth_normals(target, head.faces)[theirs]
    same = facing.sum(1) > SAME_SIDE
    _check_count(ours[same], head)
    return Pairs(ours[same], theirs[same], similarity(anchors, points))


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(3, 3) rotation times scale that best maps source (N, 3) onto target (N, 3), up to a shift (Umeyama 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    left, values, right = np.linalg.svd(b.T @ a)
    signs = np.array([1, 1, np.sign(np.linalg.det(left @ right))])
    return (left * signs) @ right * float((values * signs).sum() / (a**2).sum())


def _given_pairs(open_head: HeadFile, head: HeadFile, arrays: dict[str, np.ndarray]) -> Pairs:
    ours, theirs = (arrays[key].astype(np.int64).reshape(-1) for key in ("open_head", "head"))
    if min(ours.min(initial=0), theirs.min(initial=0)) < 0 or len(ours) != len(theirs):
        raise IndexError
    _check_count(ours, head)
    linear = similarity(open_head.v_template[ours].astype(np.float64), head.v_template[theirs].astype(np.float64))
    return Pairs(ours, theirs, linear)


def _landmark_points(head: HeadFile, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """(68 or 51, 3) metres, from vertices or from points on triangles."""
    if "lmk68" in arrays:
        points = head.v_template[arrays["lmk68"].astype(np.int64).reshape(-1)]
    else:
        corners = head.v_template[head.faces[arrays["lmk_face_idx"].astype(np.int64).reshape(-1)]]
        points = np.einsum("nk,nkx->nx", arrays["lmk_b_coords"].reshape(-1, 3), corners)
    if len(points) not in (51, 68):
        raise IndexError
    return points.astype(np.float64)


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise UserError(f"--match {path}: no such file; check the path")
    if path.suffix == ".pkl":
        return load_flame_pickle(path)
    try:
        return {key: values for key, values in read_npz(path).items() if is_numeric(values) and is_finite(values)}
    except UserError as error:
        raise UserError(f"--match {path}: not readable ({error}); give {_WHAT}") from error


def _check_count(vertices: np.ndarray, head: HeadFile) -> None:
    if len(vertices) < MIN_PAIRS:
        raise UserError(
            f"{head.name}: only {len(vertices)} vertices correspond to ARKit's face, but {MIN_PAIRS} are needed; "
            "check the landmarks, or give pairs of vertices with --match"
        )
