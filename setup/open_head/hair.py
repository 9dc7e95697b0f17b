"""Hair as shells over the scalp: short (combed from the crown) and bob (to the jaw, parted in the middle). Metres."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from setup.open_head.shapes import grid_quads, outwards, smooth_step, triangles
from setup.open_head.skin_bake import noise
from setup.open_head.skin_paint import hairline
from utils.exports.surface import smooth_normals
from utils.heads.dressed_head import Part
from utils.heads.head_file import HeadFile
from utils.heads.subdivision import subdivide

STRANDS = (0.625, 0.005, 0.29, 0.165)  # left, bottom, width, height of the strands' picture on the skin's texture
CROWN = np.array([0.0, 0.14, -0.055])
MIDDLE = np.array([0.0, 0.045, -0.025])  # of the skull; the bob's rays start here
HUNG, FACE, HEM = 0.62, 0.45, 0.985  # of the bob's length: what lies on the skull; where the face, the tips begin
GLOSS = 0.12
RIM, SOLID = 0.0085, 0.97  # metres over which a shell's rim fades; alpha from which it is solid


def short(head: HeadFile) -> Part:
    """Some millimetres at the nape, a centimetre and a half on top."""
    faces, points, matrix = _scalp(head)
    normals = smooth_normals(points, faces)
    over = hairline(head, points)
    rise = smooth_step(np.clip((over - 0.002) / 0.042, 0, 1))  # flat where the rim fades
    top = np.clip((points[:, 1] - 0.035) / 0.075, 0, 1)
    ears = _near_ears(head, points)
    thick = rise * (0.0035 + 0.0105 * top**0.8) * (1 - ears) ** 3 * (1 + 0.06 * noise(points, (0.012, 0.03, 0.03), 41))
    out = points + normals * (thick + 0.0002)[:, None]
    alpha = np.clip((over + 0.0030 * noise(points, 0.007, 40)) / RIM, 0, 1) * np.clip((0.95 - ears) / 0.60, 0, 1)
    kept = alpha[faces].max(1) > 0.02
    used, faces = np.unique(faces[kept], return_inverse=True)
    matrix = matrix[used]
    top_ids = np.argsort(-matrix, axis=1)[:, :6]
    shares = np.take_along_axis(matrix, top_ids, axis=1)
    faces = faces.reshape(-1, 3)
    return Part(out[used], faces, _paint(out[used], np.ones(len(used))), _uv(out[used]), top_ids,
                shares / shares.sum(1, keepdims=True), alpha[used], covers=_covered(head, 0.024))  # fmt: skip


def softened(hair: dict[str, Part]) -> tuple[dict[str, Part], dict[str, Part]]:
    """Each shell as what is solid, and as its soft rim where alpha is less than 1, to be blended over the rest."""
    solid, soft = {}, {}
    for name, part in hair.items():
        whole = (part.alpha >= SOLID)[part.faces].all(1)
        solid[name] = replace(_of_faces(part, whole), alpha=None)
        soft[f"{name}_rim"] = replace(_of_faces(part, ~whole), open=None, covers=None, shade=None)
    return solid, soft


def _of_faces(part: Part, these: np.ndarray) -> Part:
    """A part's faces (f,) bool and their vertices."""
    used, faces = np.unique(part.faces[these], return_inverse=True)
    rows = {name: getattr(part, name)[used] for name in ("vertices", "paint", "uv", "bound_to", "shares", "alpha")}
    seen = None if part.open is None else part.open[these]
    return replace(part, faces=faces.reshape(-1, 3), open=seen, **rows)


def _covered(head: HeadFile, over: float) -> np.ndarray:
    """(V,) the scalp's vertices well inside the hairline."""
    points = head.v_template.astype(np.float64)
    ears = head.v_template[head.masks["left_ear"] | head.masks["right_ear"]]
    high = (points[:, 1] > 0.0) & (cKDTree(ears).query(points)[0] > 0.027)
    return head.masks["scalp"] & (hairline(head, points) > over) & high


