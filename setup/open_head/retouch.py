"""What is drawn otherwise on the motion mesh's own vertices: lids that shut in a line, a tongue with units, light.

Metres, in the head's frame.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from setup.open_head.assembly import HeadMesh
from setup.open_head.rig import lid_margin, split_lids
from setup.open_head.shapes import ball_centre, smooth_step
from setup.open_head.skin_bake import openness
from setup.open_head.skin_paint import smoothed
from utils.heads.dressed_head import Part, Retouch
from utils.heads.head_file import HeadFile

SEAM, REACH, OVERLAP = 0.0013, 0.0045, 1.5e-4  # a margin's largest change; its reach into the lid; upper over lower
BACK = 7e-4  # by which a ball sinks below shut lids, which some identities' balls would break through
BEHIND, ROUND, NARROW = (
    0.0068,
    0.0025,
    0.06,
)  # by which a tongue's tip lies back, is rounder and narrower: off the teeth
LOWER, GROOVE = 0.0055, 0.0014  # by which its back lies lower, so that a wide mouth shows the throat; its midline
DROOP = 0.005  # of the tip that is put out
DARKEST, OPEN = 0.55, 0.80  # of occlusion: what the sky's light loses at most; share of the sky that loses nothing


def retouch(head: HeadFile, mesh: HeadMesh) -> Retouch:
    """All of it but the shade of parts."""
    margins = np.zeros(head.n_vertices, bool)
    units, dirs = [], []
    for side in ("Left", "Right"):
        margins[lid_margin(mesh, side)] = True
        units.append(head.exp_names.index(f"eyeBlink{side}"))
        dirs.append(_shut(head, mesh, side))
    rest, tongue = _tongue(head)
    return Retouch(smoothed(head, _light(head), 1), margins, rest, np.array(units), np.array(dirs), tongue)


def shade(light: np.ndarray, darkest: float = DARKEST) -> np.ndarray:
    """Factor on colours for the share of the sky that is seen."""
    return 1 - darkest * np.clip((OPEN - light) / OPEN, 0, 1)


def shaded(head: HeadFile, bust: Part, hair: dict[str, Part]) -> tuple[Part, dict[str, Part]]:
    """Bust and hair with their own occlusion, and with what they take of the head's light."""
    bare, (dressed, own) = _light(head), _lights(head, [bust])
    found = {}
    for name, part in hair.items():
        worn, _, strands = _lights(head, [bust, part])
        found[name] = replace(_painted(part, shade(strands, 0.40)), shade=_taken(head, worn, dressed))
    return replace(_painted(bust, shade(own)), shade=_taken(head, dressed, bare)), found


def _painted(part: Part, factor: np.ndarray) -> Part:
    paint = part.paint.copy()
    paint[:, :3] *= factor[:, None]
    return replace(part, paint=paint)


