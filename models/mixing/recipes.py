"""Recipes of units: what an emotion, or a named offset, adds to a face of the open head.

A recipe is {unit: amount at intensity 1}; a name without its side stands for both sides. To add an emotion: a row of
`EMOTIONS`, and its picture (`python -m benchmarks.figures.emotions`). The amounts follow the action units that Ekman
and Friesen (Facial Action Coding System, 1978) name for each emotion, set by eye on the open head. Speech keeps the jaw
and the lips: an emotion owns the brows, the lids, the cheeks, the nose and the corners of the mouth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Recipe = Mapping[str, float]

EMOTIONS: dict[str, Recipe] = {
    "happy": {
        "mouthSmile": 0.62, "mouthDimple": 0.15, "cheekSquint": 0.35, "eyeSquint": 0.3, "browOuterUp": 0.15,
        "browInnerUp": 0.1,
    },
    "sad": {
        "browInnerUp": 1, "browDown": 0.15, "eyeBlink": 0.1, "eyeSquint": 0.15, "eyeLookDown": 0.25, "mouthFrown": 0.75,
        "mouthShrugLower": 0.3,
    },
    "angry": {"browDown": 1, "eyeSquint": 0.6, "noseSneer": 0.5, "mouthFrown": 0.35, "mouthStretch": 0.15},
    "afraid": {
        "browInnerUp": 1, "browOuterUp": 0.4, "browDown": 0.35, "eyeWide": 1, "mouthStretch": 0.6, "mouthFrown": 0.2,
    },
    "surprised": {"browInnerUp": 0.9, "browOuterUp": 1, "eyeWide": 0.9, "mouthFunnel": 0.15},
    "disgusted": {
        "noseSneer": 1, "browDown": 0.6, "cheekSquint": 0.25, "eyeSquint": 0.55, "mouthUpperUp": 0.25,
        "mouthFrown": 0.45, "mouthShrugLower": 0.3,
    },
    "neutral": {},
}  # fmt: skip
CALM = 0.7  # the share of these that "neutral" takes away
EXPRESSIVE = ("brow", "eyeSquint", "eyeWide", "cheekSquint", "noseSneer", "mouthSmile", "mouthFrown", "mouthDimple",
              "mouthStretch")  # fmt: skip

# What a named offset adds when it is positive, and when it is negative.
OFFSETS: dict[str, tuple[Recipe, Recipe]] = {
    "brows": ({"browInnerUp": 1, "browOuterUp": 1}, {"browDown": 1}),
    "lids": ({"eyeWide": 1}, {"eyeBlink": 1}),
    "gaze_up": ({"eyeLookUp": 1}, {"eyeLookDown": 1}),
    "gaze_left": ({"eyeLookOutLeft": 1, "eyeLookInRight": 1}, {"eyeLookInLeft": 1, "eyeLookOutRight": 1}),
    "smile": ({"mouthSmile": 1, "cheekSquint": 0.5}, {"mouthFrown": 1}),
}
HEAD_OFFSETS = ("head_pitch", "head_yaw", "head_roll")  # degrees: nose down, to the person's left, to their right
JAW_OFFSET = "mouth"  # opens the jaw: 1 is ARKit's jawOpen
# Groups, and how the names of their units begin; a unit is in the first group that fits. The mouth has the jaw as well.
GROUPS: dict[str, tuple[str, ...]] = {
    "brows": ("brow",),
    "lids": ("eyeBlink", "eyeSquint", "eyeWide"),
    "gaze": ("eyeLook",),
    "smile": ("mouthSmile", "mouthDimple", "cheekSquint"),
    "mouth": ("mouth", "jaw", "cheekPuff", "noseSneer"),
    "head": (),  # the head's rotation
    "tongue": (),  # which stands beside the units
}


def columns(names: Sequence[str], starts: tuple[str, ...]) -> list[int]:
    """Columns of the units whose names begin like one of these."""
    return [k for k, name in enumerate(names) if name.startswith(starts)]


def group_columns(names: Sequence[str]) -> dict[str, list[int]]:
    """Columns of every group."""
    found: dict[str, list[int]] = {group: [] for group in GROUPS}
    for k, name in enumerate(names):
        found[next(group for group, starts in GROUPS.items() if name.startswith(starts))].append(k)
    return found


def weights(names: Sequence[str], recipe: Recipe) -> np.ndarray:
    """(E,) float64, the recipe's amount of every unit."""
    return np.array(
        [recipe.get(name, recipe.get(name.removesuffix("Left").removesuffix("Right"), 0)) for name in names]
    )
