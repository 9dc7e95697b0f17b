"""How a head appears: clay (its own colours) or skin (a painted texture of the open head), and seen from where."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from utils.errors import UserError
from utils.heads.head_file import OPEN_HEAD, HeadFile
from utils.reading.array_file import read_npz

SKIN_TEXTURE, SKIN_UV = OPEN_HEAD.with_name("open_head_skin.jpg"), OPEN_HEAD.with_name("open_head_skin.npz")
LOOKS = ("clay", "skin")


@dataclass(frozen=True)
class Look:
    """What to hand to the renderer and to `models.exports.formats.ExportOptions`."""

    head: HeadFile  # with the look's texture coordinates
    texture: Path | None  # image on them


def dress(head: HeadFile, look: str = "clay", texture: str | Path | None = None) -> Look:
    """A head in one of `LOOKS`. An image given as `texture` replaces the look's own; it lies on the head file's texture
    coordinates for clay, on those of the skin for skin.

    Raises:
        UserError: an unknown look, or skin for another head than the open head.
    """
    if look not in LOOKS:
        raise UserError(f"--look: {look!r} is not a choice; use one of {', '.join(LOOKS)}")
    given = None if texture is None else Path(texture)
    if look == "clay":
        return Look(head, given)
    uv = read_npz(SKIN_UV)["uv"]
    if head.uv is None or head.ft is None or head.uv.shape != uv.shape or head.exp_names is None:
        raise UserError(
            f"--look skin: is painted for the open head, not for {head.name}; use clay, or an image with -t"
        )
    return Look(replace(head, uv=uv), given or SKIN_TEXTURE)


def pivot(head: HeadFile) -> np.ndarray:
    """(3,) metres: the middle of the head's template, about which the camera goes."""
    return (head.v_template.min(0) + head.v_template.max(0)) / 2


def seen_from(vertices: np.ndarray, centre: np.ndarray, yaw: float = 0.0, pitch: float = 0.0) -> np.ndarray:
    """Vertices (..., V, 3) as a camera sees them that has gone round `centre` (3,) by `yaw` degrees (positive: to the
    person's left, so that it sees the left cheek) and up by `pitch` degrees. The lights go with the camera.

    Raises:
        UserError: an angle beyond 180 (yaw) or 90 (pitch) degrees.
    """
    for flag, angle, limit in (("--yaw", yaw, 180), ("--pitch", pitch, 90)):
        if not abs(angle) <= limit:
            raise UserError(f"{flag} {angle}: must lie between -{limit} and {limit} degrees")
    if yaw == 0 and pitch == 0:
        return vertices
    # The head turns instead of the camera: first about y, then its crown towards the viewer.
    turn = Rotation.from_euler("x", pitch, degrees=True) * Rotation.from_euler("y", -yaw, degrees=True)
    matrix, centre = turn.as_matrix().T.astype(vertices.dtype), centre.astype(vertices.dtype)
    return (vertices - centre) @ matrix + centre