def _scalp(head: HeadFile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Faces, points (n, 3) and shares (n, V) of the subdivided skin about the hair."""
    over = hairline(head, head.v_template.astype(np.float64))
    outside = head.masks["scalp"] | head.masks["forehead"] | head.masks["neck"] | head.masks["face"]
    faces = head.faces[(over[head.faces].max(1) > -0.012) & outside[head.faces].all(1)]
    matrix = np.eye(head.n_vertices, dtype=np.float32)
    for longest, at_rim in ((0.0130, 0.0130), (0.0130, 0.0055)):
        points = (matrix @ head.v_template).astype(np.float64)
        edge = np.linalg.norm(points[faces] - points[faces[:, [1, 2, 0]]], axis=2).max(1)
        ears = _near_ears(head, points)
        near = ((np.abs(hairline(head, points) - RIM / 2) < 0.007) | ((ears > 0) & (ears < 1)))[faces].any(1)
        step = subdivide(faces, faces, (len(points), len(points)), (edge > longest) | (near & (edge > at_rim)))
        matrix, faces = np.asarray(step.operator @ matrix), step.faces
    return faces, (matrix @ head.v_template).astype(np.float64), matrix


def _near_ears(head: HeadFile, points: np.ndarray) -> np.ndarray:
    ears = head.v_template[head.masks["left_ear"] | head.masks["right_ear"]]
    return np.clip(1.9 - cKDTree(ears).query(points)[0] / 0.010, 0, 1)


def bob(head: HeadFile, rows: int = 31, columns: int = 61) -> Part:
    """A curtain that follows the skull to the widest place and hangs from there; its hem and front edges are soft."""
    across, t = np.linspace(-1, 1, columns), np.append(np.linspace(0, HEM, rows - 1), 1.0)
    on_skull = _curtain(_Skull(head), across, t[t <= HUNG])
    hanging = [_hanging(on_skull[-1], across, down) for down in (t[t > HUNG] - HUNG) / (1 - HUNG)]
    points = np.concatenate([*on_skull, *hanging])
    wave = 0.0014 * np.minimum(1, t / 0.3)[:, None] * np.sin(9 * np.pi * across + 3 * t[:, None])
    out = points - MIDDLE
    points = points + out / np.linalg.norm(out, axis=1, keepdims=True) * wave.reshape(-1, 1)
    faces = outwards(triangles(grid_quads(rows, columns)[:, [0, 3, 2, 1]]), points, MIDDLE)
    anchors = np.flatnonzero(head.masks["scalp"] & (head.v_template[:, 1] > 0.0))
    distance, near = cKDTree(head.v_template[anchors]).query(points, k=6)
    shares = 1 / np.maximum(distance, 2e-3) ** 2
    t, u = np.repeat(t, columns), np.tile(across, rows)
    left, bottom, width, height = STRANDS
    uv = np.column_stack([left + width * _fold(2.0 * t), bottom + height * _fold(2.0 * u)])
    shade = (0.78 + 0.22 * np.clip(t / 0.25, 0, 1)) * (1 - 0.25 * np.clip((t - 0.8) / 0.2, 0, 1))
    tips = np.random.default_rng(42).uniform(0.0, 0.45, columns)
    alpha = np.where(t > 0.999, np.tile(tips, rows), 1.0) * np.where((np.abs(u) > 0.999) & (t > FACE), 0.25, 1.0)
    return Part(points, faces, _paint(points, shade), uv, anchors[near],
                shares / shares.sum(1, keepdims=True), alpha, open=(t[faces].min(1) > 0.22) | (t[faces].min(1) < 0.05),
                covers=_covered(head, 0.03) | head.masks["left_ear"] | head.masks["right_ear"])  # fmt: skip


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


def _curtain(skull: _Skull, across: np.ndarray, t: np.ndarray) -> np.ndarray:
    """(rows, columns, 3) on the skull, from the parting (-1) round the back (0) to the parting (1)."""
    angle = np.radians(0.3 + 93 * t / HUNG)[:, None]
    widest = PchipInterpolator([0, 50, 66, 80, 94], [180, 180, 150, 128, 118])
    phi = across * np.radians(widest(np.degrees(angle)))
    upright = np.broadcast_to(np.cos(angle), phi.shape)
    ray = np.stack([np.sin(angle) * np.sin(phi), upright, -np.sin(angle) * np.cos(phi)], axis=2)
    radius = skull.radius(ray.reshape(-1, 3)).reshape(phi.shape)
    lift = np.interp(t, [0, 0.15, 0.4, HUNG], [0.009, 0.012, 0.016, 0.020])[:, None]
    lift = lift * (1 - 0.85 * np.abs(across) ** 6 * np.clip((t[:, None] - 0.16) / 0.14, 0, 1))  # close to the face
    parting = (
        0.005
        * np.exp(-(((1 - np.abs(across)) / 0.10) ** 2))
        * np.clip(np.minimum(t[:, None] / 0.1, (0.42 - t[:, None]) / 0.2), 0, 1)
    )
    return MIDDLE + ray * (gaussian_filter(radius + lift, (1.6, 1.6), mode="nearest") - parting)[..., None]


def _hanging(held: np.ndarray, across: np.ndarray, down: float) -> np.ndarray:
    """A row at a share of the way below the widest one: it turns in, and is longer behind."""
    fall = np.stack([0.10 * down**2 * held[:, 0], 0.105 * down - 0.006 * across**2 * down,
                     0.012 * down**2 * np.tanh(held[:, 2] / 0.03)], axis=1)  # fmt: skip
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
