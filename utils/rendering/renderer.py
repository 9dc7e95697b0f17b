"""Frames of a talking head: vertices in, uint8 pictures out.

Matte clay look (shaders/) or a texture image, five directional lights, 4x multisampled edges. The camera is set
from the head file's own template, so any head fills the picture alike. Per frame only the vertex buffer changes.
moderngl draws (mesh_drawing.py); the tests hold the pictures against pyrender.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse

from utils.errors import UserError
from utils.heads.head_file import HeadFile
from utils.rendering.gl_context import on_gl_thread
from utils.rendering.head_paint import painted, textured
from utils.rendering.mesh_drawing import MeshDrawing, Stage

FIELD_OF_VIEW = 18.0  # degrees; a portrait lens: little perspective distortion
MARGIN = 1.10  # free space around the head, room for its motion
NECK_CUT = 0.13  # part of the model's height below the picture
IN_FLIGHT = 3  # frames rendered ahead of the consumer, so that encoding and rendering overlap

# (direction towards the light, colour, intensity): key, fill, two rims, bounce from below.
LIGHTS = (
    ((-0.50, 0.46, 0.88), (1.0, 0.97, 0.92), 1.05),
    ((0.90, 0.10, 0.60), (0.85, 0.92, 1.0), 0.22),
    ((-0.90, 0.30, -0.70), (0.85, 0.92, 1.0), 0.75),
    ((0.85, 0.50, -0.70), (1.0, 0.95, 0.88), 0.90),
    ((0.10, -0.85, 0.50), (1.0, 0.93, 0.90), 0.10),
)
AMBIENT = (0.20, 0.205, 0.22)


@dataclass(frozen=True)
class RenderStyle:
    """How a head is drawn."""

    size: int = 640
    """Width and height of the picture in pixels (even: the video format needs it)."""
    black_bg: bool = False
    """Black instead of white background."""
    texture: str | Path | None = None
    """Image wrapped over the head through its UV coordinates; None: the head's colours, or clay."""
    fov: float = FIELD_OF_VIEW
    """Field of view, degrees; the head fills the picture alike, a wide one comes close and distorts."""

    def __post_init__(self) -> None:
        if self.size < 16 or self.size % 2:
            raise UserError(f"--size {self.size}: must be an even number of pixels, at least 16; use 640")
        if not 1 <= self.fov <= 120:
            raise UserError(f"--fov {self.fov}: must lie between 1 and 120 degrees; use {FIELD_OF_VIEW:g}")


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


class Renderer:
    """Draws one head in one style. Threads may share it; the drawing happens on the OpenGL thread."""

    def __init__(self, head: HeadFile, style: RenderStyle | None = None) -> None:
        """Raises UserError for an unusable texture; a missing OpenGL is reported by the first frame."""
        self.style = style or RenderStyle()
        self._normals = VertexNormals(head.faces, len(head.v_template))
        self._skin = textured(head, Path(self.style.texture)) if self.style.texture else painted(head)
        self._camera = frame_head(head.v_template, self.style.fov)
        self._drawing: MeshDrawing | None = None  # made on the OpenGL thread with the first frame

    def frames(self, vertices: np.ndarray) -> Iterator[np.ndarray]:
        """vertices (T, V, 3) metres, y up, face towards +z -> T pictures uint8 (size, size, 3) RGB.

        Raises:
            UserError: no OpenGL on this machine (with the packages to install).
        """
        n_vertices = self._normals.n_vertices
        if vertices.ndim != 3 or vertices.shape[1:] != (n_vertices, 3):
            raise ValueError(f"vertices must be (T, {n_vertices}, 3), got {vertices.shape}")
        pending: deque = deque()
        for frame in vertices:
            pending.append(on_gl_thread(self._draw, np.asarray(frame, np.float32)))
            if len(pending) > IN_FLIGHT:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def _draw(self, vertices: np.ndarray) -> np.ndarray:
        if self._drawing is None:
            self._drawing = self._make_drawing()
        data = np.hstack([vertices, self._normals(vertices)])[self._skin.expand]
        return self._drawing.draw(np.ascontiguousarray(data, np.float32))

    def _make_drawing(self) -> MeshDrawing:
        (near, far), pose = self._camera
        lights = tuple((-np.array(towards) / np.linalg.norm(towards), *rest) for towards, *rest in LIGHTS)
        background = (0.0, 0.0, 0.0) if self.style.black_bg else (1.0, 1.0, 1.0)
        stage = Stage(
            np.linalg.inv(pose), perspective(near, far, self.style.fov), lights, AMBIENT, background, self.style.size
        )
        return MeshDrawing(self._skin, stage)


def perspective(near: float, far: float, fov: float = FIELD_OF_VIEW) -> np.ndarray:
    """OpenGL projection (4, 4) of a square picture, `fov` degrees high and wide."""
    scale, depth = 1 / np.tan(np.deg2rad(fov) / 2), near - far
    rows = [[scale, 0, 0, 0], [0, scale, 0, 0], [0, 0, (far + near) / depth, 2 * far * near / depth], [0, 0, -1, 0]]
    return np.array(rows)


def frame_head(template: np.ndarray, fov: float = FIELD_OF_VIEW) -> tuple[tuple[float, float], np.ndarray]:
    """Camera for a head: template (V, 3) metres -> ((near, far) metres, camera pose (4, 4)).

    The camera looks along -z from where the bounding box, less the lowest part of the neck, and a margin just fit.
    """
    low, high = template.min(axis=0), template.max(axis=0)
    low[1] += NECK_CUT * (high[1] - low[1])  # the picture ends above the model's open rim
    middle, half = (low + high) / 2, (high - low) / 2
    distance = max(half[0], half[1]) * MARGIN / np.tan(np.deg2rad(fov) / 2)
    pose = np.eye(4)
    pose[:3, 3] = middle[0], middle[1], middle[2] + distance
    reach = float(np.linalg.norm(half)) * 2
    return (float(max(distance - reach, distance / 100)), float(distance + reach)), pose
