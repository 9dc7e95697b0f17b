"""What a landmarker saw of one face in the frames of a video, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from utils.errors import UserError
from utils.exports.arkit import BLEND_SHAPES
from utils.reports.wording import counted

# Points of MediaPipe's 478 that the overlay draws and the confidence looks at.
OVAL = (10, 21, 54, 58, 67, 93, 103, 109, 127, 132, 136, 148, 149, 150, 152, 162, 172, 176, 234, 251, 284, 288, 297,
        323, 332, 338, 356, 361, 365, 377, 378, 379, 389, 397, 400, 454)  # fmt: skip
EYES = (7, 33, 133, 144, 145, 153, 154, 155, 157, 158, 159, 160, 161, 163, 173, 246,
        249, 263, 362, 373, 374, 380, 381, 382, 384, 385, 386, 387, 388, 390, 398, 466)  # fmt: skip
IRISES, BROWS = (468, 473), (46, 52, 53, 55, 63, 65, 66, 70, 105, 107, 276, 282, 283, 285, 293, 295, 296, 300, 334, 336)
LIPS = (0, 13, 14, 17, 37, 39, 40, 61, 78, 80, 81, 82, 84, 87, 88, 91, 95, 146, 178, 181, 185, 191, 267, 269, 270, 291,
        308, 310, 311, 312, 314, 317, 318, 321, 324, 375, 402, 405, 409, 415)  # fmt: skip
NOSE = (168, 6, 197, 195, 5, 4, 1)
OUTLINE = (*OVAL, *EYES, *IRISES, *BROWS, *LIPS, *NOSE)
SMALL, TURNED, PROFILE = 120.0, 25.0, 60.0  # pixels of a face's height; degrees where trust begins to fall and ends


@dataclass(frozen=True)
class Sighting:
    """One frame; without scores if no face was found in it."""

    time: float  # seconds
    size: tuple[int, int]  # picture's height and width, pixels
    scores: np.ndarray | None = None  # (52,) float32, in the order of ARKit's BLEND_SHAPES
    matrix: np.ndarray | None = None  # (3, 3) head rotation
    points: np.ndarray | None = None  # (len(OUTLINE), 2) fractions of width and height


@dataclass(frozen=True)
class Sightings:
    """T frames; NaN where there was no face."""

    times: np.ndarray  # (T,) seconds, increasing
    scores: np.ndarray  # (T, 52) float32
    matrices: np.ndarray  # (T, 3, 3) float32
    points: np.ndarray  # (T, P, 2) float32, fractions of width and height
    size: tuple[int, int]  # the first picture's height and width
    crowds: int = 0  # frames with more than one face

    @classmethod
    def of(cls, seen: Sequence[Sighting], crowds: int = 0) -> Sightings:
        """Gather frames; at least one."""
        lost = (np.full(len(BLEND_SHAPES), np.nan, np.float32), np.full((3, 3), np.nan, np.float32),
                np.full((len(OUTLINE), 2), np.nan, np.float32))  # fmt: skip
        rows = [lost if s.scores is None else (s.scores, s.matrix, s.points) for s in seen]
        scores, matrices, points = (np.stack(column) for column in zip(*rows))
        times = np.array([s.time for s in seen])
        return cls(times, scores, matrices.astype(np.float32), points.astype(np.float32), seen[0].size, crowds)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def found(self) -> np.ndarray:
        """(T,) bool: a face was there."""
        return np.asarray(np.isfinite(self.scores).all(axis=1) & np.isfinite(self.matrices).all(axis=(1, 2)))

    def confidence(self) -> np.ndarray:
        """(T,) float32 in 0..1: 0 without a face, else the product of three factors: the part of the outline inside
        the picture, the size of the face (1 from `SMALL` pixels on), and its direction (1 up to `TURNED` degrees off
        the camera, 0 from `PROFILE` on)."""
        points = self.points
        inside = ((points > 0) & (points < 1)).all(axis=2).mean(axis=1)
        height = np.ptp(points[:, : len(OVAL)], axis=1)[:, 1] * self.size[0]
        away = np.degrees(np.arccos(np.clip(self.matrices[:, 2, 2], -1, 1)))  # of the face's z axis from the camera's
        facing = np.clip((PROFILE - away) / (PROFILE - TURNED), 0, 1)
        values = inside * np.minimum(height / SMALL, 1) * facing
        return np.where(self.found, values, 0).astype(np.float32)


@dataclass(frozen=True)
class Chosen:
    """The face that is followed, in one frame."""

    index: int
    points: np.ndarray  # (478, 2)
    centre: np.ndarray  # (2,)
    height: float


def choose_face(faces: Sequence[np.ndarray], last: Chosen | None, shape: Sequence[int]) -> Chosen | None:
    """Choose one of several faces (P, 2): at first the largest and most central one, later the one nearest to it.

    Args:
        faces: landmarks of each face, as fractions of the picture's width and height.
        last: the face followed in the frame before; None if there was none.
        shape: of the picture (height, width, ...).
    """
    if not faces:
        return None
    scale = np.array([shape[1] / shape[0], 1.0])
    candidates = [Chosen(i, p, p.mean(axis=0), float(np.ptp(p * scale, axis=0).max())) for i, p in enumerate(faces)]
    if last is None:
        return max(candidates, key=lambda face: face.height * (1 - np.linalg.norm(face.centre - 0.5)))
    return min(candidates, key=lambda face: np.linalg.norm((face.centre - last.centre) * scale))


def check_any(sightings: Sightings, source: str) -> None:
    """Raises UserError if no frame shows a face."""
    if not sightings.found.any():
        n_frames = counted(len(sightings), "frame")
        raise UserError(f"{source}: no face was found in {n_frames}; is it upright, lit and large enough?")
