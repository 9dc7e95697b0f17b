"""Teeth and gums that are drawn in place of the motion mesh's bands: rounded crowns, one by one, on a smooth arch.

Metres, in the head's frame. Each follows the band that it replaces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from setup.open_head.shapes import grid_quads, mix, triangles
from setup.open_head.skin_uv import WHITE_UV
from setup.open_head.teeth import JAWS, SAMPLES
from utils.heads.dressed_head import Part
from utils.heads.head_file import HeadFile

BAND_ROWS, BAND_COLUMNS = 6, 43
PER_SIDE = 6  # drawn teeth; the last molar is never seen
AROUND, STEPS = 8, np.array([0.0, 0.40, 0.70, 0.90, 0.97, 1.0])  # of a crown: corners, rings from gum to edge
WIDE = np.array([0.72, 0.92, 1.0, 0.95, 0.84, 0.62])  # the crown's outline
DEEP = np.array([0.86, 1.0, 0.85, 0.60, 0.42, 0.20])
SQUARE = 2.8  # exponent of the cross-section; 2 is an ellipse
TOOTH, NECK, GUM, GUM_DEEP = (0.82, 0.785, 0.72), (0.78, 0.70, 0.60), (0.78, 0.45, 0.43), (0.50, 0.22, 0.21)
FRONT, FADE = 0.038, 0.011  # metres: z of the first teeth, depth in which the light falls to 1/e


@dataclass(frozen=True)
class Arch:
    """What differs between the jaws. Millimetres, from the middle outwards."""

    name: str
    up: float  # direction of the gum
    height: tuple[float, ...]  # of the crowns
    depth: tuple[float, ...]
    step: tuple[float, ...]  # how far each edge stays behind the arch's line
    forward: float


ARCHES = (
    Arch("upper_teeth", 1, (9.8, 8.8, 9.6, 8.2, 7.8, 7.0), (6.2, 5.8, 7.2, 8.4, 8.8, 10.2),
         (0.0, 0.8, 0.1, 0.9, 1.2, 1.6), -3.2),
    Arch("lower_teeth", -1, (8.4, 8.6, 9.4, 8.2, 7.8, 7.2), (5.6, 5.8, 6.8, 7.6, 8.0, 9.8),
         (0.2, 0.2, 0.0, 0.6, 1.0, 1.4), -3.6),
)  # fmt: skip


class Line:
    """The arch as a smooth curve of its length from the middle: biting edge, and where the band's columns are."""

    def __init__(self, head: HeadFile, arch: Arch) -> None:
        first = int(np.flatnonzero(head.masks["teeth"])[0]) + (0 if arch.up > 0 else BAND_ROWS * BAND_COLUMNS)
        self.ids = first + np.arange(BAND_ROWS * BAND_COLUMNS).reshape(BAND_ROWS, BAND_COLUMNS)
        edge = head.v_template[self.ids[3]].astype(np.float64)
        length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(edge[:, [0, 2]], axis=0), axis=1))]
        self.columns = length - length[BAND_COLUMNS // 2]
        tops = np.arange(BAND_COLUMNS) % len(SAMPLES) != 0  # not in the grooves
        self._fits = [np.polyfit(self.columns[tops], edge[tops, axis], 8) for axis in range(3)]
        self.forward = 1e-3 * arch.forward

    def at(self, where: np.ndarray) -> np.ndarray:
        points = np.stack([np.polyval(fit, where) for fit in self._fits], axis=-1)
        return points + [0, 0, self.forward]

    def outward(self, where: np.ndarray) -> np.ndarray:
        """Unit normals in the plane, out of the mouth."""
        along = self.at(where + 1e-4) - self.at(where - 1e-4)
        normal = np.stack([-along[..., 2], 0 * along[..., 0], along[..., 0]], axis=-1)
        normal *= np.sign((normal * (self.at(where) - [0, 0, 0.005])).sum(-1, keepdims=True))
        return normal / np.linalg.norm(normal, axis=-1, keepdims=True)

    def bound(self, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The band's vertices that points at these arc lengths follow, and their shares: (n, 8) each."""
        column = np.clip(np.interp(where, self.columns, np.arange(BAND_COLUMNS)), 0, BAND_COLUMNS - 1.001)
        left, part = column.astype(int), column % 1
        ids = np.concatenate([self.ids[1:5, left], self.ids[1:5, left + 1]]).T
        return ids, np.concatenate([np.tile(1 - part, (4, 1)), np.tile(part, (4, 1))]).T / 4


def teeth(head: HeadFile) -> Part:
    """All crowns of both jaws."""
    pieces = []
    for arch in ARCHES:
        line, widths = Line(head, arch), JAWS[arch.name].widths
        bounds = np.r_[0, np.cumsum(widths)]
        scale = line.columns[-1] / bounds[-1]
        for side in (-1, 1):
            for k in range(PER_SIDE):
                ends = np.array([bounds[k], bounds[k + 1]]) * scale
                pieces.append(_crown(line, arch, side * ends, k))
    return joined(pieces)


def _crown(line: Line, arch: Arch, ends: np.ndarray, k: int) -> Part:
    """One tooth between two arc lengths: rings of a superellipse from the gum to the rounded edge."""
    middle, half = ends.mean(), abs(ends[1] - ends[0]) / 2
    turn = 2 * np.pi * (np.arange(AROUND) + 0.5) / AROUND
    across, deep = (np.sign(f) * np.abs(f) ** (2 / SQUARE) for f in (np.cos(turn), np.sin(turn)))
    height, depth = 1e-3 * arch.height[k], 1e-3 * arch.depth[k]
    place, rows = [], []
    for step, wide, thick in zip(STEPS, WIDE, DEEP):
        where = middle + across * half * wide
        back = depth * (0.5 - 0.5 * thick * deep - 0.10 * (1 - step))  # the labial side leans in to the gum
        rise = 1e-3 * arch.step[k] + height * (1 - step)
        if k == 2 or k > 3:  # a cusp
            rise = rise + 0.0008 * step * np.abs(across)
        base = line.at(where) - line.outward(where) * (back - 0.12 * depth)[:, None]
        place.append(base + np.array([0, arch.up, 0]) * np.broadcast_to(rise, where.shape)[:, None])
        rows.append(where)
    points, where = np.concatenate(place), np.concatenate(rows)
    points = np.vstack([points, points[-AROUND:].mean(0) - [0, arch.up * 0.0001, 0]])
    where = np.r_[where, middle]
    share = np.r_[np.repeat(STEPS, AROUND), 1.0]
    colour = mix(NECK, TOOTH, np.clip(share / 0.45, 0, 1)) * (1 - 0.03 * (k == 2))
    return _part(points, _tube_faces(arch.up > 0), _lit(points, colour), 0.32, line.bound(where))


def _tube_faces(flip: bool) -> np.ndarray:
    last, top = (len(STEPS) - 1) * AROUND, len(STEPS) * AROUND
    end = [[last + j, last + (j + 1) % AROUND, top] for j in range(AROUND)]
    faces = np.concatenate([triangles(grid_quads(len(STEPS), AROUND, closed=True)), end])
    return faces[:, ::-1] if flip else faces


def gums(head: HeadFile) -> Part:
    """A band over the teeth's necks, scalloped: papillae reach down between the teeth."""
    pieces = []
    for arch in ARCHES:
        line, widths = Line(head, arch), JAWS[arch.name].widths
        bounds = np.r_[0, np.cumsum(widths)][: PER_SIDE + 2] / sum(widths) * line.columns[-1]
        within = np.linspace(0, 1, 5)[:-1]
        half = np.r_[[a + f * (b - a) for a, b in zip(bounds, bounds[1:]) for f in within], bounds[-1]]
        tooth = np.r_[np.repeat(np.arange(PER_SIDE + 1), 4), PER_SIDE].clip(0, PER_SIDE - 1)
        phase = np.r_[np.tile(within, PER_SIDE + 1), 0]
        where, tooth, phase = np.r_[-half[:0:-1], half], np.r_[tooth[:0:-1], tooth], np.r_[phase[:0:-1], phase]
        pieces.append(_gum(line, arch, where, tooth, np.sin(np.pi * phase) ** 0.8))
    return joined(pieces)


def _gum(line: Line, arch: Arch, where: np.ndarray, tooth: np.ndarray, arched: np.ndarray) -> Part:
    height, depth = 1e-3 * np.array(arch.height)[tooth], 1e-3 * np.array(arch.depth)[tooth]
    margin = height * (0.68 + 0.26 * arched)  # above the biting edge
    # (rise over the margin, metres; distance before the arch's line in depths): tucked in, rim, bulge, root, fold.
    rows = ((-0.0004, -0.30, 0.0), (0.0002, 0.10, 0.0), (0.0016, 0.22, 1.0), (0.0050, 0.20, 0.6), (0.0100, 0.02, 0.0),
            (0.0100, -0.9, 0.0), (0.0030, -1.0, 0.0), (-0.0002, -0.72, 0.0))  # fmt: skip
    place, colour = [], []
    for rise, front, bulge in rows:
        ahead = depth * front + 0.0005 * bulge * arched
        point = line.at(where) + line.outward(where) * ahead[:, None]
        place.append(point + np.array([0, arch.up, 0]) * (margin + rise)[:, None])
        colour.append(mix(GUM, GUM_DEEP, np.full(len(where), np.clip(rise / 0.010 - min(front, 0), 0, 1))))
    n, points = len(where), np.concatenate(place)
    faces = triangles(grid_quads(len(rows), n))
    j = 3 * (n - 1) * 2 + n // 2 * 2  # a face of the bulge, amid the front
    a, b, c = points[faces[j]]
    faces = faces if np.cross(b - a, c - a)[2] > 0 else faces[:, ::-1]
    bound = line.bound(np.tile(where, len(rows)))
    return _part(points, faces, _lit(points, np.concatenate(colour)), 0.22, bound)


def _lit(points: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Darker with the depth in the mouth. The shader squares colours."""
    return colour * np.exp(-np.maximum(FRONT - points[:, 2], 0) / FADE / 2)[:, None]


def _part(
    points: np.ndarray, faces: np.ndarray, colour: np.ndarray, gloss: float, bound: tuple[np.ndarray, np.ndarray]
) -> Part:
    paint = np.column_stack([colour, np.full(len(points), gloss)])
    return Part(points, faces, paint, np.tile(WHITE_UV, (len(points), 1)), *bound)


def joined(parts: list[Part]) -> Part:
    """Several parts as one."""
    first = np.r_[0, np.cumsum([len(part.vertices) for part in parts])]
    return Part(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + n for part, n in zip(parts, first)]),
        *(np.concatenate([getattr(part, key) for part in parts]) for key in ("paint", "uv", "bound_to", "shares")),
        None if parts[0].alpha is None else np.concatenate([part.alpha for part in parts]),
    )
