"""Hair as shells over the scalp: short (combed from the crown) and bob (to the jaw, parted in the middle). Metres."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from setup.open_head.skin_bake import noise
from setup.open_head.skin_paint import hairline
from utils.exports.surface import smooth_normals
from utils.heads.dressed_head import Part
from utils.heads.head_file import HeadFile
from utils.heads.subdivision import subdivide

STRANDS = (0.625, 0.005, 0.29, 0.165)  # left, bottom, width, height of the strands' picture on the skin's texture
CROWN = np.array([0.0, 0.14, -0.055])
MIDDLE = np.array([0.0, 0.045, -0.025])  # of the skull; the bob's rays start here
HUNG = 0.62  # share of the bob's rows that lie on the skull
GLOSS = 0.12


def short(head: HeadFile) -> Part:
    """Some millimetres at the nape, a centimetre and a half on top."""
    faces, points, matrix = _scalp(head)
    normals = smooth_normals(points, faces)
    over = hairline(head, points) + 0.0045 * noise(points, 0.009, 40)
    rise = np.clip((over + 0.001) / 0.040, 0, 1)
    rise = rise * rise * (3 - 2 * rise)
    top = np.clip((points[:, 1] - 0.035) / 0.075, 0, 1)
    ears = _near_ears(head, points)
    thick = rise * (0.0035 + 0.0105 * top**0.8) * (1 - ears) * (1 + 0.16 * noise(points, (0.005, 0.02, 0.02), 41))
    out = points + normals * (thick - 0.0006)[:, None]
    kept = (thick[faces].max(1) > 0.0004) & (ears[faces].min(1) < 0.95)
    used, faces = np.unique(faces[kept], return_inverse=True)
    matrix = matrix[used]
    top_ids = np.argsort(-matrix, axis=1)[:, :6]
    shares = np.take_along_axis(matrix, top_ids, axis=1)
    faces = faces.reshape(-1, 3)
    rim = ((rise[used] < 0.5) | (ears[used] > 0))[faces].any(1)
    return Part(out[used], faces, _paint(out[used], 1 - 0.3 * (rise[used] < 0.3)), _uv(out[used]), top_ids,
                shares / shares.sum(1, keepdims=True), open=rim, covers=_covered(head, 0.028))  # fmt: skip


def _covered(head: HeadFile, over: float) -> np.ndarray:
    """(V,) the scalp's vertices well inside the hairline."""
    points = head.v_template.astype(np.float64)
    ears = head.v_template[head.masks["left_ear"] | head.masks["right_ear"]]
    high = (points[:, 1] > 0.05) & (cKDTree(ears).query(points)[0] > 0.035)
    return head.masks["scalp"] & (hairline(head, points) > over) & high


