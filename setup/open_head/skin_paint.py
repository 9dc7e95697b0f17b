"""The skin look's texture, painted in space: pores and blotches, lips, brows of single hairs, a shaven scalp, irises.

Everything is a function of the point on the head, so the texture has no seams and any layout of islands will do.
Nothing photographic goes in; the result is CC0 like the head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from setup.open_head.shapes import ball_centre, mix, near, smooth_step
from setup.open_head.skin_bake import Texels, noise, openness
from utils.heads.head_file import HeadFile
from utils.rendering.head_paint import GAZE_DOWN, painted


@dataclass(frozen=True)
class Tone:
    """One person's colours, sRGB."""

    skin: tuple[float, float, float]
    flush: tuple[float, float, float]
    lip: tuple[float, float, float]
    hair: tuple[float, float, float]
    scalp: tuple[float, float, float]  # skin through hair of a few millimetres
    iris: tuple[tuple[float, float, float], ...]  # rim, middle, around the pupil
    brow: float  # half the thickness of the brows, metres
    stubble: float = 0.0
    freckles: float = 0.3
    lines: float = 0.0  # of age


TONES = {
    "tan": Tone((0.82, 0.635, 0.535), (0.78, 0.47, 0.40), (0.68, 0.415, 0.38), (0.20, 0.14, 0.105), (0.40, 0.31, 0.26),
                ((0.17, 0.13, 0.09), (0.33, 0.24, 0.14), (0.42, 0.27, 0.13)), 0.0033, stubble=0.11),
    "fair": Tone((0.885, 0.715, 0.635), (0.86, 0.52, 0.47), (0.74, 0.41, 0.40), (0.36, 0.235, 0.145),
                 (0.55, 0.42, 0.34), ((0.13, 0.17, 0.20), (0.31, 0.40, 0.44), (0.42, 0.40, 0.30)), 0.0026),
    "deep": Tone((0.545, 0.375, 0.285), (0.50, 0.27, 0.20), (0.47, 0.265, 0.235), (0.105, 0.08, 0.07),
                 (0.20, 0.14, 0.11), ((0.10, 0.07, 0.05), (0.22, 0.14, 0.08), (0.28, 0.17, 0.09)), 0.0033,
                 stubble=0.10, freckles=0.0),
}  # fmt: skip
WHITE = np.array([0.90, 0.885, 0.87])
VEIN = np.array([0.78, 0.52, 0.47])
FLAT = 0.80  # how much of the brows' arch is kept
TIP = np.array([0.45, 0.66, 0.66])  # by which a tongue's tip is brighter than in clay
PARTED = 0.48  # least share of the sky that lips see
MOIST = np.array([1.06, 0.90, 0.93])  # redder, where lips meet
KEY = np.array([0.0, 0.77, 0.638])  # towards the light whose shadow is painted under chin and nose
NAPE = -0.040  # metres, the hairline's height behind
BORDER = (0.14, 0.44)  # of `_lip_share`: skin, vermilion; in between is where landmarkers see the outer lip
IRIS_ANGLE, PUPIL_ANGLE = 0.355, 0.125  # radians from the gaze axis


def paint(head: HeadFile, texels: Texels, tone: Tone) -> np.ndarray:
    """Colours per texel (M, 3), sRGB in 0..1."""
    points = texels.spread(head.v_template.astype(np.float64), head.faces)
    plain = texels.spread(painted(head).paint[:, :3].astype(np.float64), head.faces)
    inside = texels.spread(_soft(head, "mouth_interior", 0), head.faces)
    colours = _skin(head, points, tone)
    colours = _scalp(colours, head, points, texels, tone)
    colours = _lips(colours, head, points, texels, tone)
    colours = _brows(colours, head, points, tone)
    colours = _lashes(colours, head, texels)
    light, moist = (texels.spread(x, head.faces) for x in _parted(head, openness(head)))
    below = texels.spread(smoothed(head, openness(head, towards=KEY), 3), head.faces)
    colours = mix(colours, colours * MOIST, moist)
    colours = colours * _occlusion(light) * (0.80 + 0.20 * np.clip(below / 0.6, 0, 1))[:, None]
    colours = mix(colours, _tongue(plain, head, points, texels), inside)
    return np.clip(_eyes(colours, head, points, texels, tone), 0, 1)


