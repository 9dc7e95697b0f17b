"""Frames of a talking head: vertices in, uint8 pictures out.

Matte clay look (shaders/) or a texture image, five directional lights, 4x multisampled edges. The camera is set
from the head file's own template, so any head fills the picture alike. Per frame only the vertex buffer changes.
moderngl draws (mesh_drawing.py), or pyrender (pyrender_drawing.py): the same pictures, slower.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import scipy.sparse

from utils.errors import UserError
from utils.heads.head_file import HeadFile
from utils.heads.joints import ROOT_JOINT
from utils.rendering.gl_context import FAST, gl_thread
from utils.rendering.head_paint import Skin, painted, textured
from utils.rendering.looks import framed_part
from utils.rendering.mesh_drawing import MeshDrawing
from utils.rendering.stage import FIELD_OF_VIEW, Stage, stage_for

IN_FLIGHT = 3  # frames rendered ahead of the consumer, so that encoding and rendering overlap
LARGEST = 8192  # pixels: takes 6.5 GB; twice as many are more than OpenGL draws with smooth edges
RENDERERS = (FAST, "pyrender")


@dataclass(frozen=True)
class RenderStyle:
    """How a head is drawn."""

    size: int = 640
    """Width and height of the picture in pixels (even: the video format needs it)."""
    black_bg: bool = False
    """Black background instead of a soft light grey."""
    texture: str | Path | None = None
    """Image wrapped over the head through its UV coordinates; None: the head's colours, or clay."""
    fov: float = FIELD_OF_VIEW
    """Field of view, degrees; the head always fills the picture: a wide view comes close and distorts."""

    renderer: str = FAST
    """The renderer, one of `RENDERERS`."""

    def __post_init__(self) -> None:
        if self.renderer not in RENDERERS:
            raise UserError(f"--renderer {self.renderer}: is not a choice; use one of {', '.join(RENDERERS)}")
        if not 16 <= self.size <= LARGEST or self.size % 2:
            raise UserError(f"--size {self.size}: must be an even number of pixels from 16 to {LARGEST}; use 640")
        if not 1 <= self.fov <= 120:
            raise UserError(f"--fov {self.fov}: must lie between 1 and 120 degrees; use {FIELD_OF_VIEW:g}")


class Drawing(Protocol):
    """One skin on one stage, made and used on its renderer's thread."""

    def draw(self, data: np.ndarray) -> np.ndarray:
        """positions ++ unit normals (N, 6) float32 -> uint8 (size, size, 3) RGB, the top row first."""
        ...


class VertexNormals:
    """Area-weighted smooth vertex normals: one sparse product gathers the face normals at the vertices."""

    def __init__(self, faces: np.ndarray, n_vertices: int) -> None:
        """faces (F, 3) int."""
        self.faces, self.n_vertices = faces, n_vertices
        columns = np.repeat(np.arange(len(faces)), 3)
        ones = np.ones(faces.size, np.float32)
        self._gather = scipy.sparse.csr_matrix((ones, (faces.ravel(), columns)), shape=(n_vertices, len(faces)))

    def __call__(self, vertices: np.ndarray) -> np.ndarray:
        """vertices (V, 3) -> unit normals (V, 3) float32; a vertex of no face gets 0."""
        a, b, c = (vertices[self.faces[:, i]] for i in range(3))
        normals = self._gather @ np.cross(b - a, c - a)
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        return (normals / np.maximum(length, 1e-20)).astype(np.float32)


