"""Named vertex regions of the open head, as boolean masks."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from setup.open_head.assembly import HeadMesh
from setup.open_head.lips import RED_LOOPS, Lips
from setup.open_head.parts import LID_LOOP, NECK_CUT
from setup.open_head.rig import LID_MARGIN, NECK_LOOP, Rig
from setup.open_head.source import Source

# Loops around the left eye from the lid margin outwards.
LID_LOOPS = (LID_MARGIN, LID_LOOP, 6787, 6789, 11515, 6874, 6930, 6947)
NOSE_TARGETS = ("nose/nose-scale-vert-incr", "nose/nose-scale-horiz-incr", "nose/nose-volume-incr")
EAR_TARGETS = ("ears/l-ear-wing-incr",)
BROW_LINE, EYE_LINE = 0.052, 0.0  # metres: lower edge of the forehead; the upper face lies above the second


def build_masks(source: Source, head: HeadMesh, lips: Lips, rig: Rig) -> dict[str, np.ndarray]:
    """Region name -> (V,) bool."""
    skin = head.is_part("skin")
    adjacency = head.adjacency()
    masks = {
        "left_eyeball": head.is_part("left_eyeball"),
        "right_eyeball": head.is_part("right_eyeball"),
        "teeth": head.is_part("upper_teeth", "lower_teeth"),
        "tongue": head.is_part("tongue"),
        "lips": np.isin(np.arange(len(skin)), np.concatenate([lips.loops[k] for k in RED_LOOPS])),
        "neck": _below(head, adjacency),
        "boundary": grow(_loop_mask(head, head.topology.neck_loop(NECK_CUT)), adjacency, 2),
    }
    masks["mouth_interior"] = (head.mouth_bag & ~masks["lips"]) | masks["teeth"] | masks["tongue"]
    masks["left_ear"] = grow(_moved_by(source, head, EAR_TARGETS, 0.1), adjacency, 1) & skin & (rig.template[:, 0] > 0)
    masks["nose"] = _moved_by(source, head, NOSE_TARGETS, 0.3) & skin & ~masks["lips"]
    masks["left_eye_region"] = _left_eye_region(head, adjacency)
    for name in ("ear", "eye_region"):
        masks[f"right_{name}"] = masks[f"left_{name}"][head.mirror]
    masks["eye_region"] = masks["left_eye_region"] | masks["right_eye_region"]
    return masks | _face_regions(head, rig, masks)


def _face_regions(head: HeadMesh, rig: Rig, masks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Face, scalp, forehead, upper and lower face, surroundings of the mouth."""
    y, z = rig.template[:, 1], rig.template[:, 2]
    hidden = head.socket | (head.mouth_bag & ~masks["lips"])
    outside = head.is_part("skin") & ~masks["neck"] & ~masks["left_ear"] & ~masks["right_ear"] & ~hidden
    # The hairline leans back below eye height and reaches 98 mm up.
    face = outside & (z > -0.035 + np.clip((y - 0.06) * 1.1, 0, 1)) & (y <= 0.098)
    mouth_motion = _largest_motion(rig, ("mouth", "jaw"))
    eye_motion = _largest_motion(rig, ("brow", "eye"))
    # The upper face is what eyes and brows move more than the mouth does, and the jaw not at all.
    calm = (rig.jaw_weight < 0.02) & ((eye_motion > mouth_motion) | (mouth_motion < 5e-4))
    upper = (face | masks["eye_region"]) & calm & (y > EYE_LINE)
    lip_centre = rig.template[masks["lips"]].mean(0)
    return {
        "face": face,
        "scalp": outside & ~face & (y > -0.05),
        "forehead": face & (y > BROW_LINE),
        "upper_face": upper,
        "lower_face": face & ~upper,
        "mouth_region": face & (np.linalg.norm(rig.template - lip_centre, axis=1) < 0.045),
    }


def grow(mask: np.ndarray, adjacency: sp.csr_matrix, rings: int) -> np.ndarray:
    """Mask (V,) widened by whole rings of neighbours."""
    for _ in range(rings):
        mask = mask | (adjacency @ mask.astype(float) > 0)
    return mask


def _loop_mask(head: HeadMesh, base_ids: list[int]) -> np.ndarray:
    mask = np.zeros(len(head.rest), bool)
    mask[head.ids(base_ids)] = True
    return mask


def _moved_by(source: Source, head: HeadMesh, targets: tuple[str, ...], share: float) -> np.ndarray:
    """Vertices that any of the targets moves by more than a share of the largest motion."""
    motion = np.max([np.linalg.norm(head.displacement(source.target(t)), axis=1) for t in targets], axis=0)
    return motion > share * motion.max()


def _largest_motion(rig: Rig, prefixes: tuple[str, ...]) -> np.ndarray:
    chosen = [i for i, name in enumerate(rig.names) if name.startswith(prefixes)]
    return np.linalg.norm(rig.expressions[:, :, chosen], axis=1).max(axis=1)


def _below(head: HeadMesh, adjacency: sp.csr_matrix) -> np.ndarray:
    """Everything between the neck joint's loop and the cut."""
    barrier = _loop_mask(head, head.topology.neck_loop(NECK_LOOP))
    seed = _loop_mask(head, [NECK_CUT])
    while True:
        grown = grow(seed, adjacency, 1) & ~barrier
        if (grown == seed).all():
            return seed
        seed = grown


def _left_eye_region(head: HeadMesh, adjacency: sp.csr_matrix) -> np.ndarray:
    region = head.socket & (head.rest[:, 0] > 0)
    for loop in LID_LOOPS:
        region |= _loop_mask(head, head.topology.lid_loop(loop))
    return grow(region, adjacency, 2) & head.is_part("skin")
