"""The style of a motion that a client sends."""

from __future__ import annotations

import base64
import io
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.app.style_files import style_from_file, style_of
from models.generation.style_extractor import StyleExtractor
from utils.errors import UserError
from utils.motion_file import OPEN_HEAD, Motion

MAX_UNPACKED = 20_000_000  # bytes of a motion that gives a style


def style_of_motion(motion: dict[str, Any], extractor: StyleExtractor) -> np.ndarray:
    """A style vector (d,) of {npz: base64 of a motion file} or {exp, pose}.

    Raises:
        UserError: a motion that cannot be used.
    """
    if "npz" not in motion:
        exp, pose = _rows(motion, "exp", 50), _rows(motion, "pose", 6)
        if len(exp) != len(pose):
            raise UserError(f"style: exp has {len(exp)} rows, pose {len(pose)}; give as many of both")
        return style_of(extractor, Motion(exp, pose, head_model=OPEN_HEAD))
    try:
        data = base64.b64decode(motion["npz"], validate=True)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (ValueError, zipfile.BadZipFile) as error:
        raise UserError("style: npz is not an npz file as base64") from error
    if unpacked > MAX_UNPACKED:
        raise UserError(f"style: npz unpacks to {unpacked} bytes; {MAX_UNPACKED} are allowed, cut the motion")
    with tempfile.TemporaryDirectory(prefix="diffposetalk-") as folder:
        path = Path(folder) / "style.npz"
        path.write_bytes(data)
        try:
            return style_from_file(path, extractor)[0]
        except UserError as error:
            raise UserError(str(error).replace(str(path), "style")) from error


def _rows(motion: dict[str, Any], name: str, width: int) -> np.ndarray:
    rows: Sequence[Sequence[float]] = motion[name]
    if any(len(row) != width for row in rows):
        raise UserError(f"style: every row of {name} must have {width} numbers")
    try:
        values = np.array(rows, np.float32).reshape(-1, width)
    except (TypeError, ValueError) as error:
        raise UserError(f"style: {name} must be numbers") from error
    if not np.isfinite(values).all():
        raise UserError(f"style: {name} must be finite numbers")
    return values
