"""Vertex colours (sRGB, 0..1): clay skin with lips, brows, lid lines, eyes, teeth, tongue and a dark mouth."""

from __future__ import annotations

import numpy as np

from setup.open_head.assembly import HeadMesh
from setup.open_head.lips import Lips
from setup.open_head.parts import EYE_SECTORS
from setup.open_head.rig import Rig, lid_margin, split_lids
from setup.open_head.shapes import mix, near
from setup.open_head.teeth import N_TEETH, ROWS, SAMPLES

SKIN, FLUSH, LIP = (0.80, 0.64, 0.55), (0.78, 0.50, 0.43), (0.65, 0.40, 0.36)
BROW, LID_LINE = (0.30, 0.22, 0.17), (0.28, 0.19, 0.16)
MOUTH, THROAT, SOCKET = (0.42, 0.16, 0.15), (0.07, 0.02, 0.02), (0.62, 0.40, 0.36)
TONGUE_TIP, TONGUE_BACK = (0.54, 0.26, 0.25), (0.16, 0.05, 0.05)
GUM, TOOTH, TOOTH_BACK = (0.60, 0.31, 0.30), (0.91, 0.88, 0.81), (0.42, 0.36, 0.31)
PUPIL, IRIS, LIMBUS = (0.02, 0.02, 0.02), (0.33, 0.22, 0.13), (0.22, 0.17, 0.13)
WHITE, VEINS = (0.93, 0.92, 0.90), (0.80, 0.66, 0.62)
# Share of lip colour by loop, from the border inwards.
LIP_SHARE = {492: 0.2, 496: 0.6, 495: 0.85, 513: 1.0, 494: 1.0, 493: 1.0, 523: 1.0}
# Share of mouth colour behind the contact loop.
INNER_SHARE = {540: 0.25, 557: 0.5, 574: 0.75, 591: 0.9}


def vertex_colours(
    head: HeadMesh, rig: Rig, lips: Lips, masks: dict[str, np.ndarray], landmarks: np.ndarray
) -> np.ndarray:
    """(V, 3) colours, symmetric."""
    colours = np.tile(np.array(SKIN), (len(rig.template), 1))
    _flush(colours, rig.template, masks, landmarks)
    _brows(colours, rig.template, masks, landmarks)
    _lids(colours, head, rig.template)
    _mouth(colours, head, rig.template, masks)
    for loop, share in LIP_SHARE.items():
        _blend(colours, lips.loops[loop], LIP, share)
    for loop, share in INNER_SHARE.items():
        colours[lips.loops[loop]] = mix(LIP, MOUTH, share)
    for name in ("left_eyeball", "right_eyeball"):
        colours[head.part == name] = _eye()
    for name in ("upper_teeth", "lower_teeth"):
        colours[head.part == name] = _teeth(rig.template[head.part == name])
    return np.clip((colours + colours[head.mirror]) / 2, 0, 1)


def _blend(colours: np.ndarray, where: np.ndarray, colour: tuple, share: float | np.ndarray) -> None:
    colours[where] = mix(colours[where], colour, share)


def _flush(colours: np.ndarray, points: np.ndarray, masks: dict[str, np.ndarray], landmarks: np.ndarray) -> None:
    """Redder cheeks, nose tip and ears; a little less red on the scalp."""
    cheek = points[landmarks[[45, 54]]].mean(0) + [0.004, 0.0, 0.004]
    share = np.maximum(near(points, cheek, 0.016), near(points, cheek * [-1, 1, 1], 0.016))
    share = np.maximum(share, 0.9 * near(points, points[landmarks[30]], 0.010))
    share = np.maximum(share, 0.6 * (masks["left_ear"] | masks["right_ear"]))
    _blend(colours, np.arange(len(points)), FLUSH, 0.35 * share)


def _brows(colours: np.ndarray, points: np.ndarray, masks: dict[str, np.ndarray], landmarks: np.ndarray) -> None:
    """A soft dark arch on either side: a parabola through the brow's landmarks, fading at its ends."""
    face = np.flatnonzero(masks["face"] & (points[:, 2] > 0))
    brow = points[landmarks[22:27]]
    arch = np.polyfit(brow[:, 0], brow[:, 1], 2)
    x = np.abs(points[face, 0])
    middle, half = (brow[0, 0] + brow[-1, 0]) / 2, (brow[-1, 0] - brow[0, 0]) / 2
    ends = np.clip((half + 0.004 - np.abs(x - middle)) / 0.008, 0, 1)
    off = points[face, 1] - np.polyval(arch, x)
    _blend(colours, face, BROW, 0.75 * ends * np.exp(-0.5 * (off / 0.0032) ** 2))


def _lids(colours: np.ndarray, head: HeadMesh, points: np.ndarray) -> None:
    """Moist pink behind the lids; a dark line on the upper lid's margin in place of lashes."""
    _blend(colours, np.flatnonzero(head.socket), SOCKET, 0.8)
    for side in ("Left", "Right"):
        upper, lower = split_lids(points, lid_margin(head, side))
        _blend(colours, lower, SOCKET, 0.5)
        _blend(colours, upper, LID_LINE, 0.85)


def _mouth(colours: np.ndarray, head: HeadMesh, points: np.ndarray, masks: dict[str, np.ndarray]) -> None:
    """Cheek pockets and palate darken quickly with depth; the tongue towards its root."""
    front = points[masks["lips"], 2].min()
    bag = np.flatnonzero(head.mouth_bag)
    colours[bag] = mix(MOUTH, THROAT, np.clip((front - points[bag, 2]) / 0.02, 0, 1))
    tongue = np.flatnonzero(masks["tongue"])
    back = (points[tongue, 2].max() - points[tongue, 2]) / np.ptp(points[tongue, 2])
    colours[tongue] = mix(TONGUE_TIP, TONGUE_BACK, np.clip((back - 0.15) / 0.6, 0, 1))


def _eye() -> np.ndarray:
    """Colours by ring from the gaze pole: pupil, iris, limbus, white, then reddish where lids cover it."""
    rings = [PUPIL, IRIS, LIMBUS, WHITE, WHITE, mix(WHITE, VEINS, 0.5), *[VEINS] * 7]
    return np.concatenate([[PUPIL], np.repeat(np.array(rings), EYE_SECTORS, axis=0), [VEINS]])


def _teeth(points: np.ndarray) -> np.ndarray:
    """Gums, teeth darker in the grooves, on the inside, and towards the molars where the mouth is in shadow."""
    n_columns = N_TEETH * len(SAMPLES) + 1
    groove = np.array([j % len(SAMPLES) == 0 for j in range(n_columns)], float)
    rows = np.stack([GUM, TOOTH, TOOTH, TOOTH, mix(TOOTH, TOOTH_BACK, 0.5), TOOTH_BACK])
    band = np.repeat(rows[:, None], n_columns, axis=1)
    band[1:5] *= (1 - 0.22 * groove)[:, None]
    band[1] = mix(band[1], GUM, 0.25)
    depth = np.clip((points[:, 2].max() - points[:, 2]) / 0.035, 0, 1)
    return band.reshape(len(ROWS) * n_columns, 3) * (1 - 0.6 * depth)[:, None]