def _scalp(head: HeadFile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Faces, points (n, 3) and shares (n, V) of the subdivided skin about the hair."""
    over = hairline(head, head.v_template.astype(np.float64))
    outside = head.masks["scalp"] | head.masks["forehead"] | head.masks["neck"] | head.masks["face"]
    faces = head.faces[(over[head.faces].max(1) > -0.012) & outside[head.faces].all(1)]
    matrix = np.eye(head.n_vertices, dtype=np.float32)
    for longest in (0.0130, 0.0130):
        points = matrix @ head.v_template
        edge = np.linalg.norm(points[faces] - points[faces[:, [1, 2, 0]]], axis=2).max(1)
        step = subdivide(faces, faces, (len(points), len(points)), edge > longest)
        matrix, faces = np.asarray(step.operator @ matrix), step.faces
    return faces, (matrix @ head.v_template).astype(np.float64), matrix


def _near_ears(head: HeadFile, points: np.ndarray) -> np.ndarray:
    ears = head.v_template[head.masks["left_ear"] | head.masks["right_ear"]]
    return np.clip(1.8 - cKDTree(ears).query(points)[0] / 0.010, 0, 1)


def bob(head: HeadFile, rows: int = 30, columns: int = 61) -> Part:
    """A curtain that follows the skull to the widest place and hangs from there."""
    across, skull = np.linspace(-1, 1, columns), _Skull(head)
    held = _curtain(skull, across, HUNG)
    place = []
    for t in np.arange(rows) / (rows - 1):
        at = _curtain(skull, across, t) if t <= HUNG else _hanging(held, across, (t - HUNG) / (1 - HUNG))
        out = at - MIDDLE
        out /= np.linalg.norm(out, axis=1, keepdims=True)
        place.append(at + out * (0.0016 * min(1, t / 0.3) * np.sin(9 * np.pi * across + 3 * t))[:, None])
    points = np.concatenate(place)
    faces = np.array([[r * columns + j + a for a in c] for r in range(rows - 1) for j in range(columns - 1)
                      for c in ((0, columns, columns + 1), (0, columns + 1, 1))])  # fmt: skip
    corners = points[faces]
    out = (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) * (corners.mean(1) - MIDDLE)).sum()
    anchors = np.flatnonzero(head.masks["scalp"] & (head.v_template[:, 1] > 0.0))
    distance, near = cKDTree(head.v_template[anchors]).query(points, k=6)
    shares = 1 / np.maximum(distance, 2e-3) ** 2
    t = np.repeat(np.arange(rows) / (rows - 1), columns)
    u = np.tile(across, rows)
    left, bottom, width, height = STRANDS
    uv = np.column_stack([left + width * _fold(2.0 * t), bottom + height * _fold(2.0 * u)])
    shade = (0.78 + 0.22 * np.clip(t / 0.25, 0, 1)) * (1 - 0.25 * np.clip((t - 0.8) / 0.2, 0, 1))
    seen = np.ones(len(faces), bool)
    return Part(points, faces if out > 0 else faces[:, ::-1], _paint(points, shade), uv, anchors[near],
                shares / shares.sum(1, keepdims=True), open=seen, covers=_covered(head, 0.03))  # fmt: skip


class _Skull:
    """How far the head reaches from `MIDDLE`, ears included."""

    def __init__(self, head: HeadFile) -> None:
        skull = np.any([head.masks[name] for name in ("scalp", "face", "forehead", "left_ear", "right_ear")], axis=0)
        rays = head.v_template[skull].astype(np.float64) - MIDDLE
        self._radius = np.linalg.norm(rays, axis=1)
        self._tree = cKDTree(rays / self._radius[:, None])

    def radius(self, rays: np.ndarray) -> np.ndarray:
        """Unit vectors (n, 3) -> metres (n,)."""
        near, ids = self._tree.query(rays, k=6)
        weight = 1 / (near + 0.02) ** 2
        return (self._radius[ids] * weight).sum(1) / weight.sum(1)


def _curtain(skull: _Skull, across: np.ndarray, t: float) -> np.ndarray:
    """A row on the skull, from the parting (-1) round the back (0) to the parting (1)."""
    angle = np.radians(0.3 + 93 * t / HUNG)
    phi = across * np.radians(np.interp(np.degrees(angle), [0, 56, 68, 80, 94], [180, 180, 150, 128, 118]))
    ray = np.stack([np.sin(angle) * np.sin(phi), np.full_like(phi, np.cos(angle)), -np.sin(angle) * np.cos(phi)], 1)
    lift = np.interp(t, [0, 0.15, 0.4, HUNG], [0.009, 0.012, 0.016, 0.020])
    lift = lift * (1 - 0.85 * np.abs(across) ** 6 * min(1, max(0, (t - 0.3) / 0.15)))  # close to the face
    parting = 0.006 * np.exp(-(((1 - np.abs(across)) / 0.10) ** 2)) * (t < 0.4)
    return MIDDLE + ray * (skull.radius(ray) + lift - parting)[:, None]


def _hanging(held: np.ndarray, across: np.ndarray, down: float) -> np.ndarray:
    """A row at a share of the way below the widest one: it turns in, and is longer behind."""
    fall = np.stack([0.10 * down**2 * held[:, 0], 0.105 * down - 0.006 * across**2 * down,
                     0.012 * down**2 * np.sign(held[:, 2])], axis=1)  # fmt: skip
    return held - fall


def _uv(points: np.ndarray) -> np.ndarray:
    """Strands run away from the crown."""
    away = points - CROWN
    across = np.arctan2(away[:, 0], -away[:, 2] + 1e-9) / np.pi  # -1..1, 0 behind
    along = np.linalg.norm(away, axis=1) / 0.20
    left, bottom, width, height = STRANDS
    return np.column_stack([left + width * _fold(1.6 * along), bottom + height * _fold(2.0 * across)])


def _fold(x: np.ndarray) -> np.ndarray:
    """0..1 there and back, so that no triangle jumps over the picture."""
    return 1 - np.abs(np.abs(x) % 2 - 1)


def _paint(points: np.ndarray, shade: np.ndarray) -> np.ndarray:
    return np.column_stack([np.tile(np.clip(shade, 0, 1)[:, None], (1, 3)), np.full(len(points), GLOSS)])
