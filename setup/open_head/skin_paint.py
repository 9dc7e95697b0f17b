"""The skin look's texture, painted in space: pores and blotches, lips, brows of single hairs, a shaven scalp, irises.

Everything is a function of the point on the head, so the texture has no seams and any layout of islands will do.
Nothing photographic goes in; the result is CC0 like the head.
"""

from __future__ import annotations

import numpy as np

from setup.open_head.skin_bake import Texels, noise, openness
from utils.heads.head_file import HeadFile
from utils.rendering.head_paint import GAZE_DOWN, painted

SKIN = np.array([0.83, 0.655, 0.565])
FLUSH = np.array([0.80, 0.50, 0.44])
LIP = np.array([0.70, 0.42, 0.39])
LIP_EDGE = np.array([0.62, 0.36, 0.33])
HAIR = np.array([0.24, 0.17, 0.125])
SCALP = np.array([0.38, 0.30, 0.255])  # skin through hair of a few millimetres
LASH = np.array([0.16, 0.11, 0.09])
IRIS = np.array([[0.20, 0.17, 0.12], [0.36, 0.29, 0.17], [0.45, 0.29, 0.14]])  # rim, middle, around the pupil
WHITE = np.array([0.90, 0.885, 0.87])
VEIN = np.array([0.78, 0.52, 0.47])
NAPE = -0.040  # metres, the hairline's height behind
IRIS_ANGLE, PUPIL_ANGLE = 0.45, 0.17  # radians from the gaze axis


def paint(head: HeadFile, texels: Texels) -> np.ndarray:
    """Colours per texel (M, 3), sRGB in 0..1."""
    points = texels.spread(head.v_template.astype(np.float64), head.faces)
    plain = texels.spread(painted(head).paint[:, :3].astype(np.float64), head.faces)
    inside = texels.spread(_soft(head, "mouth_interior", 0), head.faces)
    colours = _skin(head, points)
    colours = _scalp(colours, head, points, texels)
    colours = _lips(colours, head, points, texels)
    colours = _brows(colours, head, points, texels)
    colours = _lashes(colours, head, texels)
    light = texels.spread(openness(head), head.faces)
    colours = colours * _occlusion(light)
    colours = _mix(colours, plain, inside)
    return np.clip(_eyes(colours, head, points, texels), 0, 1)


def _skin(head: HeadFile, points: np.ndarray) -> np.ndarray:
    """Base tone with flushed cheeks, nose and ears, blotches, freckles and pores."""
    cheek = head.v_template[head.lmk68[[45, 54]]].mean(0) + [0.006, 0.001, 0.004]
    flush = np.maximum(_near(points, cheek, 0.016), _near(points, cheek * [-1, 1, 1], 0.016))
    flush = np.maximum(flush, 0.9 * _near(points, head.v_template[head.lmk68[30]], 0.010))
    ears = np.maximum(np.abs(points[:, 0]) - 0.068, 0) / 0.012
    flush = np.maximum(flush, 0.8 * np.clip(ears, 0, 1) * (points[:, 2] < 0.02))
    blotch = 0.6 * noise(points, 0.011, 1) + 0.4 * noise(points, 0.004, 2)
    colours = _mix(np.tile(SKIN, (len(points), 1)), FLUSH, np.clip(0.42 * flush + 0.10 * blotch, 0, 1))
    tired = np.maximum(_under_eye(head, points, 1), _under_eye(head, points, -1))
    colours = _mix(colours, np.array([0.66, 0.47, 0.45]), 0.22 * tired)
    pores = 0.55 * noise(points, 0.00055, 3) + 0.45 * noise(points, 0.0011, 4)
    lines = noise(points, (0.004, 0.0009, 0.004), 5)
    colours = colours * (1 + 0.030 * pores + 0.012 * lines)[:, None]
    freckle = np.clip((noise(points, 0.0016, 6) - 0.72) / 0.15, 0, 1) * np.clip(0.4 + noise(points, 0.02, 7), 0, 1)
    return _mix(colours, np.array([0.62, 0.42, 0.31]), 0.30 * freckle)


def _under_eye(head: HeadFile, points: np.ndarray, side: int) -> np.ndarray:
    lid = head.v_template[head.lmk68[[46, 47]]].mean(0) * [side, 1, 1]
    offset = (points - lid - [side * -0.002, -0.008, 0]) / [0.012, 0.0045, 0.012]
    return np.exp(-0.5 * (offset**2).sum(1))