def _skin(head: HeadFile, points: np.ndarray, tone: Tone) -> np.ndarray:
    """Base tone with flushed cheeks, nose and ears, blotches, freckles and pores."""
    cheek = head.v_template[head.lmk68[[45, 54]]].mean(0) + [0.006, 0.001, 0.004]
    flush = np.maximum(near(points, cheek, 0.016), near(points, cheek * [-1, 1, 1], 0.016))
    flush = np.maximum(flush, 0.9 * near(points, head.v_template[head.lmk68[30]], 0.010))
    ears = np.maximum(np.abs(points[:, 0]) - 0.068, 0) / 0.012
    flush = np.maximum(flush, 0.8 * np.clip(ears, 0, 1) * (points[:, 2] < 0.02))
    blotch = 0.6 * noise(points, 0.011, 1) + 0.4 * noise(points, 0.004, 2)
    colours = mix(
        np.tile(tone.skin, (len(points), 1)), np.array(tone.flush), np.clip(0.42 * flush + 0.10 * blotch, 0, 1)
    )
    tired = np.maximum(_under_eye(head, points, 1), _under_eye(head, points, -1))
    colours = mix(colours, colours * [0.80, 0.72, 0.79], 0.22 * tired)
    colours = mix(
        colours, np.array(tone.hair), tone.stubble * _beard(head, points) * (1 + 0.5 * noise(points, 0.0005, 21))
    )
    pores = 0.55 * noise(points, 0.00055, 3) + 0.45 * noise(points, 0.0011, 4)
    lines = noise(points, (0.004, 0.0009, 0.004), 5)
    colours = colours * (1 + 0.030 * pores + 0.012 * lines)[:, None]
    freckle = np.clip((noise(points, 0.0016, 6) - 0.72) / 0.15, 0, 1) * np.clip(0.4 + noise(points, 0.02, 7), 0, 1)
    return mix(colours, np.array(tone.skin) * [0.75, 0.64, 0.55], tone.freckles * freckle)


def strands(tone: Tone, height: int, width: int) -> np.ndarray:
    """(height, width, 3) a picture of hair that runs from left to right."""
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    at = np.stack([x.ravel() / width, y.ravel() / height, 0 * x.ravel()], axis=1)
    fine = sum(weight * noise(at, (0.9, cell, 1), 30 + i) for i, (weight, cell) in
               enumerate(((0.5, 0.012), (0.6, 0.03), (0.5, 0.09))))  # fmt: skip
    light = 1.0 + 0.42 * fine
    return np.clip(np.array(tone.hair) * 1.25 * light[:, None], 0, 1).reshape(height, width, 3)


def _beard(head: HeadFile, points: np.ndarray) -> np.ndarray:
    """(M,) where a beard would grow: jaw, chin and over the upper lip."""
    mouth = head.v_template[head.lmk68[[48, 54]]].mean(0)
    nose = head.v_template[head.lmk68[33]]
    low = np.clip((mouth[1] + 0.004 - points[:, 1]) / 0.022, 0, 1)
    lip = np.exp(-(((points[:, 1] - (mouth[1] + nose[1]) / 2) / 0.007) ** 2) - (points[:, 0] / 0.026) ** 2)
    jaw = low * np.clip((points[:, 1] - (mouth[1] - 0.095)) / 0.03, 0, 1) * np.clip((points[:, 2] + 0.03) / 0.03, 0, 1)
    return np.clip(np.maximum(jaw, lip), 0, 1) * (points[:, 2] > -0.04)


def _under_eye(head: HeadFile, points: np.ndarray, side: int) -> np.ndarray:
    lid = head.v_template[head.lmk68[[46, 47]]].mean(0) * [side, 1, 1]
    offset = (points - lid - [side * -0.002, -0.008, 0]) / [0.012, 0.0045, 0.012]
    return np.exp(-0.5 * (offset**2).sum(1))


def _scalp(colours: np.ndarray, head: HeadFile, points: np.ndarray, texels: Texels, tone: Tone) -> np.ndarray:
    """Hair of a few millimetres: dark specks on a darker ground, thinning out over an uneven hairline."""
    edge = hairline(head, points) + 0.0022 * noise(points, 0.014, 8) + 0.0022 * noise(points, 0.0012, 9)
    ears = texels.spread(np.maximum(_soft(head, "left_ear", 1), _soft(head, "right_ear", 1)), head.faces)
    cover = np.clip(0.5 + edge / 0.016, 0, 1) * (1 - np.clip(2 * ears, 0, 1))
    ground = mix(colours, np.array(tone.scalp), 0.88 * cover)
    specks = np.clip(0.55 + 0.8 * noise(points, 0.0005, 10) + 0.12 * noise(points, 0.006, 11), 0, 1)
    return mix(ground, np.array(tone.hair), 0.45 * cover * specks)


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


