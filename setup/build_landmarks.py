"""Build `models/data/open_head_landmarks.npz`: where each of MediaPipe's 478 landmarks lies on a head.

    python -m setup.build_landmarks [--renders 160] [-o FILE]
    python -m setup.build_landmarks --head generic_model.pkl -o flame_landmarks.npz     # for track_video --landmarks

Needs MediaPipe and OpenGL; takes a minute. Random identities with random expressions, jaws and poses are rendered with
known vertices; a landmark's place is the point of a triangle (three vertices, weights that sum to 1) whose projection
is nearest to it over all renders. Run it again after the head has changed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.heads.flame import Flame, load_flame
from models.heads.mouth import LOWER, UPPER
from models.tracking.embedding import EMBEDDING
from utils.atomic import write_npz
from utils.config import check_least, flag, read_flags
from utils.errors import UserError, cli
from utils.heads.head_file import HeadFile
from utils.heads.joints import LEFT_EYE, RIGHT_EYE
from utils.rendering.looks import dress, framed_part
from utils.rendering.renderer import Renderer, RenderStyle, VertexNormals
from utils.rendering.stage import stage_for
from utils.trackers.landmarker import detect_points, find_model

log = logging.getLogger(__name__)
SIZE, FOV = 640, 30.0
JAWS = (0.0, 0.0, 0.05, 0.12, 0.2, 0.3)  # radians
TURNS = ((-0.2, 0.2), (-0.35, 0.35), (-0.1, 0.1))  # radians: pitch, yaw, roll
MOVED = ("mouth", "brow", "eyeBlink", "eyeSquint", "eyeLook")
AVERAGE = 30  # renders of the average identity, the rest are random
FRONT = 0.05  # least z of a vertex normal, head unturned
NEAR = 6  # nearest vertices whose triangles are tried
FIRST_IRIS = 468  # landmarks from here on lie on the eyeballs
FIXED = {13: UPPER, 14: LOWER}  # the open head's opening is measured between these, so they are vertices


@dataclass(frozen=True)
class Renders:
    """K pictures in which a face was found."""

    seen: np.ndarray  # (K, 478, 2) landmarks, pixels
    projected: np.ndarray  # (K, V, 2) vertices, pixels


def random_coefficients(flame: Flame, n: int, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
    """shape (n, S), exp (n, E) and pose (n, 6)."""
    names = flame.head.exp_names
    shape = 0.7 * rng.standard_normal((n, flame.n_shape))
    shape[:AVERAGE] = 0
    exp, pose = np.zeros((n, flame.n_exp)), np.zeros((n, 6))
    moved = [k for k, name in enumerate(names or []) if name.startswith(MOVED)]
    for row in range(n):
        if names is None:  # principal components, as FLAME's
            exp[row] = 0.5 * rng.standard_normal(flame.n_exp)
        else:
            exp[row, rng.choice(moved, 3, replace=False)] = rng.uniform(0.2, 0.8, 3)
    pose[:, :3] = rng.uniform(*np.array(TURNS).T, (n, 3))
    pose[:, 3] = rng.choice(JAWS, n)
    return tuple(torch.from_numpy(x).float() for x in (shape, exp, pose))


def render(flame: Flame, n: int, model: Path) -> Renders:
    """Draw heads and see where the landmarks are.

    Raises:
        UserError: MediaPipe or OpenGL is missing.
    """
    coefficients = random_coefficients(flame, n, np.random.default_rng(0))
    look = dress(flame.head, None)
    with torch.no_grad():
        vertices = flame(*coefficients).numpy()
        drawn = Flame(look.drawn)(*coefficients).numpy()
    seen = detect_points(Renderer(look.drawn, RenderStyle(SIZE, texture=look.texture, fov=FOV)).frames(drawn), model)
    found = np.isfinite(seen).all(axis=(1, 2))
    matrix = stage_for(framed_part(look.drawn), SIZE, black_bg=False, fov=FOV).to_screen
    clip = vertices[found] @ matrix[:, :3].T + matrix[:, 3]
    projected = (clip[..., :2] / clip[..., 3:] * (1, -1) + 1) / 2 * SIZE
    return Renders(seen[found][..., :2] * SIZE, projected)


def place(renders: Renders, head: HeadFile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (478, 3), weights (478, 3) and root mean square error (478,) in pixels of each landmark."""
    eyeballs = head.weights[:, [LEFT_EYE, RIGHT_EYE]].max(axis=1) > 0.5
    fixed = {k: head.landmark(name) for k, name in FIXED.items() if head.landmarks}
    behind = VertexNormals(head.faces, head.n_vertices)(head.v_template)[:, 2] < FRONT
    n_landmarks = renders.seen.shape[1]
    corners, weights, errors = np.zeros((n_landmarks, 3), int), np.zeros((n_landmarks, 3)), np.zeros(n_landmarks)
    for k in range(n_landmarks):
        wanted = renders.seen[:, k]
        if k in fixed:
            vertex = fixed[k]
            corners[k], weights[k] = vertex, (1, 0, 0)
            errors[k] = _error(renders.projected[:, vertex], wanted)
            continue
        hidden = behind if k >= FIRST_IRIS else behind | eyeballs
        distance = ((renders.projected - wanted[:, None]) ** 2).sum(axis=2).mean(axis=0)
        distance[hidden] = np.inf
        nearest = np.argsort(distance)[:NEAR]
        faces = head.faces[np.isin(head.faces, nearest).any(axis=1) & ~hidden[head.faces].any(axis=1)]
        tried = [_weights(renders.projected[:, face], wanted) for face in faces]
        best = int(np.argmin([error for _, error in tried]))
        corners[k], (weights[k], errors[k]) = faces[best], tried[best]
    return corners, weights, errors


