"""The measured vertices: lips, upper face, the two of the mouth opening, the lids.

They come from the head file. A plain FLAME file has no landmarks, and its regions are in FLAME_masks.pkl (beside the
model, or given). Missing ones are derived as described below, and `Regions.sources` says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models.heads.mouth import LOWER, UPPER
from utils.errors import UserError
from utils.heads.flame_pickle import load_mask_pickle
from utils.heads.head_file import HeadFile, as_mask
from utils.heads.joints import JAW

LIPS, UPPER_FACE = "lips", "upper_face"
# FLAME's masks have no upper face: the regions of the forehead, brows, lids and eye sockets replace it.
_UPPER_FACE_PARTS = ("eye_region", "forehead")
_MID = 2e-3  # metres from the mid-plane within which a lip vertex can be the middle of a lip
# Of the 68 landmarks (iBUG): upper and lower lid of the right and of the left eye.
_LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))
_BLINKS = ("eyeBlinkLeft", "eyeBlinkRight")


@dataclass(frozen=True)
class Regions:
    """Vertex numbers of a head."""

    lips: np.ndarray  # (L,)
    upper_face: np.ndarray  # (U,)
    upper_lip: int
    lower_lip: int
    lids: np.ndarray | None  # (n, 2) upper and lower; None if unknown
    blink_units: tuple[int, ...]  # expressions that close the lids; empty if the head does not name any
    sources: dict[str, str]  # region -> its source


def with_masks(head: HeadFile, path: Path | None) -> HeadFile:
    """The head with the regions of a `FLAME_masks.pkl` added (read without executing anything).

    Raises:
        UserError: an unreadable file, or masks of another mesh.
    """
    if path is None:
        return head
    masks = {name: as_mask(ids, head.n_vertices, f"{path}: {name}") for name, ids in load_mask_pickle(path).items()}
    return replace(head, masks={**head.masks, **masks})


def find_regions(head: HeadFile) -> Regions:
    """The measured vertices of a head.

    Raises:
        UserError: no lip mask, or no upper face.
    """
    lips = np.flatnonzero(head.mask(LIPS))
    named = UPPER in head.landmarks and LOWER in head.landmarks
    pair = (head.landmarks[UPPER], head.landmarks[LOWER]) if named else middle_of_lips(head, lips)
    if UPPER_FACE in head.masks:
        upper_face, source = head.masks[UPPER_FACE], "mask upper_face"
    else:
        upper_face = np.any([head.mask(name) for name in _UPPER_FACE_PARTS], axis=0)
        source = "masks " + " + ".join(_UPPER_FACE_PARTS)
    names = head.exp_names or []
    blinks = tuple(names.index(unit) for unit in _BLINKS if unit in names)
    lids = None if head.lmk68 is None else head.lmk68[np.array(_LIDS)]
    sources = {
        "lips": f"mask {LIPS}, {len(lips)} vertices",
        "upper_face": f"{source}, {int(upper_face.sum())} vertices",
        "mouth_opening": f"vertices {pair[0]} and {pair[1]}, "
        + ("landmarks" if named else "derived from the lip mask"),
        "blinks": "expressions " + ", ".join(_BLINKS) if blinks else "none" if lids is None else "68 landmarks",
    }
    return Regions(lips, np.flatnonzero(upper_face), *pair, lids, blinks, sources)


def middle_of_lips(head: HeadFile, lips: np.ndarray) -> tuple[int, int]:
    """Inner edges of the lips at mid mouth, for a head without landmarks: (upper, lower) vertex.

    Of the lip vertices within 2 mm of the mid-plane, these are the lowest one that the jaw moves by less than half, and
    the highest one that it moves by more.

    Raises:
        UserError: the mask has no such vertices.
    """
    middle = lips[np.abs(head.v_template[lips, 0] - np.median(head.v_template[lips, 0])) < _MID]
    height, carried = head.v_template[middle, 1], head.weights[middle, JAW] > 0.5
    if carried.all() or not carried.any():
        raise UserError(f"{head.name}: mask {LIPS!r} has no upper and lower lip at mid mouth; use FLAME's masks")
    return int(middle[~carried][height[~carried].argmin()]), int(middle[carried][height[carried].argmax()])