def _scalp(colours: np.ndarray, head: HeadFile, points: np.ndarray, texels: Texels) -> np.ndarray:
    """Hair of a few millimetres: dark specks on a darker ground, thinning out over an uneven hairline."""
    edge = hairline(head, points) + 0.004 * noise(points, 0.010, 8) + 0.0025 * noise(points, 0.0025, 9)
    ears = texels.spread(np.maximum(_soft(head, "left_ear", 1), _soft(head, "right_ear", 1)), head.faces)
    cover = np.clip(0.5 + edge / 0.010, 0, 1) * (1 - np.clip(2 * ears, 0, 1))
    ground = _mix(colours, SCALP, 0.88 * cover)
    specks = np.clip(0.55 + 0.8 * noise(points, 0.0005, 10) + 0.12 * noise(points, 0.006, 11), 0, 1)
    return _mix(ground, HAIR, 0.45 * cover * specks)


def hairline(head: HeadFile, points: np.ndarray) -> np.ndarray:
    """(M,) metres above the hairline, negative on bare skin: over the forehead, round the temples, down to the nape."""
    top = head.v_template[:, 1].max()
    brow = head.v_template[head.lmk68[[19, 24]], 1].mean()
    forehead = brow + 0.50 * (top - brow)
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    front = np.clip((z - 0.005) / 0.05, 0, 1)  # 1 on the forehead, 0 above the ears and behind
    side = brow - 0.030 - 0.55 * np.clip(-(z + 0.015), 0, 0.06)  # falls from the temple to behind the ear
    behind = np.clip(-(z + 0.03) / 0.03, 0, 1)
    low = side + behind * (NAPE - side)
    temple = 0.010 * np.exp(-0.5 * ((x - 0.045) / 0.012) ** 2) * front  # receding corners
    return y - (low + (forehead - low) * front**0.7) - temple


def _lips(colours: np.ndarray, head: HeadFile, points: np.ndarray, texels: Texels) -> np.ndarray:
    """Vermilion with fine upright creases, a little darker at the border."""
    share = texels.spread(_lip_share(head), head.faces)
    share = np.clip((share + 0.10 * noise(points, 0.0012, 12) - 0.20) / 0.45, 0, 1)
    creases = noise(points, (0.0007, 0.006, 0.004), 13) + 0.5 * noise(points, (0.0016, 0.006, 0.004), 14)
    tone = _mix(np.tile(LIP_EDGE, (len(points), 1)), LIP, np.clip(2 * share - 1, 0, 1))
    return _mix(colours, tone * (1 + 0.05 * creases)[:, None], 0.85 * share)


def _lip_share(head: HeadFile) -> np.ndarray:
    """(V,) how much a vertex is lip, read from the head's own vertex colours (skin to lip) within the lips' mask."""
    skin, lip = np.array([0.80, 0.64, 0.55]), np.array([0.65, 0.40, 0.36])
    along = (head.vertex_colours - skin) @ (lip - skin) / ((lip - skin) ** 2).sum()
    inside = _soft(head, "mouth_interior", 0)
    return np.clip(along, 0, 1) * np.maximum(head.masks["lips"], inside * (along > 0.3))


def _brows(colours: np.ndarray, head: HeadFile, points: np.ndarray, texels: Texels) -> np.ndarray:
    """Hairs along an arch through the brow's landmarks, thick inside and thinning outwards, over a soft shadow."""
    brow = head.v_template[head.lmk68[22:27]].astype(np.float64)
    arch = np.polyfit(brow[:, 0], brow[:, 1], 2)
    x, front = np.abs(points[:, 0]), points[:, 2] > 0
    start, end = brow[0, 0] - 0.001, brow[-1, 0] + 0.004
    along = np.clip((x - start) / (end - start), 0, 1)
    off = points[:, 1] - np.polyval(arch, x) - 0.0005
    half = 0.0048 * (1 - 0.72 * along**1.5)
    inside = np.clip(1.25 - np.abs(off) / half, 0, 1) * np.clip((x - start) / 0.006, 0, 1)
    inside = inside * np.clip((end - x) / 0.010, 0, 1) * front
    slope = np.deg2rad(62 - 62 * along)  # hairs stand at the nose and lie down towards the temple
    turned = np.stack([x * np.cos(slope) + off * np.sin(slope), off * np.cos(slope) - x * np.sin(slope)], axis=1)
    strands = noise(np.column_stack([turned, np.sign(points[:, 0])]), (0.0065, 0.00042, 1), 15)
    hairs = np.clip((strands + 1.7 * inside - 0.62) / 0.4, 0, 1) * (inside > 0)
    return _mix(_mix(colours, HAIR, 0.42 * inside), HAIR, 0.75 * hairs)


