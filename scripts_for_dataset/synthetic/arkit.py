"""The 50 expression units of the open head (ARKit names, alphabetical) and how motion is written into them."""

from __future__ import annotations

import numpy as np

from utils.coefs import N_EXP, N_POSE

_SIDED = {
    "browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp",
    "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown", "mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch",
    "mouthUpperUp", "noseSneer",
}  # fmt: skip
_SINGLE = {
    "browInnerUp", "cheekPuff", "jawForward", "jawLeft", "jawRight", "mouthClose", "mouthFunnel", "mouthLeft",
    "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
}  # fmt: skip
EXP_NAMES: tuple[str, ...] = tuple(sorted(_SINGLE | {f"{n}{side}" for n in _SIDED for side in ("Left", "Right")}))
_INDEX = {name: i for i, name in enumerate(EXP_NAMES)}


def unit(name: str) -> int:
    """Column of an expression unit; KeyError for an unknown name (a programming mistake)."""
    return _INDEX[name]


def neutral(n_frames: int) -> dict[str, np.ndarray]:
    """A face at rest: {"exp": (n, 50), "pose": (n, 6)} of zeros."""
    return {"exp": np.zeros((n_frames, N_EXP), np.float32), "pose": np.zeros((n_frames, N_POSE), np.float32)}


def add(exp: np.ndarray, name: str, value: np.ndarray | float, asymmetry: float = 0.0) -> None:
    """Add `value` ((n,) or scalar, ARKit units) to unit `name` of exp (n, 50) in place.

    Args:
        name: a full name ("jawForward") or one without its side ("mouthSmile"), which fills both sides.
        asymmetry: -1 to 1; the left side gets value * (1 + asymmetry), the right side value * (1 - asymmetry).
    """
    if name in _INDEX:
        exp[:, _INDEX[name]] += value
        return
    exp[:, _INDEX[f"{name}Left"]] += value * (1 + asymmetry)
    exp[:, _INDEX[f"{name}Right"]] += value * (1 - asymmetry)
