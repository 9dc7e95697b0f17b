"""Texture coordinates that FLAME keeps in separate files: `FLAME_texture.npz`, or `head_template.obj`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.reading.array_file import read_bytes

UV_FILES = ("FLAME_texture.npz", "head_template.obj")  # found beside a model without being named
NO_UV = (
    "the head file has no texture coordinates; for FLAME put FLAME_texture.npz or head_template.obj beside "
    "generic_model.pkl (setup/README.md)"
)
_HOW = "give FLAME's FLAME_texture.npz or head_template.obj of this version"


def read_uv(path: Path, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-> coordinates (U, 2) float32, v upwards, and the texture corners (F, 3) int64 of a head's faces (F, 3).

    Raises:
        UserError: missing, damaged, or of another mesh.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; {_HOW}")
    try:
        uv, corners = _from_obj(path, faces) if path.suffix.lower() == ".obj" else _from_npz(path)
    except UserError:
        raise
    except Exception as error:  # zipfile, zlib, numpy and text each have their own exceptions for a broken file
        raise UserError(f"{path}: holds no texture coordinates ({error}); {_HOW}") from error
    if uv.ndim != 2 or uv.shape[1] != 2 or not np.isfinite(uv).all():
        raise UserError(f"{path}: texture coordinates are {uv.shape}, not finite (U, 2); {_HOW}")
    if corners.shape != faces.shape or not 0 <= corners.min() <= corners.max() < len(uv):
        raise UserError(f"{path}: texture corners {corners.shape} do not fit the head's faces {faces.shape}; {_HOW}")
    return uv, corners


def find_uv(model: Path) -> Path | None:
    """The file of texture coordinates that lies beside a model."""
    return next((path for name in UV_FILES if (path := model.with_name(name)).is_file()), None)


def _from_npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """`vt` and `ft`; the pictures beside them, hundreds of megabytes, are not read."""
    with np.load(path, allow_pickle=False) as file:
        return np.asarray(file["vt"], np.float32), np.asarray(file["ft"]).astype(np.int64)


def _from_obj(path: Path, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`vt` lines, and `f` lines of triangles v/vt; they must be the head's own triangles, in order."""
    lines = [line.split() for line in read_bytes(path).decode("utf-8", "replace").splitlines()]
    uv = np.array([line[1:3] for line in lines if line[:1] == ["vt"]], np.float32)
    corners = [[corner.split("/")[:2] for corner in line[1:]] for line in lines if line[:1] == ["f"]]
    numbers = np.array(corners, np.int64) - 1  # (F, 3, 2)
    if not np.array_equal(numbers[..., 0], faces):
        raise UserError(f"{path}: its triangles are not the head's; {_HOW}")
    return uv, numbers[..., 1]


def split_seams(faces: np.ndarray, ft: np.ndarray, uv: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One drawn vertex per pair of vertex and texture corner: -> the head's vertex (N,), faces (F, 3), uv (N, 2).

    The head's n vertices come first; copies of those at which the texture has a seam follow.
    """
    key = faces.ravel() * len(uv) + ft.ravel()
    pairs, inverse = np.unique(key, return_inverse=True)
    vertex, corner = pairs // len(uv), pairs % len(uv)
    first = np.ones(len(pairs), bool)
    first[1:] = vertex[1:] != vertex[:-1]
    number = np.where(first, vertex, n + np.cumsum(~first) - 1)
    expand = np.concatenate([np.arange(n), vertex[~first]])
    drawn = np.zeros((len(expand), 2), np.float32)
    drawn[number] = uv[corner]
    return expand, number[inverse].reshape(-1, 3), drawn