def _lashes(colours: np.ndarray, head: HeadFile, texels: Texels) -> np.ndarray:
    """A dark line on the upper lid's margin where the head's vertex colours have one."""
    line, skin = np.array([0.28, 0.19, 0.16]), np.array([0.80, 0.64, 0.55])
    along = (head.vertex_colours - skin) @ (line - skin) / ((line - skin) ** 2).sum()
    near = head.masks["left_eye_region"] | head.masks["right_eye_region"]
    above = head.v_template[:, 1] < head.v_template[head.lmk68[[19, 24]], 1].mean() - 0.008  # not the brows
    share = texels.spread(np.clip(along, 0, 1) * near * above, head.faces)
    return _mix(colours, LASH, 0.9 * np.clip((share - 0.35) / 0.4, 0, 1))


def _eyes(colours: np.ndarray, head: HeadFile, points: np.ndarray, texels: Texels) -> np.ndarray:
    """Iris with fibres and a dark rim, pupil, a white that reddens towards the lids."""
    for name in ("left_eyeball", "right_eyeball"):
        mask = head.masks[name]
        ball = head.v_template[mask].astype(np.float64)
        on = np.flatnonzero(mask[head.faces[texels.triangle, 0]])
        ray = points[on] - (ball.max(0) + ball.min(0)) / 2
        up = ray[:, 1] + GAZE_DOWN * ray[:, 2]
        angle = np.arctan2(np.hypot(ray[:, 0], up), ray[:, 2])
        colours[on] = _eye(angle, np.arctan2(up, ray[:, 0]), ray)
    return colours


def _eye(angle: np.ndarray, around: np.ndarray, ray: np.ndarray) -> np.ndarray:
    circle = np.stack([np.cos(around), np.sin(around), 0.35 * angle], axis=1)
    fibres = noise(circle, 0.045, 16) + 0.6 * noise(circle, 0.11, 17)
    depth = np.clip((angle - PUPIL_ANGLE) / (IRIS_ANGLE - PUPIL_ANGLE) + 0.10 * fibres, 0, 1)
    iris = np.stack([np.interp(depth, [0, 0.30, 0.65, 1], [IRIS[2, i], IRIS[1, i], IRIS[1, i], IRIS[0, i]])
                     for i in range(3)], axis=1)  # fmt: skip
    iris *= (1 + 0.16 * fibres)[:, None] * (1 - 0.75 * _step(angle, 0.86 * IRIS_ANGLE, 1.03 * IRIS_ANGLE))[:, None]
    veins = np.clip(noise(ray, (0.0022, 0.0007, 0.0022), 18) - 0.45, 0, 1) + 0.35
    white = _mix(np.tile(WHITE, (len(angle), 1)), VEIN, veins * _step(angle, 0.65, 1.5))
    colours = _mix(iris, white, _step(angle, IRIS_ANGLE - 0.02, IRIS_ANGLE + 0.035))
    return _mix(colours, np.full(3, 0.02), 1 - _step(angle, PUPIL_ANGLE - 0.015, PUPIL_ANGLE + 0.015))


def _occlusion(light: np.ndarray) -> np.ndarray:
    """(M, 3) factor: folds and hollows are darker, and redder, since light that reaches them went through skin."""
    dark = np.clip((0.80 - light) / 0.80, 0, 1)[:, None]
    return 1 - dark * np.array([0.50, 0.66, 0.70])


def _soft(head: HeadFile, name: str, rounds: int) -> np.ndarray:
    """(V,) a mask as numbers, averaged with the neighbours some times."""
    values = head.masks[name].astype(np.float64)
    index, ones = head.faces.ravel(), np.ones(head.faces.size)
    count = np.maximum(np.bincount(index, ones, head.n_vertices), 1)
    for _ in range(rounds):
        values = np.bincount(index, np.repeat(values[head.faces].mean(1), 3), head.n_vertices) / count
    return values


def _near(points: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    """(M,) 1 at the centre, falling off as a Gaussian of that radius (metres)."""
    return np.exp(-0.5 * ((points - centre) ** 2).sum(1) / radius**2)


def _step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    part = np.clip((x - low) / (high - low), 0, 1)
    return part * part * (3 - 2 * part)


def _mix(one: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    return one + (other - one) * np.asarray(share)[..., None]