class DressedNormals:
    """Normals of a dressed head: on the skin those of the motion mesh, spread; parts turn with skull or shoulders."""

    def __init__(self, head: HeadFile) -> None:
        assert head.finish is not None
        finish = head.finish
        self.n_vertices, self._n_motion = head.n_vertices, finish.n_motion
        self._smooth, self._calm = finish.smooth, finish.calm
        self._plain = VertexNormals(finish.motion_faces, finish.n_motion)
        n_skin = finish.smooth.get_shape()[0]
        parts = VertexNormals(head.faces, head.n_vertices)(head.v_template)[n_skin:]
        self._held = head.weights[n_skin:, ROOT_JOINT, None]
        self._parts, self._rest = parts, head.v_template.astype(np.float64)
        self._shoulders = finish.shoulders
        self._balls = [np.flatnonzero(head.masks[name]) for name in ("left_eyeball", "right_eyeball")]

    def __call__(self, vertices: np.ndarray) -> np.ndarray:
        """vertices (N, 3) -> unit normals (N, 3) float32."""
        skin = self._smooth @ self._plain(vertices[: self._n_motion])
        for ball in self._balls:  # exact ones: they carry the catchlights
            skin[ball] = vertices[ball] - (vertices[ball[0]] + vertices[ball[-1]]) / 2  # its poles
        skin /= np.maximum(np.linalg.norm(skin, axis=1, keepdims=True), 1e-20)
        parts = self._turned(vertices, self._calm)
        if len(self._shoulders):
            parts += self._held * (self._turned(vertices, self._shoulders) - parts)
            parts /= np.maximum(np.linalg.norm(parts, axis=1, keepdims=True), 1e-20)
        return np.concatenate([skin, parts])

    def _turned(self, vertices: np.ndarray, these: np.ndarray) -> np.ndarray:
        """The parts' normals, turned as some vertices have turned since the template (Kabsch)."""
        rest, now = (points[these] - points[these].mean(0) for points in (self._rest, vertices))
        u, _, vt = np.linalg.svd(now.T @ rest)
        return self._parts @ (u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt).T.astype(np.float32)


class Renderer:
    """Draws one head in one style. Threads may share it; the drawing happens on the renderer's own thread."""

    def __init__(self, head: HeadFile, style: RenderStyle | None = None) -> None:
        """Raises UserError for an unusable texture; a missing OpenGL is reported by `prepare` or the first frame."""
        self.style = style or RenderStyle()
        plain = head.finish is None
        self._normals = VertexNormals(head.faces, head.n_vertices) if plain else DressedNormals(head)
        self._skin = textured(head, Path(self.style.texture)) if self.style.texture else painted(head)
        self._stage = stage_for(framed_part(head), self.style.size, self.style.black_bg, self.style.fov)
        self._thread = gl_thread(self.style.renderer)
        self._drawing: Drawing | None = None  # made on that thread

    def prepare(self) -> None:
        """Set up what the first frame needs.

        Raises:
            UserError: no OpenGL, or no pyrender, on this machine (with the packages to install).
        """
        self._thread.submit(self._prepare).result()

    def frames(self, vertices: np.ndarray) -> Iterator[np.ndarray]:
        """vertices (T, V, 3) metres, y up, face towards +z -> T pictures uint8 (size, size, 3) RGB.

        Raises:
            UserError: as `prepare`.
        """
        n_vertices = self._normals.n_vertices
        if vertices.ndim != 3 or vertices.shape[1:] != (n_vertices, 3):
            raise ValueError(f"vertices must be (T, {n_vertices}, 3), got {vertices.shape}")
        pending: deque = deque()
        for frame in vertices:
            pending.append(self._thread.submit(self._draw, np.asarray(frame, np.float32)))
            if len(pending) > IN_FLIGHT:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def _prepare(self) -> Drawing:
        if self._drawing is None:
            self._drawing = _drawing(self.style.renderer, self._skin, self._stage)
        return self._drawing

    def _draw(self, vertices: np.ndarray) -> np.ndarray:
        data = np.hstack([vertices, self._normals(vertices)])[self._skin.expand]
        return self._prepare().draw(np.ascontiguousarray(data, np.float32))


def _drawing(renderer: str, skin: Skin, stage: Stage) -> Drawing:
    if renderer == FAST:
        return MeshDrawing(skin, stage)
    from utils.rendering.pyrender_drawing import PyrenderDrawing

    return PyrenderDrawing(skin, stage)
