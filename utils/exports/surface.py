"""The drawn surface of a head: smooth normals, texture seams, colours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.heads.head_file import Finish, HeadFile
from utils.heads.head_uv import NO_UV, split_seams
from utils.rendering.head_paint import EYE


@dataclass(frozen=True)
class Material:
    """How faces shine."""

    name: str
    roughness: float = 0.65
    mirrors: bool = True  # False: no reflections, as in the depth of a mouth, which no light reaches
    blended: bool = False  # over the rest, by alpha


SKIN, EYES, MOUTH, SOFT, RIM = (
    Material("skin"), Material("eyes", roughness=0.1), Material("mouth", roughness=1.0, mirrors=False),
    Material("soft", blended=True), Material("rim", blended=True),
)  # fmt: skip
MATERIALS = (SKIN, EYES, MOUTH, SOFT, RIM)  # in the order in which they are drawn; lashes are soft, hair has rims


@dataclass(frozen=True)
class Surface:
    """N >= V drawn vertices: the head's V in their order, then copies of those at which the texture has a seam."""

    expand: np.ndarray  # (N,) int64, the head's vertex
    faces: np.ndarray  # (F, 3) int64 into N
    uv: np.ndarray | None = None  # (N, 2) float32, v up
    colours: np.ndarray | None = None  # (N, 3) float32 sRGB in 0..1
    image: Path | None = None  # png or jpg; colours are multiplied with it
    alpha: np.ndarray | None = None  # (N,) float32, of a dressed head (`utils.heads.dressed_head`)
    materials: np.ndarray | None = None  # (F,) numbers of MATERIALS, of a dressed head; None: all are SKIN

    def faces_of(self) -> dict[Material, np.ndarray]:
        """Numbers (n,) of the faces of each material in use."""
        if self.materials is None:
            return {SKIN: np.arange(len(self.faces))}
        found = {material: np.flatnonzero(self.materials == k) for k, material in enumerate(MATERIALS)}
        return {material: faces for material, faces in found.items() if len(faces)}


def make_surface(head: HeadFile, texture: str | Path | None = None) -> Surface:
    """The head's surface with its colours, or with a texture image on its UVs.

    Raises:
        UserError: a texture for a head without UVs, or an image that is neither png nor jpg, or missing.
    """
    has_uv = head.uv is not None and head.ft is not None
    if texture is not None:
        texture = _checked_image(Path(texture), has_uv)
    if head.uv is None or head.ft is None:
        return Surface(np.arange(head.n_vertices), head.faces, colours=head.vertex_colours)
    expand, faces, uv = split_seams(head.faces, head.ft, head.uv, head.n_vertices)
    finish, colours = head.finish, head.vertex_colours
    if colours is not None:
        colours = None if texture is not None and finish is None else colours[expand]
    surface = Surface(expand, faces, uv, colours, texture)
    if finish is None:
        return surface
    return replace(surface, alpha=finish.alpha[expand], materials=_materials(head, finish))


def _materials(head: HeadFile, finish: Finish) -> np.ndarray:
    """(F,) numbers of MATERIALS of a dressed head's faces."""
    found = np.full(len(head.faces), MATERIALS.index(SKIN))
    found[head.masks["mouth_interior"][head.faces].all(1)] = MATERIALS.index(MOUTH)
    found[(finish.paint[:, 3] >= EYE)[head.faces].all(1)] = MATERIALS.index(EYES)
    over = slice(len(found) - finish.blended, None)
    lit = (finish.paint[:, 3] > 0)[head.faces[over]].all(1)
    found[over] = np.where(lit, MATERIALS.index(RIM), MATERIALS.index(SOFT))
    return found


def _checked_image(path: Path, has_uv: bool) -> Path:
    if not has_uv:
        raise UserError(f"--texture {path}: {NO_UV}")
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UserError(f"--texture {path}: exported models carry png or jpg; convert the image")
    if not path.is_file():
        raise UserError(f"--texture {path}: no such image; check the path")
    return path


def smooth_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals (V, 3) float32; +z for a vertex of no face. vertices (V, 3), faces (F, 3)."""
    corners = vertices.astype(np.float64)[faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    index = faces.ravel()
    total = np.stack([np.bincount(index, np.repeat(flat[:, i], 3), len(vertices)) for i in range(3)], axis=1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 1e-20, total / np.maximum(length, 1e-20), [0.0, 0.0, 1.0]).astype(np.float32)


def linear_colours(srgb: np.ndarray) -> np.ndarray:
    """sRGB in 0..1 -> linear light, which glTF and USD expect of vertex colours."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)
