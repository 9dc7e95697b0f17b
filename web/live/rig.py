"""Frames of a session -> the numbers that a client wants, at its frame rate."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from models.generation.idle import Face
from models.heads.decode import decode
from models.heads.flame import Flame
from models.mixing.mixer import Mixer
from utils.coefs import N_EXP
from utils.exports.arkit import BLEND_SHAPES, track_angles
from utils.heads.head_file import HeadFile
from utils.heads.joints import JAW_OPEN_RADIANS
from utils.media.frame_writers import POSE_NAMES
from utils.motion_file import Motion
from utils.timebase import FPS
from web.live.protocol import Shown
from web.live.session import Frame

HEAD_NAMES = ("headX", "headY", "headZ", "headW")  # quaternion
EYE_NAMES = ("leftEyeYaw", "leftEyePitch", "rightEyeYaw", "rightEyePitch")  # radians


_JAW, _TONGUE = BLEND_SHAPES.index("jawOpen"), BLEND_SHAPES.index("tongueOut")


def quaternion(turn: np.ndarray) -> np.ndarray:
    """Axis-angle (3,) -> x, y, z, w; SciPy's takes ten times as long for a single one."""
    x, y, z = turn.tolist()
    angle = math.sqrt(x * x + y * y + z * z)
    share = math.sin(angle / 2) / angle if angle > 1e-9 else 0.5
    return np.array([share * x, share * y, share * z, math.cos(angle / 2)])


class ArkitRig:
    """ARKit's values of single faces of the open head, as `utils.exports.arkit` has them of motions."""

    def __init__(self, head: HeadFile) -> None:
        assert head.exp_names is not None, "the open head"
        column = {name: k for k, name in enumerate(head.exp_names)}
        self._columns = np.array([column.get(name, 0) for name in BLEND_SHAPES])
        self._known = np.array([name in column for name in BLEND_SHAPES], np.float32)
        still = Motion(np.zeros((len(BLEND_SHAPES), N_EXP), np.float32), np.zeros((len(BLEND_SHAPES), 6), np.float32))
        turns = track_angles(still, np.eye(len(BLEND_SHAPES), dtype=np.float32), head)  # of each shape at weight 1
        self._turns = turns[:, [3, 4, 6, 7]]

    def weights(self, face: Face) -> np.ndarray:
        """(52,) in 0..1, in the order of `BLEND_SHAPES`."""
        weights = face.exp.take(self._columns)
        weights *= self._known
        weights[_JAW], weights[_TONGUE] = face.pose[3] / JAW_OPEN_RADIANS, face.tongue
        return weights.clip(0, 1, out=weights)

    def eyes(self, weights: np.ndarray) -> np.ndarray:
        """(4,) radians, as `EYE_NAMES`."""
        return weights @ self._turns


def mixed(face: Face, mixer: Mixer) -> Face:
    """The face behind a session's mixer."""
    if mixer.rests:
        mixer.frame += 1
        return face
    tongue = np.array([[face.tongue, 0]], np.float32)
    motion = mixer.push(Motion(face.exp[None], face.pose[None], tongue=tongue))
    return Face(motion.exp[0], motion.pose[0], face.tongue if motion.tongue is None else float(motion.tongue[0, 0]))


class Output:
    """Turns one session's frames into what its client asked for."""

    def __init__(self, flame: Flame, shape: np.ndarray, what: str, fps: int, rig: ArkitRig) -> None:
        """what: arkit, coefficients or vertices; fps: frames per second that are sent; rig: of the flame's head."""
        self._flame, self._shape, self._what, self._fps = flame, shape, what, fps
        self._rig = rig if what == "arkit" else None
        self._last: Frame | None = None
        self.sent = 0

    @property
    def names(self) -> list[str]:
        """Of the numbers of a packed frame; empty for vertices, whose order is that of the head's glb."""
        if self._what == "arkit":
            return [*BLEND_SHAPES, *HEAD_NAMES, *EYE_NAMES]
        return [*(self._flame.head.exp_names or ()), *POSE_NAMES] if self._what == "coefficients" else []

    def send(self, frame: Frame) -> Iterator[Shown]:
        """What is sent once this frame is there: at 25 fps the frame, else those between the last one and this one."""
        last, self._last = self._last or frame, frame
        while self.sent * FPS <= frame.number * self._fps:
            time = self.sent / self._fps
            share = 1.0 if last is frame else 1 - (frame.time - time) * FPS
            face = frame.face if share > 0.999 else last.face.towards(frame.face, share, share)
            audio = None if frame.audio is None else max(0.0, frame.audio - (frame.time - time))
            yield Shown(self.sent, time, audio, frame.state, self._values(face))
            self.sent += 1

    def _values(self, face: Face) -> dict[str, np.ndarray]:
        if self._rig is not None:
            weights = self._rig.weights(face)
            return {"arkit": weights, "head": quaternion(face.pose[:3]), "eyes": self._rig.eyes(weights)}
        if self._what == "coefficients":
            return {"exp": face.exp, "pose": face.pose}
        vertices = decode(self._flame, Motion(face.exp[None], face.pose[None]), self._shape)
        return {"vertices": vertices.cpu().numpy().ravel()}