def _lips(colours: np.ndarray, head: HeadFile, points: np.ndarray, texels: Texels, tone: Tone) -> np.ndarray:
    """Vermilion with fine upright creases, a little darker at the border."""
    share = texels.spread(_lip_share(head), head.faces)
    share = _step(share + 0.03 * noise(points, 0.0012, 12), *BORDER)
    creases = noise(points, (0.0007, 0.006, 0.004), 13) + 0.5 * noise(points, (0.0016, 0.006, 0.004), 14)
    lip = np.array(tone.lip)
    red = mix(np.tile(lip * 0.885, (len(points), 1)), lip, np.clip(2 * share - 1, 0, 1))
    return mix(colours, red * (1 + 0.05 * creases)[:, None], 0.85 * share)


def _lip_share(head: HeadFile) -> np.ndarray:
    """(V,) how much a vertex is lip, read from the head's own vertex colours (skin to lip) within the lips' mask."""
    skin, lip = np.array([0.80, 0.64, 0.55]), np.array([0.65, 0.40, 0.36])
    along = (head.vertex_colours - skin) @ (lip - skin) / ((lip - skin) ** 2).sum()
    inside = _soft(head, "mouth_interior", 0)
    return np.clip(along, 0, 1) * np.maximum(head.masks["lips"], inside * (along > 0.3))


def _tongue(colours: np.ndarray, head: HeadFile, points: np.ndarray, texels: Texels) -> np.ndarray:
    """The mouth with a tongue that is brighter towards its tip, and grained."""
    tongue = texels.spread(_soft(head, "tongue", 0), head.faces)
    z = head.v_template[head.masks["tongue"], 2]
    tip = np.clip((points[:, 2] - np.quantile(z, 0.5)) / np.ptp(z) / 0.3, 0, 1)
    grain = 0.5 * noise(points, 0.0007, 22) + 0.5 * noise(points, 0.0022, 23)
    return mix(colours, colours * (1 + tip[:, None] * TIP + 0.06 * grain[:, None]), tongue)


def _brows(colours: np.ndarray, head: HeadFile, points: np.ndarray, tone: Tone) -> np.ndarray:
    """Hairs along an arch through the brow's landmarks, thick inside and thinning outwards, over a soft shadow."""
    brow = head.v_template[head.lmk68[22:27]].astype(np.float64)
    arch = np.polyfit(brow[:, 0], brow[:, 1], 2)
    arch = arch * FLAT + (1 - FLAT) * np.polyfit(brow[:, 0], brow[:, 1], 1)[[0, 0, 1]] * [0, 1, 1]  # a calmer arch
    x, front = np.abs(points[:, 0]), points[:, 2] > 0
    start, end = brow[0, 0] - 0.001, brow[-1, 0] + 0.004
    along = np.clip((x - start) / (end - start), 0, 1)
    off = points[:, 1] - np.polyval(arch, x)
    half = tone.brow * (1 - 0.72 * along**1.5)
    inside = np.clip(1.25 - np.abs(off) / half, 0, 1) * np.clip((x - start) / 0.006, 0, 1)
    inside = inside * np.clip((end - x) / 0.010, 0, 1) * front
    slope = np.deg2rad(62 - 62 * along)  # hairs stand at the nose and lie down towards the temple
    turned = np.stack([x * np.cos(slope) + off * np.sin(slope), off * np.cos(slope) - x * np.sin(slope)], axis=1)
    strands = noise(np.column_stack([turned, np.sign(points[:, 0])]), (0.0065, 0.00030, 1), 15)
    hairs = np.clip((strands + 1.7 * inside - 0.62) / 0.4, 0, 1) * (inside > 0)
    return mix(mix(colours, np.array(tone.hair), 0.48 * inside), np.array(tone.hair), 0.70 * hairs)


