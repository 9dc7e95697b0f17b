"""Files that say where MediaPipe's 478 landmarks lie on a head: `setup.build_landmarks`' and FLAME's own.

FLAME's `mediapipe_landmark_embedding.npz` has 105 of them (brows, lids, nose, lips) on triangles of the mesh.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.heads.flame_pickle import load_flame_pickle
from utils.heads.head_file import HeadFile
from utils.reading.array_file import is_finite, read_npz

N_LANDMARKS = 478
FLAME_EMBEDDING = "mediapipe_landmark_embedding.npz"  # found beside a model without being named
EYES, LIPS = (33, 263), (13, 14)  # outer corners of right and left eye; inner lips, which every fit needs
EYES_APART = (0.05, 0.15)  # metres
_OWN, _FLAME = ("vertices", "weights"), ("lmk_face_idx", "lmk_b_coords", "landmark_indices")
_FOR = f"give FLAME's {FLAME_EMBEDDING}, or a file of setup.build_landmarks, for this head"


@dataclass(frozen=True)
class LandmarkPlaces:
    """Each landmark is a weighted mean of three vertices; weights are 0 for landmarks without a place."""

    vertices: np.ndarray  # (478, 3) int64
    weights: np.ndarray  # (478, 3) float64

    @property
    def known(self) -> np.ndarray:
        """(478,) bool: the landmarks that have a place."""
        return np.asarray(self.weights.any(axis=1))

    def points(self, head: HeadFile) -> np.ndarray:
        """(478, 3) metres on the head at rest."""
        return np.einsum("nc,ncx->nx", self.weights, head.v_template[self.vertices])


def read_landmark_places(path: Path, head: HeadFile) -> LandmarkPlaces:
    """The landmarks' places on this head.

    Raises:
        UserError: missing, damaged, without these arrays, or of another mesh.
    """
    arrays = load_flame_pickle(path) if path.suffix == ".pkl" else read_npz(path)
    names = _OWN if set(_OWN) <= arrays.keys() else _FLAME
    if lacking := [name for name in names if name not in arrays]:
        found = ", ".join(sorted(arrays)) or "nothing"
        raise UserError(f"{path}: lacks {', '.join(lacking)} (found: {found}); {_FOR}")
    try:
        parts = [arrays[name] for name in names]
        if not all(part.dtype.kind in "iuf" and is_finite(part) for part in parts):
            raise ValueError("values that are not numbers")
        places = _own(*parts) if names is _OWN else _flame(head, *parts)
        if not np.allclose(places.weights[places.known].sum(axis=1), 1, atol=1e-2):
            raise ValueError("weights do not sum to 1")
    except ValueError as error:
        raise UserError(f"{path}: malformed ({error}); {_FOR}") from error
    except IndexError as error:
        raise UserError(f"{path}: names vertices or triangles that {head.name} lacks; {_FOR}") from error
    _check_face(places, head, path)
    return places


def _own(vertices: np.ndarray, weights: np.ndarray) -> LandmarkPlaces:
    if vertices.shape != (N_LANDMARKS, 3) or weights.shape != (N_LANDMARKS, 3):
        raise ValueError(f"vertices {vertices.shape}, weights {weights.shape}, not ({N_LANDMARKS}, 3)")
    return LandmarkPlaces(vertices.astype(np.int64), weights.astype(np.float64))


def _flame(head: HeadFile, faces: np.ndarray, weights: np.ndarray, landmarks: np.ndarray) -> LandmarkPlaces:
    faces, landmarks = (array.astype(np.int64).reshape(-1) for array in (faces, landmarks))
    if weights.shape != (len(faces), 3) or len(landmarks) != len(faces) or len(set(landmarks)) != len(landmarks):
        raise ValueError(f"{len(faces)} triangles, weights {weights.shape}, {len(set(landmarks))} landmarks")
    if landmarks.size and not 0 <= landmarks.min() <= landmarks.max() < N_LANDMARKS:
        raise ValueError(f"landmarks outside 0..{N_LANDMARKS - 1}")
    if faces.min(initial=0) < 0:
        raise IndexError
    places = LandmarkPlaces(np.zeros((N_LANDMARKS, 3), np.int64), np.zeros((N_LANDMARKS, 3)))
    places.vertices[landmarks], places.weights[landmarks] = head.faces[faces], weights
    return places


def _check_face(places: LandmarkPlaces, head: HeadFile, path: Path) -> None:
    """On another mesh the numbers may exist as well, but then eyes and lips lie anywhere."""
    if not 0 <= places.vertices.min() <= places.vertices.max() < head.n_vertices:
        raise UserError(f"{path}: names vertices that {head.name} lacks; {_FOR}")
    if not places.known[list(EYES + LIPS)].all():
        raise UserError(f"{path}: lacks landmarks {', '.join(map(str, EYES + LIPS))} of eyes and lips; {_FOR}")
    points = places.points(head)
    right, left, upper, lower = points[list(EYES + LIPS)]
    apart = left[0] - right[0]
    middle = (left + right) / 2
    level = abs(left[1] - right[1]) < apart / 4 and abs(upper[0] - middle[0]) < apart / 4
    if not (EYES_APART[0] < apart < EYES_APART[1] and level and 0.2 < (middle - upper)[1] / apart < 1.5
            and np.linalg.norm(upper - lower) < apart / 4):  # fmt: skip
        raise UserError(f"{path}: places eyes and lips wrongly on {head.name}, so it belongs to another mesh; {_FOR}")
