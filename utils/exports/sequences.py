"""One mesh file per frame, OBJ or binary PLY, in a folder: for tools without skeletons or morph targets.

A minute is 1500 files of 5000 vertices, so the texts are built from tables instead of by formatting numbers one by one.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from utils.atomic import check_output, make_folder
from utils.errors import UserError, disk_full
from utils.exports.surface import Surface
from utils.heads.head_file import HeadFile

_OURS = re.compile(r"\d{6}\.(obj|ply|mtl|png|jpg|jpeg)")
_THOUSAND = np.array([list(f"{i:03d}".encode()) for i in range(1000)], np.uint8)
_MICRO, _WHOLE = 1_000_000, 10  # numbers are written as s0.000000: six decimals, one digit before them


def write_sequence(folder: str | Path, frames: Iterable[np.ndarray], encode: Callable[[np.ndarray], bytes]) -> int:
    """Write 000000.<kind>, 000001.<kind>, ... into a new folder, or in place of an older sequence -> number of files.

    Args:
        folder: its name ends in _obj or _ply.
        frames: vertices (n, V, 3) metres, in chunks.
        encode: one frame's vertices (V, 3) -> a file's bytes.

    Raises:
        UserError: the folder holds other files, cannot be written, or the disk is full.
    """
    folder = Path(folder)
    kind = folder.name.rpartition("_")[2]
    _check_free(folder)
    make_folder(folder.parent)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
    try:
        count = 0
        for chunk in frames:
            for vertices in chunk:
                (temporary / f"{count:06d}.{kind}").write_bytes(encode(vertices))
                count += 1
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.replace(folder)
    except OSError as error:
        if disk_full(error):
            raise UserError(f"{folder}: no disk space left; free some or choose another output folder") from error
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(temporary)
    return count


def _check_free(folder: Path) -> None:
    """An older sequence may be replaced; anything else in the folder is the user's."""
    if not folder.is_dir():
        check_output(folder)
        return
    foreign = [item.name for item in folder.iterdir() if not _OURS.fullmatch(item.name)]
    if foreign:
        raise UserError(f"{folder}: holds other files ({foreign[0]}); choose another output")


def obj_encoder(surface: Surface, n_vertices: int) -> Callable[[np.ndarray], bytes]:
    """Frames as Wavefront OBJ: vertices in metres with 6 decimals, triangles, texture coordinates if there are any."""
    faces = surface.expand[surface.faces] + 1
    if surface.uv is None:
        texture = b""
        corners = np.char.mod("%d", faces)
    else:
        texture = "".join(f"vt {u:.6f} {v:.6f}\n" for u, v in surface.uv.tolist()).encode()
        corners = np.char.add(np.char.mod("%d/", faces), np.char.mod("%d", surface.faces + 1))
    tail = texture + "".join(f"f {a} {b} {c}\n" for a, b, c in corners.tolist()).encode()
    return lambda vertices: vertex_lines(vertices[:n_vertices]) + tail


def vertex_lines(vertices: np.ndarray) -> bytes:
    """`v x y z` lines of vertices (V, 3), rounded to a millionth.

    Raises:
        ValueError: a coordinate of 10 or more in size, or one that is not finite.
    """
    if not np.abs(vertices).max(initial=0) < _WHOLE - 1e-6:
        raise ValueError(f"coordinates must be below {_WHOLE} m, got up to {np.abs(vertices).max():g}")
    units = np.round(vertices.astype(np.float64) * _MICRO).astype(np.int64)
    size = np.abs(units)
    line = np.empty((len(vertices), 2 + 3 * 10), np.uint8)
    line[:, :2] = list(b"v ")
    for axis in range(3):
        start = 2 + 10 * axis
        whole, rest = np.divmod(size[:, axis], _MICRO)
        line[:, start] = np.where(units[:, axis] < 0, ord("-"), ord(" "))
        line[:, start + 1] = whole + ord("0")
        line[:, start + 2] = ord(".")
        line[:, start + 3 : start + 6] = _THOUSAND[rest // 1000]
        line[:, start + 6 : start + 9] = _THOUSAND[rest % 1000]
        line[:, start + 9] = ord("\n") if axis == 2 else ord(" ")
    return line.tobytes()


def ply_encoder(head: HeadFile) -> Callable[[np.ndarray], bytes]:
    """Frames as binary PLY: float32 vertices, the head's colours, triangles."""
    n = head.n_vertices
    colours = head.vertex_colours
    fields = [("xyz", "<f4", 3)] + ([("rgb", "u1", 3)] if colours is not None else [])
    vertex = np.zeros(n, np.dtype(fields))
    properties = "".join(f"property float {axis}\n" for axis in "xyz")
    if colours is not None:
        vertex["rgb"] = np.round(colours * 255)
        properties += "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))
    triangle = np.zeros(len(head.faces), np.dtype([("n", "u1"), ("corners", "<i4", 3)]))
    triangle["n"], triangle["corners"] = 3, head.faces
    start = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {n}\n{properties}"
        f"element face {len(head.faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    ).encode()
    tail = triangle.tobytes()

    def encode(vertices: np.ndarray) -> bytes:
        vertex["xyz"] = vertices
        return start + vertex.tobytes() + tail

    return encode
