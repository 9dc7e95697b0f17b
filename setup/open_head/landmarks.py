"""The 68 iBUG landmarks as vertices. Right side (image left) mirrors the left side; jaw line from the silhouette."""

from __future__ import annotations

import numpy as np

from setup.open_head.assembly import LIP_CONTACT, HeadMesh
from setup.open_head.lips import OUTER_LOOP, Lips
from setup.open_head.rig import Rig, lid_margin, split_lids
from setup.open_head.source import Source
from utils.exports.surface import smooth_normals
from utils.heads.joints import LEFT_EYE

NAMED = {"upper_inner_lip": 62, "lower_inner_lip": 66, "upper_outer_lip": 51, "lower_outer_lip": 57,
         "right_mouth_corner": 48, "left_mouth_corner": 54, "nose_tip": 30, "chin": 8}  # fmt: skip


class Landmarks:
    """Finds the landmarks on a rig's template; `find` returns (68,) vertices."""

    def __init__(self, source: Source, head: HeadMesh, rig: Rig, masks: dict[str, np.ndarray]) -> None:
        self.source, self.head, self.rig, self.masks = source, head, rig, masks
        self.points = rig.template
        self.normals = smooth_normals(rig.template, head.triangles)
        self.middle = np.flatnonzero(masks["face"] & (np.abs(self.points[:, 0]) < 1e-5))
        self.eye_y = rig.joints[LEFT_EYE, 1]
        self.found = np.full(68, -1)

    def find(self, lips: Lips) -> np.ndarray:
        self._mouth(lips)
        self._eyes()
        self._nose()
        self._brows()
        self._jaw_line()
        if len(set(self.found.tolist())) != 68 or (self.found < 0).any():
            raise ValueError("landmarks coincide or are missing; is this the hm08 base mesh?")
        return self.found

    def _mirror(self, right: list[int], left: list[int]) -> None:
        self.found[right] = self.head.mirror[self.found[left]]

    def _nearest(self, candidates: np.ndarray, target: np.ndarray, axes: slice = slice(None)) -> int:
        return int(candidates[np.linalg.norm(self.points[candidates][:, axes] - target, axis=1).argmin()])

    def _along(self, ids: np.ndarray, shares: list[float]) -> list[int]:
        """Vertices of a polyline nearest to shares of its length."""
        arc = np.r_[0, np.cumsum(np.linalg.norm(np.diff(self.points[ids], axis=0), axis=1))]
        return [int(ids[np.abs(arc / arc[-1] - share).argmin()]) for share in shares]

    def _mouth(self, lips: Lips) -> None:
        found = self.found
        upper, lower = lips.halves(self.points, OUTER_LOOP)
        middle = np.abs(self.points[upper, 0]).argmin(), np.abs(self.points[lower, 0]).argmin()
        found[[48, 54, 51, 57]] = upper[0], upper[-1], upper[middle[0]], lower[middle[1]]
        found[[49, 50]] = self._along(upper[: middle[0] + 1], [0.45, 0.80])
        found[[59, 58]] = self._along(lower[: middle[1] + 1], [0.45, 0.78])
        upper, lower = lips.halves(self.points, LIP_CONTACT)
        middle = np.abs(self.points[upper, 0]).argmin(), np.abs(self.points[lower, 0]).argmin()
        found[[60, 64, 62, 66]] = upper[0], upper[-1], upper[middle[0]], lower[middle[1]]
        found[61] = self._along(upper[: middle[0] + 1], [0.62])[0]
        found[67] = self._along(lower[: middle[1] + 1], [0.62])[0]
        self._mirror([52, 53, 55, 56, 63, 65], [50, 49, 59, 58, 61, 67])

    def _eyes(self) -> None:
        upper, lower = split_lids(self.points, lid_margin(self.head, "Left"))
        upper, lower = (
            ids if self.points[ids[0], 0] < self.points[ids[-1], 0] else ids[::-1] for ids in (upper, lower)
        )
        self.found[[42, 45]] = upper[0], upper[-1]
        self.found[[43, 44]] = self._along(upper, [0.35, 0.68])
        self.found[[47, 46]] = self._along(lower, [0.35, 0.68])
        self._mirror([39, 38, 37, 36, 41, 40], [42, 43, 44, 45, 46, 47])

    def _nose(self) -> None:
        y, z = self.points[:, 1], self.points[:, 2]
        tip = int(self.middle[z[self.middle].argmax()])
        bridge = self.middle[(y[self.middle] >= y[tip]) & (y[self.middle] < 0.06)]
        nasion = bridge[np.abs(y[bridge] - self.eye_y).argmin()]
        heights = np.linspace(y[nasion], y[tip], 4)
        self.found[27:31] = [int(bridge[np.abs(y[bridge] - height).argmin()]) for height in heights]
        self.found[30] = tip
        self.found[33] = self._subnasale(tip)
        self.found[35] = self._nose_wing(y[self.found[33]])
        between = self.points[self.found[[33, 35]]].mean(0) + [0, -0.001, 0.004]
        self.found[34] = self._nearest(np.flatnonzero(self.masks["face"]), between)
        self._mirror([31, 32], [35, 34])

    def _subnasale(self, tip: int) -> int:
        """Down the midline from the tip: where the surface, having run back, turns down to the lip."""
        y = self.points[:, 1]
        below = self.middle[(y[self.middle] < y[tip]) & (y[self.middle] > y[self.found[51]])]
        below = below[np.argsort(-y[below])]
        below = below[self.normals[below, 2] > -0.3]
        steps = np.abs(np.diff(self.points[below], axis=0))
        runs_back = steps[:, 2] > steps[:, 1]
        start = int(np.argmax(runs_back))
        return int(below[start + int(np.argmin(runs_back[start:]))])

    def _nose_wing(self, base_y: float) -> int:
        """The frontal vertex at the nose's base which the flaring target moves most to the side."""
        sideways = np.abs(self.head.displacement(self.source.target("nose/nose-flaring-incr"))[:, 0])
        x, y = self.points[:, 0], self.points[:, 1]
        return int(np.where((x >= 0.004) & (y <= base_y + 0.006) & (self.normals[:, 2] >= 0.1), sideways, 0).argmax())

    def _brows(self) -> None:
        """On the frontal plane over the left eye, inner to outer, 13 mm from the middle to past the eye's corner."""
        y = self.points[:, 1]
        band = np.flatnonzero(self.masks["face"] & (y > self.eye_y + 0.01) & (y < self.eye_y + 0.035))
        rise = 0.0165 + np.array([-0.001, 0.003, 0.004, 0.002, -0.004])
        across = np.linspace(0.013, self.points[self.found[45], 0] + 0.004, 5)
        for k in range(5):
            self.found[22 + k] = self._nearest(band, np.array([across[k], self.eye_y + rise[k]]), slice(2))
        self._mirror([21, 20, 19, 18, 17], [22, 23, 24, 25, 26])

    def _jaw_line(self) -> None:
        """Frontal silhouette without ears and neck, on rays from the nose tip: ear height to chin."""
        points, normals, masks = self.points, self.normals, self.masks
        lip_y = points[self.found[57], 1]
        chin = self.middle[points[self.middle, 1] < lip_y]
        chin = chin[(normals[chin, 2] > 0.45) & (points[chin, 2] > 0.03)]
        self.found[8] = chin = int(chin[points[chin, 1].argmin()])
        outer = self.head.is_part("skin") & ~self.head.socket & ~self.head.mouth_bag
        outer &= ~masks["neck"] & ~masks["left_ear"] & ~masks["right_ear"]
        front = (points[:, 0] > 0) & (points[:, 2] > -0.03) & (normals[:, 2] > -0.05)
        front &= (points[:, 1] > points[chin, 1] - 5e-4) & ((points[:, 2] > 0) | (points[:, 1] > lip_y - 0.005))
        candidates = np.flatnonzero(outer & front)
        centre = np.array([0, points[self.found[30], 1]])
        planar = points[candidates][:, :2] - centre
        start = np.arctan2(self.eye_y - 0.004 - centre[1], points[candidates, 0].max())
        for k, angle in zip(range(16, 8, -1), np.linspace(start, -np.pi / 2, 9)):
            ray = np.array([np.cos(angle), np.sin(angle)])
            off_ray = np.abs(planar @ [-ray[1], ray[0]])
            self.found[k] = candidates[(planar @ ray - 2.5 * off_ray).argmax()]
        self._mirror(list(range(8)), list(range(16, 8, -1)))
