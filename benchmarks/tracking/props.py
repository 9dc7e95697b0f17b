"""Glasses drawn over films of the open head, and a beard painted on its skin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy.spatial.transform import Rotation

from models.tracking.embedding import EMBEDDING
from utils.heads.head_file import HeadFile
from utils.heads.joints import LEFT_EYE, RIGHT_EYE, ROOT_JOINT
from utils.heads.landmark_file import read_landmark_places
from utils.motion_file import Motion
from utils.rendering.looks import SKIN_UV, SKINS

DARK, HAIR = (24, 21, 20), (40, 29, 23)  # sRGB of rims and beard
RIM, RIM_CENTRE = (0.025, 0.020), (0.0, -0.004, 0.037)  # metres: half width and height; from the eye's joint
TEMPLE, THICK = (0.018, 0.004, -0.085), 0.0032  # from the rim's outer edge to the ear; width of the rims
CHEEK, RISE, WIDE = -0.020, 0.6, 0.03  # metres: the beard's upper edge, which rises towards the ears
SOFT, STRANDS = 10, (1.0, 6.0)  # pixels of the texture
OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)


def rims(head: HeadFile, shape: np.ndarray) -> list[np.ndarray]:
    """Lines (n, 3) in metres on the unturned head: two rims, the bridge, two temples."""
    joints = head.j_regressor @ (head.v_template + head.shapedirs @ shape)
    angles = np.linspace(0, 2 * np.pi, 49)
    square = np.stack([np.cos(angles), np.sin(angles)]) / (np.cos(angles) ** 4 + np.sin(angles) ** 4) ** 0.25
    ring = np.stack([RIM[0] * square[0], RIM[1] * square[1], 0 * angles], axis=1)
    left, right = (joints[eye] + RIM_CENTRE for eye in (LEFT_EYE, RIGHT_EYE))
    inner, upper = np.array([RIM[0], 0, 0]), np.array([0, RIM[1] / 3, 0])
    bridge = np.stack([right + inner + upper, (left + right) / 2 + 2 * upper, left - inner + upper])
    sides = [np.stack([eye + side * inner + upper, eye + side * inner + upper + np.array(TEMPLE) * (side, 1, 1)])
             for side, eye in ((1, left), (-1, right))]  # fmt: skip
    return [left + ring, right + ring, bridge, *sides]


def with_glasses(
    pictures: Iterator[np.ndarray], head: HeadFile, motion: Motion, to_screen: np.ndarray
) -> Iterator[np.ndarray]:
    """The pictures (size, size, 3) of a motion, with glasses on its head shape; to_screen (4, 4) of the stage."""
    shape = motion.shape_or_average
    lines = rims(head, shape)
    root = head.j_regressor[ROOT_JOINT] @ (head.v_template + head.shapedirs @ shape)
    for picture, pose in zip(pictures, motion.pose):
        turn, size = Rotation.from_rotvec(pose[:3]).as_matrix(), len(picture)
        mask = Image.new("L", (2 * size, 2 * size))
        draw = ImageDraw.Draw(mask)
        for line in lines:
            clip = ((line - root) @ turn.T + root) @ to_screen[:, :3].T + to_screen[:, 3]
            flat = (clip[:, :2] / clip[:, 3:] * (1, -1) + 1) * size
            width = THICK * to_screen[1, 1] / clip[:, 3].mean() * size
            draw.line([tuple(point) for point in flat], fill=255, width=max(round(width), 1), joint="curve")
        share = np.asarray(mask.resize((size, size), Image.Resampling.BOX), np.float32)[..., None] / 255
        yield (picture * (1 - share) + np.array(DARK) * share).astype(np.uint8)


def paint_beard(head: HeadFile, path: Path) -> Path:
    """Write the tan skin's texture with a full beard to `path`."""
    with np.load(SKIN_UV) as file:
        uv = file["uv"]
    skin = Image.open(SKINS["tan"]).convert("RGB")
    pixels = uv * (1, -1) * skin.size + (0, skin.size[1])
    x, y, _ = head.v_template.T
    hairy = head.mask("lower_face") & ~head.mask("nose") & ~head.mask("mouth_interior")
    hairy &= y < CHEEK + RISE * np.maximum(np.abs(x) - WIDE, 0)
    mask = Image.new("L", skin.size)
    draw = ImageDraw.Draw(mask)
    for corners in head.ft[hairy[head.faces].all(axis=1)]:
        draw.polygon([tuple(point) for point in pixels[corners]], fill=255)
    draw.polygon([tuple(point) for point in _lips(head, pixels)], fill=0)
    share = np.asarray(mask.filter(ImageFilter.GaussianBlur(SOFT)), np.float32) / 255
    grain = Image.fromarray(np.random.default_rng(0).integers(0, 256, skin.size[::-1], np.uint8))
    strands = np.asarray(grain.filter(ImageFilter.BoxBlur(STRANDS)), np.float32) / 255
    share = (share * np.clip(0.85 + 2 * (strands - 0.5), 0.5, 1))[..., None]
    mixed = np.asarray(skin) * (1 - share) + np.array(HAIR) * share
    Image.fromarray(mixed.astype(np.uint8)).save(path)
    return path


def _lips(head: HeadFile, pixels: np.ndarray) -> np.ndarray:
    """The outline of the lips (n, 2) in pixels of the texture."""
    places = read_landmark_places(EMBEDDING, head)
    corner = np.zeros(head.n_vertices, int)
    corner[head.faces.ravel()] = head.ft.ravel()
    rows = list(OUTER_LIPS)
    return np.einsum("nc,ncx->nx", places.weights[rows], pixels[corner[places.vertices[rows]]])
