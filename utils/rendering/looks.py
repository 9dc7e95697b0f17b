"""How a head appears: clay (its own colours) or skin (a painted texture of the open head), and seen from where."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from utils.errors import UserError
from utils.heads.dressed_head import dressed_head, read_parts, read_retouch
from utils.heads.head_file import OPEN_HEAD_FILE, HeadFile
from utils.reading.array_file import read_npz
from utils.rendering.head_paint import painted

SKIN_TEXTURE, SKIN_UV = OPEN_HEAD_FILE.with_name("open_head_skin.jpg"), OPEN_HEAD_FILE.with_name("open_head_skin.npz")
SKINS = {"tan": SKIN_TEXTURE} | {n: OPEN_HEAD_FILE.with_name(f"open_head_skin_{n}.jpg") for n in ("fair", "deep")}
LOOKS = ("clay", "skin")
HAIR = ("bald", "short", "bob")
HAIR_ROOM = 0.018  # metres
CLAY_SHADE, CLAY_OPEN = 0.55, 0.85  # of the sky's light: what the deepest fold loses; the share that loses nothing
# Skin and hair that go with the bundled head shapes, by the names of their files.
PEOPLE = {
    "average": ("tan", "short"), "male_broad": ("deep", "short"), "male_narrow": ("tan", "short"),
    "male_older": ("fair", "bald"), "male_young": ("fair", "short"), "female_round": ("deep", "bob"),
    "female_slender": ("tan", "bob"), "female_young": ("fair", "bob"),
}  # fmt: skip
ALWAYS = ("teeth", "gums", "bust", "shadows", "lashes")  # parts that every drawn head has


@dataclass(frozen=True)
class Look:
    """What to hand to the renderer and to `models.exports.formats.ExportOptions`."""

    head: HeadFile  # with the look's texture coordinates
    texture: Path | None  # image on them
    drawn: HeadFile  # the head as it is drawn: smoother, with the parts that follow it (`utils.heads.dressed_head`)

    @property
    def dressed(self) -> HeadFile | None:
        """The drawn head for glb and usd; None for clay, which stays the motion mesh there."""
        return None if self.texture is None or self.drawn.finish is None else self.drawn


def dress(
    head: HeadFile,
    look: str | None = "clay",
    texture: str | Path | None = None,
    hair: str | None = None,
    skin: str | None = None,
    person: str | Path | None = None,
) -> Look:
    """A head in one of `LOOKS`; None is skin for the open head, clay for others and under a texture of the user's.

    An image given as `texture` replaces the look's own; it lies on the head file's texture coordinates for clay, on
    those of the skin for skin. `hair` (one of `HAIR`) and `skin` (one of `SKINS`) go by default with `person`, the name
    of a bundled head shape; clay is bald.

    Raises:
        UserError: an unknown look, hair or skin, or skin for another head than the open head.
    """
    usual = PEOPLE.get(Path(person).stem if person else "", PEOPLE["average"])
    if look is None:
        look = "skin" if _is_open(head) and texture is None else "clay"
    hair, skin = hair or ("bald" if look == "clay" else usual[1]), skin or usual[0]
    for flag, value, choices in (("--look", look, LOOKS), ("--hair", hair, HAIR), ("--skin", skin, tuple(SKINS))):
        if value not in choices:
            raise UserError(f"{flag}: {value!r} is not a choice; use one of {', '.join(choices)}")
    given = None if texture is None else Path(texture)
    if look == "clay":
        return Look(head, given, head if given or not _is_open(head) else _drawn(head, hair))
    uv = read_npz(SKIN_UV)["uv"]
    if head.uv is None or head.ft is None or head.uv.shape != uv.shape or head.exp_names is None:
        raise UserError(
            f"--look skin: is painted for the open head, not for {head.name}; use clay, or an image with -t"
        )
    head = replace(head, uv=uv)
    return Look(head, given or SKINS[skin], _drawn(head, hair, textured=True))


def _is_open(head: HeadFile) -> bool:
    return head.exp_names is not None and {"teeth", "lips", "boundary"} <= head.masks.keys() and head.uv is not None


def _drawn(head: HeadFile, hair: str, textured: bool = False) -> HeadFile:
    parts, retouch = read_parts(), read_retouch(head.n_vertices)
    paint = painted(head).paint
    if textured:
        paint[:, :3] = 1.0  # occlusion is in the texture
    else:
        paint[:, :3] *= 1 - CLAY_SHADE * np.clip(1 - retouch.openness / CLAY_OPEN, 0, 1)[:, None]
    worn = [part for name, part in parts.items() if name in (*ALWAYS, hair, f"{hair}_rim")]
    return dressed_head(head, paint, worn, retouch)


def motion_part(head: HeadFile) -> np.ndarray:
    """(V, 3) metres: the template without what is only drawn, so that a head in any look is framed alike."""
    return head.v_template if head.finish is None else head.v_template[: head.finish.n_motion]


def framed_part(head: HeadFile) -> np.ndarray:
    """(n, 3) metres: what the picture must hold; over a dressed head there is room for hair, worn or not."""
    shown = motion_part(head)
    return shown if head.finish is None else np.vstack([shown, [0, shown[:, 1].max() + HAIR_ROOM, 0]])


def pivot(head: HeadFile) -> np.ndarray:
    """(3,) metres: the middle of the head's template, about which the camera goes."""
    shown = motion_part(head)
    return (shown.min(0) + shown.max(0)) / 2


def seen_from(vertices: np.ndarray, centre: np.ndarray, yaw: float = 0.0, pitch: float = 0.0) -> np.ndarray:
    """Vertices (..., V, 3) as seen by a camera that has moved around `centre` (3,) by `yaw` degrees (positive: to the
    person's left, so that it sees the left cheek) and up by `pitch` degrees. The lights move with the camera.

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