def _weights(corners: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (3,) >= 0 of a triangle's corners (K, 3, 2) that come nearest to the points (K, 2), and the error."""
    candidates = []
    for kept in ([0, 1, 2], [0, 1], [1, 2], [0, 2], [0], [1], [2]):
        first, others = corners[:, kept[0]], corners[:, kept[1:]]
        weights = np.zeros(3)
        edges = (others - first[:, None]).transpose(0, 2, 1).reshape(first.size, len(kept) - 1)
        weights[kept[1:]] = np.linalg.lstsq(edges, (wanted - first).ravel())[0]
        weights[kept[0]] = 1 - weights.sum()
        if (weights >= -1e-9).all():
            candidates.append((_error(np.einsum("c,kcx->kx", weights, corners), wanted), weights))
    error, weights = min(candidates, key=lambda one: one[0])
    return weights, error


def _error(points: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(((points - wanted) ** 2).sum(axis=1).mean()))


@dataclass(frozen=True)
class LandmarkFlags:
    """All flags."""

    renders: int = 160
    """Pictures, at least 60."""
    head: Path | None = None
    """FLAME pkl or npz (default: the open head); needs --output."""
    model: Path | None = None
    """face_landmarker.task (default: of the installed package)."""
    output: Path = flag(EMBEDDING, "-o")
    """npz."""

    def check(self) -> None:
        check_least(self, renders=2 * AVERAGE)
        if self.head is not None and self.output == EMBEDDING:
            raise UserError("--output: the default file is the open head's; name one for --head")


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(LandmarkFlags, argv, (__doc__ or " ").splitlines()[0])
    flame = load_flame(flags.head)
    renders = render(flame, flags.renders, find_model(flags.model))
    corners, weights, errors = place(renders, flame.head)
    arrays = {"vertices": corners.astype(np.int32), "weights": weights.astype(np.float32)}
    write_npz(flags.output, arrays | {"errors": errors.astype(np.float32)})
    log.info("%s: %d faces found in %d renders; error %.1f pixels (median)", flags.output, len(renders.seen),
             flags.renders, np.median(errors))  # fmt: skip


if __name__ == "__main__":
    main()