def _taken(head: HeadFile, after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """(V,) factor on the head's colours; eyes and mouth have shadows by other means."""
    factor = np.clip(shade(after) / shade(before), 0.6, 1)
    return _outside(head, smoothed(head, factor, 1))


def _light(head: HeadFile) -> np.ndarray:
    return _outside(head, openness(head))


def _outside(head: HeadFile, values: np.ndarray) -> np.ndarray:
    hidden = [head.masks[name] for name in ("mouth_interior", "teeth", "tongue", "left_eyeball", "right_eyeball")]
    return np.where(np.any(hidden, axis=0), 1.0, values)


def _lights(head: HeadFile, parts: list[Part]) -> list[np.ndarray]:
    """Openness of the head's vertices and of each part's, all standing together."""
    counts = np.cumsum([head.n_vertices, *(len(part.vertices) for part in parts)])
    points = np.concatenate([head.v_template, *(part.vertices for part in parts)])
    faces = np.concatenate([head.faces, *(part.faces + n for part, n in zip(parts, counts))])
    found = openness(replace(head, v_template=points, faces=faces), samples=48)
    return np.split(found, counts[:-1])


def _shut(head: HeadFile, mesh: HeadMesh, side: str) -> np.ndarray:
    """(V, 3) what a full blink moves in addition, so that both margins lie on one cubic between the corners."""
    template = head.v_template.astype(np.float64)
    motion = head.expdirs[:, :, head.exp_names.index(f"eyeBlink{side}")].astype(np.float64)
    ball = template[head.masks[f"{side.lower()}_eyeball"]]
    centre = ball_centre(ball)
    closed = template + motion
    loop = lid_margin(mesh, side)
    upper, lower = split_lids(template, loop)
    ends = closed[upper[[0, -1]]]
    across = (closed[:, 0] - ends[0, 0]) / (ends[1, 0] - ends[0, 0])
    line = ends[0, 1] + across * (ends[1, 1] - ends[0, 1])
    basis = across * (1 - across)
    inner = np.unique(np.r_[upper[1:-1], lower[1:-1]])
    matrix = np.stack([basis, basis * across], axis=1)
    bow = np.linalg.lstsq(matrix[inner], (closed[:, 1] - line)[inner], rcond=None)[0]
    wanted = line + matrix @ bow
    lift = np.zeros(head.n_vertices)
    lift[upper], lift[lower] = (wanted - closed[:, 1])[upper] - OVERLAP, (wanted - closed[:, 1])[lower] + OVERLAP
    lift = np.clip(lift, -SEAM, SEAM)
    lift[upper[[0, -1]]] = 0
    lids = head.masks[f"{side.lower()}_eye_region"] & ~head.masks[f"{side.lower()}_eyeball"]
    distance, near = cKDTree(closed[loop]).query(closed, k=4)
    weight = 1 / (distance + 2e-4) ** 2
    spread = (lift[loop][near] * weight).sum(1) / weight.sum(1) * np.exp(-((distance[:, 0] / REACH) ** 2))
    moved = closed + np.outer(np.where(lids, spread, 0), [0, 1, 0])
    moved = np.where(np.isin(np.arange(len(moved)), loop)[:, None], closed + np.outer(lift, [0, 1, 0]), moved)
    ray, before = moved - centre, np.linalg.norm(closed - centre, axis=1)
    kept = centre + ray * (before / np.linalg.norm(ray, axis=1))[:, None]  # along the ball
    found = np.where(lids[:, None], kept - closed, 0)
    found[head.masks[f"{side.lower()}_eyeball"], 2] = -BACK
    return found.astype(np.float32)


def _tongue(head: HeadFile) -> tuple[np.ndarray, np.ndarray]:
    """(V, 3) how it lies behind the drawn teeth; (V, 3, 2) the blend shapes of tongueOut and tongueUp: the front half
    slides out and gets thin and narrow, or lifts."""
    rest = np.zeros((head.n_vertices, 3), np.float32)
    found = np.zeros((head.n_vertices, 3, 2), np.float32)
    ids = np.flatnonzero(head.masks["tongue"])
    x, y, z = head.v_template[ids].astype(np.float64).T
    part = (z - z.min()) / np.ptp(z)
    along = smooth_step(np.clip((part - 0.35) / 0.65, 0, 1))
    above = y - np.polyval(np.polyfit(z, y, 3), z)
    thin = np.clip(along * 1.3, 0, 1)
    low = LOWER * np.clip(part / 0.25, 0, 1) * np.clip((1 - part) / 0.5, 0, 1)
    groove = GROOVE * np.clip(above / 0.003, 0, 1) * np.exp(-((x / 0.0035) ** 2)) * np.clip((1 - part) / 0.2, 0, 1)
    droop = DROOP * np.clip((part - 0.7) / 0.3, 0, 1) ** 2
    rest[ids, 0] = -NARROW * x * along
    rest[ids, 1] = 0.0012 * along - low - groove
    rest[ids, 2] = -(BEHIND + ROUND * np.minimum(np.abs(x) / 0.008, 1) ** 2) * along
    found[ids, 0, 0] = -0.20 * x * along
    found[ids, 1, 0] = 0.0018 * along - 0.18 * above * thin - droop
    found[ids, 2, 0] = (0.034 + BEHIND - 0.003 * np.minimum(np.abs(x) / 0.013, 1.2) ** 2) * along
    found[ids, 0, 1] = -0.10 * x * along
    found[ids, 1, 1] = (0.0128 + low) * along - 0.25 * above * thin
    found[ids, 2, 1] = (BEHIND - 0.0045) * along
    return rest, found
