"""ARKit face tracking values: 52 blend shape weights and 9 angles per frame, as Apple's face anchor and the Live Link
Face app have them. For the open head, whose expressions are these blend shapes, they are read off the motion.

Signs. ARKit's face frame is FLAME's: x to the person's left, y up, z out of the face. Yaw, pitch and roll are the
rotations about +y, +x and +z, R = Ry(yaw) Rx(pitch) Rz(roll): positive yaw turns the face to the person's left,
positive pitch lowers the nose, positive roll leans the head to the person's right. Eyes likewise, against the head.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from utils.errors import UserError
from utils.heads.head_file import HeadFile
from utils.heads.joints import JAW_OPEN_RADIANS
from utils.motion_file import OPEN_HEAD, UNKNOWN_FLAME, Motion
from utils.timebase import FPS

log = logging.getLogger(__name__)

# The order of the Live Link Face app's csv files, in ARKit's spelling.
BLEND_SHAPES = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight", "jawForward", "jawRight", "jawLeft", "jawOpen", "mouthClose", "mouthFunnel",
    "mouthPucker", "mouthRight", "mouthLeft", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft",
    "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft", "browDownRight", "browInnerUp",
    "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft",
    "noseSneerRight", "tongueOut",
)  # fmt: skip
ANGLES = ("headYaw", "headPitch", "headRoll", "leftEyeYaw", "leftEyePitch", "leftEyeRoll",
          "rightEyeYaw", "rightEyePitch", "rightEyeRoll")  # fmt: skip
_EYES = (("Left", "left_eyeball"), ("Right", "right_eyeball"))
_GAZE = ("eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp")


def arkit_name(name: str) -> str | None:
    """The ARKit blend shape that a column or morph target is named after, or None: `mouthSmile_R`, `Face.JawOpen`."""
    plain = "".join(filter(str.isalnum, name.rpartition(".")[2].lower()))
    if plain in _BY_NAME:
        return _BY_NAME[plain]
    side = {"l": "left", "r": "right"}.get(plain[-1:], "")
    return _BY_NAME.get(plain[:-1] + side) if side else None


def other_side(name: str) -> str:
    """The blend shape on the face's other side; a shape of both sides stays itself."""
    for side, other in (("Left", "Right"), ("Right", "Left")):
        if name.endswith(side):
            return name.removesuffix(side) + other
    return name


_BY_NAME = {shape.lower(): shape for shape in BLEND_SHAPES}


@dataclass(frozen=True)
class ArkitTrack:
    """Values of one sequence."""

    weights: np.ndarray  # (T, 52) float32 in 0..1, in the order of `BLEND_SHAPES`
    angles: np.ndarray  # (T, 9) float32 radians, in the order of `ANGLES`
    fps: float = FPS
    recorded: np.ndarray | None = None  # (T,) seconds after the first frame, where frames are not evenly spaced

    @property
    def times(self) -> np.ndarray:
        """(T,) float32 seconds."""
        even = np.arange(len(self)) / self.fps
        return (even if self.recorded is None else self.recorded).astype(np.float32)

    def __len__(self) -> int:
        return len(self.weights)

    def column(self, name: str) -> np.ndarray:
        """(T,) of a blend shape or an angle, by its ARKit name."""
        if name in ANGLES:
            return self.angles[:, ANGLES.index(name)]
        return self.weights[:, BLEND_SHAPES.index(name)]


def has_arkit_expressions(head: HeadFile) -> bool:
    """Whether the head's expressions are the ARKit blend shapes (without jawOpen and tongueOut)."""
    return head.exp_names is not None and set(head.exp_names) == set(BLEND_SHAPES) - {"jawOpen", "tongueOut"}


def head_model_of(head: HeadFile) -> str:
    """The name of a head's coefficients in motion files."""
    return OPEN_HEAD if has_arkit_expressions(head) else UNKNOWN_FLAME


def warn_of_other_head(motion: Motion, head: HeadFile) -> None:
    """Warn if the motion belongs to another head model, on which its coefficients and its shape mean nothing."""
    if motion.head_model and (motion.head_model == OPEN_HEAD) != has_arkit_expressions(head):
        log.warning("%s holds coefficients of %s, but the head is %s: face and head shape will look wrong; give the "
                    "right --head", motion.source, motion.head_model, head.name)  # fmt: skip


def arkit_of_open_head(head: HeadFile, motion: Motion, fps: float = FPS) -> ArkitTrack:
    """ARKit values of a motion of the open head. Weights are clipped to 0..1, ARKit's range; tongueOut is 0
    unless driven.

    Raises:
        UserError: the head's expressions are not the ARKit blend shapes.
    """
    if head.exp_names is None or not has_arkit_expressions(head):
        raise UserError(f"{head.name}: its expressions are not the ARKit blend shapes; they must be fitted")
    columns = {name: motion.exp[:, k] for k, name in enumerate(head.exp_names)}
    columns["jawOpen"] = motion.pose[:, 3] / JAW_OPEN_RADIANS
    columns["tongueOut"] = np.zeros(len(motion), np.float32) if motion.tongue is None else motion.tongue[:, 0]
    weights = np.clip(np.stack([columns[name] for name in BLEND_SHAPES], axis=1), 0, 1).astype(np.float32)
    return ArkitTrack(weights, track_angles(motion, weights, head), fps)


def track_angles(motion: Motion, weights: np.ndarray, open_head: HeadFile) -> np.ndarray:
    """(T, 9) radians: the head's rotation; the eyes', as the open head turns them with eyeLook weights (T, 52)."""
    angles = np.zeros((len(motion), len(ANGLES)), np.float32)
    angles[:, :3] = yaw_pitch_roll(Rotation.from_rotvec(motion.pose[:, :3]))
    for i, (side, mask) in enumerate(_EYES):
        for unit in _GAZE:
            name = unit + side
            turn = gaze_angles(open_head, name, mask)
            angles[:, 3 + 3 * i : 6 + 3 * i] += weights[:, BLEND_SHAPES.index(name), None] * turn
    return angles


def yaw_pitch_roll(rotation: Rotation) -> np.ndarray:
    """(T, 3) radians with R = Ry(yaw) Rx(pitch) Rz(roll)."""
    return rotation.as_euler("YXZ").astype(np.float32)


def gaze_angles(open_head: HeadFile, name: str, eyeball: str) -> np.ndarray:
    """(3,) yaw, pitch, roll by which an eyeLook expression at weight 1 turns an eyeball (rigid fit)."""
    assert open_head.exp_names is not None  # the open head names all of them
    ball = open_head.v_template[open_head.mask(eyeball)].astype(np.float64)
    moved = ball + open_head.expdirs[open_head.mask(eyeball)][:, :, open_head.exp_names.index(name)]
    turn = Rotation.align_vectors(moved - moved.mean(0), ball - ball.mean(0))[0]
    return yaw_pitch_roll(turn)
