"""The concentric edge loops around the mouth: the gap between the lips, and closing it at rest."""

from __future__ import annotations

import numpy as np

from setup.open_head.assembly import LIP_CONTACT, HeadMesh
from setup.open_head.shapes import loop_halves

# Lip loops (by their midline base vertex, lower lip) and how much of the closing motion each gets.
CLOSING = {
    523: 1.0, 493: 1.0, 540: 1.0, 494: 0.9, 557: 0.9, 513: 0.75, 574: 0.75, 495: 0.55,
    591: 0.5, 496: 0.38, 608: 0.3, 492: 0.25, 5337: 0.12, 625: 0.12, 491: 0.06,
}  # fmt: skip
RED_LOOPS = (492, 496, 495, 513, 494, 493, 523, 540, 557, 574, 591)  # the visible red of the lips and its inside
OUTER_LOOP = 496
UPPER_MIDDLE = 19  # index of the upper midline vertex in every loop; the lower one is index 0


class Lips:
    """Lip loops of an assembled head. Points may be in any unit; `target` gaps are in theirs."""

    def __init__(self, head: HeadMesh) -> None:
        loops = set(CLOSING) | set(RED_LOOPS)
        self.loops = {k: head.ids(head.topology.lip_loop(k)) for k in sorted(loops)}

    def split(self, points: np.ndarray, loop: int = LIP_CONTACT) -> tuple[np.ndarray, np.ndarray]:
        """Positions within a loop of its upper and its lower half, corners in both."""
        direct, around = loop_halves(points[self.loops[loop], 0])
        return (direct, around) if UPPER_MIDDLE in direct else (around, direct)

    def halves(self, points: np.ndarray, loop: int = LIP_CONTACT) -> tuple[np.ndarray, np.ndarray]:
        """Vertices of the upper and the lower half of a loop, from -x to +x."""
        halves = (self.loops[loop][half] for half in self.split(points, loop))
        upper, lower = (ids if points[ids[0], 0] < points[ids[-1], 0] else ids[::-1] for ids in halves)
        return upper, lower

    def gap(self, points: np.ndarray, x: np.ndarray | None = None) -> np.ndarray:
        """Height of the upper over the lower contact line at positions x (default: 21 over 80 % of the width)."""
        upper, lower = self.halves(points)
        if x is None:
            x = np.linspace(points[upper, 0].min() * 0.8, points[upper, 0].max() * 0.8, 21)
        return height(points, upper, x) - height(points, lower, x)

    def close(self, points: np.ndarray, target: float = -0.001, fade: float = 0.04) -> np.ndarray:
        """Move the lips so that the contact lines meet with gap `target`, fading out over the loops and corners."""
        contact = points[self.loops[LIP_CONTACT]]
        left, right = contact[:, 0].min(), contact[:, 0].max()
        closed = points.copy()
        for half, direction in zip(self.split(points), (-1, 1)):
            inner = half[1:-1]
            x = contact[inner, 0]
            # Fade in from the corners, so that the corners themselves stay.
            ramp = np.clip(np.minimum(x - left, right - x) / fade, 0, 1)
            lift = direction * 0.5 * (self.gap(points, x) - target) * (0.35 + 0.65 * ramp)
            for loop, share in CLOSING.items():
                closed[self.loops[loop][inner], 1] += share * lift
        return closed


def height(points: np.ndarray, ids: np.ndarray, x: np.ndarray) -> np.ndarray:
    """y of the polyline through the vertices, interpolated at x."""
    ordered = ids[np.argsort(points[ids, 0])]
    return np.interp(x, points[ordered, 0], points[ordered, 1])
