"""The 46 poses of older Audio2Face exports, which are FACS action units, as ARKit's blend shapes.

Newer exports name ARKit's shapes. NVIDIA publishes no table of both; a pose becomes the shape of the same movement.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_SIDED = {
    "browlower": "browDown", "outerbrowraiser": "browOuterUp", "eyesclose": "eyeBlink", "eyesupperlidraiser": "eyeWide",
    "squint": "eyeSquint", "cheekraiser": "cheekSquint", "nosewrinkler": "noseSneer", "dimpler": "mouthDimple",
    "dimple": "mouthDimple", "lipcornerpuller": "mouthSmile", "lipcornerdepressor": "mouthFrown",
    "lipstretcher": "mouthStretch", "upperlipraiser": "mouthUpperUp", "lowerlipdepressor": "mouthLowerDown",
}  # fmt: skip
_WHOLE = {
    "eyeslookleft": ("eyeLookOutLeft", "eyeLookInRight"), "eyeslookright": ("eyeLookInLeft", "eyeLookOutRight"),
    "eyeslookup": ("eyeLookUpLeft", "eyeLookUpRight"), "eyeslookdown": ("eyeLookDownLeft", "eyeLookDownRight"),
    "jawdrop": ("jawOpen",), "jawdropliptowards": ("jawOpen", "mouthClose"), "jawthrust": ("jawForward",),
    "jawslideleft": ("jawLeft",), "jawslideright": ("jawRight",), "mouthslideleft": ("mouthLeft",),
    "mouthslideright": ("mouthRight",), "chinraiser": ("mouthShrugLower",), "pucker": ("mouthPucker",),
    "lippressor": ("mouthPressLeft", "mouthPressRight"), "funneler": ("mouthFunnel",),
    "lipsuck": ("mouthRollLower", "mouthRollUpper"),
}  # fmt: skip
_HALVES = {"innerbrowraiser": "browInnerUp", "cheekpuff": "cheekPuff"}  # one shape for both sides
POSES: dict[str, tuple[tuple[str, float], ...]] = {
    **{name: tuple((shape, 1.0) for shape in shapes) for name, shapes in _WHOLE.items()},
    **{
        f"{name}{side[0].lower()}": ((shape + side, 1.0),)
        for name, shape in _SIDED.items()
        for side in ("Left", "Right")
    },
    **{name + side: ((shape, 0.5),) for name, shape in _HALVES.items() for side in "lr"},
}


def shapes_of_poses(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns (T,) by the lower-case name of an ARKit shape, from those named after poses; {} without any."""
    found: dict[str, np.ndarray] = {}
    for name, values in columns.items():
        for shape, gain in POSES.get(name.rpartition(".")[2].lower(), ()) if values.ndim == 1 else ():
            found[shape.lower()] = found.get(shape.lower(), 0.0) + gain * values
    return found
