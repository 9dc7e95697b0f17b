"""Where a head is drawn: camera, lights, background. The same for every renderer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FIELD_OF_VIEW = 18.0  # degrees; a portrait lens: little perspective distortion
MARGIN = 1.10  # free space around the head, room for its motion
NECK_CUT = 0.13  # part of the model's height below the picture

# (direction towards the light, colour, intensity): key, fill, two rims, bounce from below.
LIGHTS: tuple[tuple[tuple[float, float, float], tuple[float, float, float], float], ...] = (
    ((-0.50, 0.46, 0.88), (1.0, 0.97, 0.92), 1.05),
    ((0.90, 0.10, 0.60), (0.85, 0.92, 1.0), 0.22),
    ((-0.90, 0.30, -0.70), (0.85, 0.92, 1.0), 0.75),
    ((0.85, 0.50, -0.70), (1.0, 0.95, 0.88), 0.90),
    ((0.10, -0.85, 0.50), (1.0, 0.93, 0.90), 0.10),
)
AMBIENT = (0.20, 0.205, 0.22)
LIGHT_GREY = (0.965, 0.97, 0.975)  # sRGB, behind the face
VIGNETTE = 0.17  # share by which the corners are darker
BACKDROP_CELLS = 24  # a side


@dataclass(frozen=True)
class Light:
    """Parallel light from one side."""

    towards: np.ndarray  # (3,) unit vector to the light
    colour: tuple[float, float, float]
    intensity: float


@dataclass(frozen=True)
class Stage:
    """What stands around the mesh, in world coordinates (metres)."""

    pose: np.ndarray  # (4, 4) camera to world; it looks along -z
    near: float
    far: float
    fov: float  # degrees, high and wide
    lights: tuple[Light, ...]
    ambient: tuple[float, float, float]
    background: tuple[float, float, float]  # sRGB, in the middle
    size: int  # pixels, high and wide
    vignette: float = 0.0  # share by which the background's corners are darker

    @property
    def to_screen(self) -> np.ndarray:
        """(4, 4) from world to OpenGL's clip space."""
        return perspective(self.near, self.far, self.fov) @ np.linalg.inv(self.pose)


def stage_for(template: np.ndarray, size: int, black_bg: bool, fov: float = FIELD_OF_VIEW) -> Stage:
    """The stage for a head with this template (V, 3)."""
    (near, far), pose = frame_head(template, fov)
    lights = tuple(Light(np.array(towards) / np.linalg.norm(towards), colour, much) for towards, colour, much in LIGHTS)
    background, vignette = ((0.0, 0.0, 0.0), 0.0) if black_bg else (LIGHT_GREY, VIGNETTE)
    return Stage(pose, near, far, fov, lights, AMBIENT, background, size, vignette)


@dataclass(frozen=True)
class Backdrop:
    """A plane that fills the picture behind everything: n vertices, which are not lit."""

    vertices: np.ndarray  # (n, 3) float32, world
    colours: np.ndarray  # (n, 3) float32, sRGB
    faces: np.ndarray  # (f, 3)


def backdrop(stage: Stage) -> Backdrop | None:
    """A soft gradient, darker with the square of the distance from the middle; None for a plain background."""
    if stage.vignette == 0:
        return None
    n = BACKDROP_CELLS + 1
    y, x = (grid.ravel() for grid in np.meshgrid(np.linspace(1, -1, n), np.linspace(-1, 1, n), indexing="ij"))
    depth = 0.999 * stage.far
    side = 1.001 * depth * np.tan(np.deg2rad(stage.fov) / 2)
    vertices = np.stack([side * x, side * y, np.full(n * n, -depth), np.ones(n * n)], axis=1) @ stage.pose.T
    shade = 1 - stage.vignette * (x**2 + y**2) / 2
    at = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate([np.stack([at, at + n, at + n + 1], 1), np.stack([at, at + n + 1, at + 1], 1)])
    return Backdrop(vertices[:, :3].astype(np.float32), np.outer(shade, stage.background).astype(np.float32), faces)


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
