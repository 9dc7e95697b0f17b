"""What a head is painted with: colours, gloss, the dark of the mouth, eyes, or a texture image over its UVs."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.heads.head_file import HeadFile
from utils.heads.head_uv import NO_UV, split_seams
from utils.reading.array_file import read_bytes

IMAGES = ("PNG", "JPEG", "BMP")  # not WEBP: opening one takes memory for the size it claims, before it is known
MAX_SIDE, MAX_BYTES = 8192, 256 << 20  # of a texture: pixels, bytes of the file
CLAY = (0.80, 0.73, 0.69)  # sRGB, for heads without colours

# Gloss by region (mask name); the rest is matte.
GLOSS = {"teeth": 0.30, "tongue": 0.25, "lips": 0.10}
EYE = 2.0  # "gloss" of eyeballs: EYE + angle from the gaze axis in radians; the shader paints iris and pupil from it
UNLIT, LIT = -100.0, -200.0  # less alpha: in the place of gloss on what is blended over the rest
GAZE_DOWN = 0.085  # tangent

# Metres behind the lips in which the light in the mouth falls to 1/e: walls; parts that face the light reach deeper.
MOUTH_DEPTH, SHADED_PARTS = 0.011, {"tongue": 0.030, "teeth": 0.032}


@dataclass(frozen=True)
class Skin:
    """The drawn mesh's constant part; its N vertices repeat the head's V where the texture has seams."""

    expand: np.ndarray  # (N,) index of the head's vertex
    faces: np.ndarray  # (F, 3) into N
    paint: np.ndarray  # (N, 4) float32: sRGB, gloss
    uv: np.ndarray | None = None  # (N, 2)
    image: np.ndarray | None = None  # (h, w, 3) uint8
    inner: np.ndarray | None = None  # (F',) numbers of the faces whose inner sides can be seen; None: all
    blended: int = 0  # faces at the end of the list, whose paint holds alpha in the place of gloss: UNLIT or LIT


def painted(head: HeadFile) -> Skin:
    """The head in its own colours, or in clay."""
    n = len(head.v_template)
    if head.finish is not None:
        return Skin(np.arange(n), head.faces, _finished(head), inner=_inner(head), blended=head.finish.blended)
    paint = np.zeros((n, 4), np.float32)
    paint[:, :3] = CLAY if head.vertex_colours is None else head.vertex_colours
    paint[:, :3] *= _mouth_shade(head)[:, None]
    paint[:, 3] = _gloss(head)
    return Skin(np.arange(n), head.faces, paint)


def textured(head: HeadFile, path: Path) -> Skin:
    """The head under an image on its texture coordinates, without its own colours."""
    if head.uv is None or head.ft is None:
        raise UserError(f"--texture {path}: {NO_UV}")
    image = read_image(path)
    expand, faces, uv = split_seams(head.faces, head.ft, head.uv, head.n_vertices)
    paint = np.ones((len(expand), 4), np.float32)
    blended = 0
    if head.finish is None:
        paint[:, 3] = _gloss(head)[expand]
    else:
        paint, blended = _finished(head)[expand], head.finish.blended
    return Skin(expand, faces, paint, uv, image, _inner(head), blended)


def _inner(head: HeadFile) -> np.ndarray | None:
    return None if head.finish is None else np.flatnonzero(head.finish.inner)


def _finished(head: HeadFile) -> np.ndarray:
    """(N, 4) a dressed head's paint, with alpha in the place of gloss where it is blended; matte parts are not lit."""
    assert head.finish is not None
    paint = head.finish.paint.copy()
    over = np.unique(head.faces[len(head.faces) - head.finish.blended :])
    paint[over, 3] = np.where(paint[over, 3] > 0, LIT, UNLIT) - head.finish.alpha[over]
    return paint


def _gloss(head: HeadFile) -> np.ndarray:
    """(V,) gloss, or EYE + angle from the gaze axis for eyeballs. They look along +z in the template, and down a little
    (GAZE_DOWN), into the middle of the open lids."""
    gloss = np.zeros(len(head.v_template), np.float32)
    for name, value in GLOSS.items():
        if name in head.masks:
            gloss[head.masks[name]] = value
    for name in ("left_eyeball", "right_eyeball"):
        if head.masks.get(name, np.zeros(0)).any():
            ball = head.v_template[head.masks[name]]
            ray = ball - (ball.max(axis=0) + ball.min(axis=0)) / 2
            across = np.hypot(ray[:, 0], ray[:, 1] + GAZE_DOWN * ray[:, 2])
            gloss[head.masks[name]] = EYE + np.arctan2(across, ray[:, 2])
    return gloss


def _mouth_shade(head: HeadFile) -> np.ndarray:
    """(V,) factor on the colour: 1 outside, falling with the depth behind the lips inside the mouth (occlusion)."""
    shade = np.ones(len(head.v_template), np.float32)
    inside, lips = head.masks.get("mouth_interior"), head.masks.get("lips")
    if inside is not None and lips is not None and lips.any():
        z = head.v_template[:, 2]
        falloff = np.full(len(shade), MOUTH_DEPTH)
        for part in SHADED_PARTS.keys() & head.masks.keys():
            falloff[head.masks[part]] = SHADED_PARTS[part]
        depth = np.maximum(np.quantile(z[lips], 0.8) - z[inside], 0.0)
        shade[inside] = np.exp(-depth / falloff[inside] / 2)  # the shader squares colours
    return shade


def read_image(path: Path) -> np.ndarray:
    """An image as uint8 (H, W, 3) RGB; its size is checked before it is unpacked.

    Raises:
        UserError: missing, no png, jpg or bmp, damaged, or of more than 8192 pixels a side.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not path.is_file():
        raise UserError(f"--texture {path}: no such image; check the path")
    try:
        with Image.open(io.BytesIO(read_bytes(path, MAX_BYTES)), formats=IMAGES) as image:
            if max(image.size) > MAX_SIDE:
                width, height = image.size
                raise UserError(
                    f"--texture {path}: has {width} x {height} pixels, at most {MAX_SIDE} a side; shrink it"
                )
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except UserError:
        raise
    except Exception as error:  # each of Pillow's readers has its own exceptions for a damaged file
        reason = "of unknown kind" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(f"--texture {path}: not a readable image ({reason}); give a png or jpg") from error