def _lashes(colours: np.ndarray, head: HeadFile, texels: Texels) -> np.ndarray:
    """A dark line on the upper lid's margin where the head's vertex colours have one."""
    line, skin = np.array([0.28, 0.19, 0.16]), np.array([0.80, 0.64, 0.55])
    along = (head.vertex_colours - skin) @ (line - skin) / ((line - skin) ** 2).sum()
    near = head.masks["left_eye_region"] | head.masks["right_eye_region"]
    above = head.v_template[:, 1] < head.v_template[head.lmk68[[19, 24]], 1].mean() - 0.008  # not the brows
    share = texels.spread(np.clip(along, 0, 1) * near * above, head.faces)
    return mix(colours, colours * 0.62, np.clip((share - 0.35) / 0.4, 0, 1))


def _eyes(colours: np.ndarray, head: HeadFile, points: np.ndarray, texels: Texels, tone: Tone) -> np.ndarray:
    """Iris with fibres and a dark rim, pupil, a white that reddens towards the lids."""
    for name in ("left_eyeball", "right_eyeball"):
        mask = head.masks[name]
        ball = head.v_template[mask].astype(np.float64)
        on = np.flatnonzero(mask[head.faces[texels.triangle, 0]])
        ray = points[on] - ball_centre(ball)
        up = ray[:, 1] + GAZE_DOWN * ray[:, 2]
        angle = np.arctan2(np.hypot(ray[:, 0], up), ray[:, 2])
        colours[on] = _eye(angle, np.arctan2(up, ray[:, 0]), ray, np.array(tone.iris))
    return colours


def _eye(angle: np.ndarray, around: np.ndarray, ray: np.ndarray, tones: np.ndarray) -> np.ndarray:
    circle = np.stack([np.cos(around), np.sin(around), 0.35 * angle], axis=1)
    fibres = noise(circle, 0.045, 16) + 0.6 * noise(circle, 0.11, 17)
    depth = np.clip((angle - PUPIL_ANGLE) / (IRIS_ANGLE - PUPIL_ANGLE) + 0.10 * fibres, 0, 1)
    iris = np.stack([np.interp(depth, [0, 0.30, 0.65, 1], [tones[2, i], tones[1, i], tones[1, i], tones[0, i]])
                     for i in range(3)], axis=1)  # fmt: skip
    iris *= (1 + 0.16 * fibres)[:, None] * (1 - 0.75 * _step(angle, 0.86 * IRIS_ANGLE, 1.03 * IRIS_ANGLE))[:, None]
    veins = np.clip(noise(ray, (0.0022, 0.0007, 0.0022), 18) - 0.45, 0, 1) + 0.35
    white = mix(np.tile(WHITE, (len(angle), 1)), VEIN, veins * _step(angle, 0.65, 1.5))
    colours = mix(iris, white, _step(angle, IRIS_ANGLE - 0.02, IRIS_ANGLE + 0.035))
    return mix(colours, np.full(3, 0.02), 1 - _step(angle, PUPIL_ANGLE - 0.015, PUPIL_ANGLE + 0.015))


def _parted(head: HeadFile, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(V,) openness, at least `PARTED` on lips: they are shut where it is found, and open where their edges show; (V,)
    how far they were hidden."""
    lips = head.masks["lips"] & ~head.masks["mouth_interior"]
    return np.where(lips, np.maximum(light, PARTED), light), lips * np.clip(1 - light / PARTED, 0, 1)


def _occlusion(light: np.ndarray) -> np.ndarray:
    """(M, 3) factor: folds and hollows are darker, and redder, since light that reaches them went through skin."""
    dark = np.clip((0.80 - light) / 0.80, 0, 1)[:, None]
    return 1 - dark * np.array([0.50, 0.66, 0.70])


def _soft(head: HeadFile, name: str, rounds: int) -> np.ndarray:
    """(V,) a mask as numbers, averaged with the neighbours several times."""
    return smoothed(head, head.masks[name].astype(np.float64), rounds)


def smoothed(head: HeadFile, values: np.ndarray, rounds: int) -> np.ndarray:
    """(V,) numbers averaged with the neighbours several times."""
    index, ones = head.faces.ravel(), np.ones(head.faces.size)
    count = np.maximum(np.bincount(index, ones, head.n_vertices), 1)
    for _ in range(rounds):
        values = np.bincount(index, np.repeat(values[head.faces].mean(1), 3), head.n_vertices) / count
    return values


def _step(x: np.ndarray, low: float, high: float) -> np.ndarray:
    return smooth_step(np.clip((x - low) / (high - low), 0, 1))
