"""The mixer: changes a motion whole, or piece by piece with the same frames.

mixer = Mixer(MixerConfig(emotion=("happy=0.6",), gain=("head=0.7",), eye_contact=0.8))
for piece in stream:
    show(mixer.push(piece))
mixer.change(MixerConfig.of({"surprised": 1}))  # from the next piece on, gliding for 0.3 s
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import numpy as np
from scipy.signal import lfilter
from scipy.spatial.transform import Rotation

from models.mixing.config import MixerConfig, rest_value
from models.mixing.face import JAW, FaceUnits, Values
from models.mixing.recipes import HEAD_OFFSETS
from utils.errors import UserError
from utils.exports.arkit import has_arkit_expressions
from utils.heads.head_file import HeadFile, load_head_file
from utils.motion_file import Motion
from utils.timebase import FPS

GLIDE = 0.3  # seconds
HEAD = slice(0, 3)  # of a pose


class Mixer:
    """Changes one motion. The schedule's clock starts with its first frame."""

    def __init__(self, config: MixerConfig | None = None, head: HeadFile | None = None) -> None:
        """head: of the motion; None: the open head. A FLAME head has no units, so only its rotation can be changed.

        Raises:
            UserError: a name or a value that cannot be used, or one that means nothing on this head.
        """
        head = head or _open_head()
        self.head, self.frame = head, 0  # number of the next frame
        self._face = FaceUnits.of(head) if has_arkit_expressions(head) else None
        self._before: dict[str, float] = {}  # values at the last change
        self._changed: int | None = None  # frame of the last change
        self._states: dict[str, np.ndarray] = {}  # of the groups' filters
        self._use(config or MixerConfig())

    def fresh(self) -> Mixer:
        """A mixer of this configuration for another motion."""
        return Mixer(self.config, self.head)

    def change(self, config: MixerConfig) -> None:
        """Glide to another configuration; mirrored groups and smoothing change at once.

        Raises:
            UserError: see `__init__`; the mixer goes on as before.
        """
        before = {name: float(curve[0]) for name, curve in self._values(1).items()}
        self._use(config)
        self._before, self._changed = before, self.frame

    @property
    def rests(self) -> bool:
        """Whether `push` would change nothing, now and later."""
        moves = self._constants or self._curves or self._seconds or self.config.mirror
        return self._changed is None and not moves

    def push(self, motion: Motion) -> Motion:
        """The next frames, changed.

        Raises:
            UserError: coefficients of FLAME, whose face cannot be mixed.
        """
        values = self._values(len(motion))
        self.frame += len(motion)
        if not len(motion) or not (values or self._seconds or self.config.mirror):
            return motion
        if motion.is_flame:
            _check_head_only([*values, *self._groups()], motion.source)
        exp, pose = motion.exp.astype(np.float64), motion.pose.astype(np.float64)
        exp, pose = self._mirrored(exp, pose)
        for group in self._seconds.keys() - {"tongue"}:
            self._smooth(exp, pose, group)
        _move_head(pose, values)
        if self._face is not None and not motion.is_flame:
            self._face.mix(exp, pose, values)
        tongue = None if motion.tongue is None else self._tongue(motion.tongue, values)
        return replace(motion, exp=exp.astype(np.float32), pose=pose.astype(np.float32), tongue=tongue)

    def _use(self, config: MixerConfig) -> None:
        """Raises UserError, and changes nothing."""
        config.check()
        constants, curves, seconds = config.values(), config.curves(), config.seconds()
        if self._face is None:
            _check_head_only([*constants, *curves, *seconds, *config.mirror], self.head.name)
        self.config, self._constants, self._curves, self._seconds = config, constants, curves, seconds
        self._states = {group: state for group, state in self._states.items() if group in seconds}

    def _groups(self) -> list[str]:
        """Groups that are mirrored or smoothed."""
        return [*self.config.mirror, *self._seconds]

    def _values(self, n: int) -> dict[str, np.ndarray]:
        """Name -> (n,) values of the next frames."""
        frames = self.frame + np.arange(n)
        found = {name: np.full(n, value) for name, value in self._constants.items()}
        found |= {name: curve.at(frames / FPS) for name, curve in self._curves.items()}
        if self._changed is None:
            return found
        share = np.clip((frames - self._changed + 1) / (GLIDE * FPS), 0, 1)
        for name in {*self._before, *found}:
            old, new = (values.get(name, rest_value(name)) for values in (self._before, found))
            found[name] = old + share * (new - old)
        return found

    def _mirrored(self, exp: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        for group, part in (("head", HEAD), ("mouth", JAW)):
            if group in self.config.mirror:
                pose[:, part] *= (1, -1, -1)
        return (exp if self._face is None else self._face.mirror(exp, self.config.mirror)), pose

    def _tongue(self, tongue: np.ndarray, values: Values) -> np.ndarray:
        """(T, 2) float32, smoothed, times its gain."""
        if "tongue" in self._seconds:
            tongue = self._smoothed(tongue, "tongue")
        gain = values.get("gain.tongue", np.ones(len(tongue)))
        return np.clip(tongue * gain[:, None], 0, 1).astype(np.float32)

    def _smooth(self, exp: np.ndarray, pose: np.ndarray, group: str) -> None:
        """Smooth a group in place."""
        columns = [] if self._face is None else self._face.groups[group]
        part = {"head": HEAD, "mouth": JAW}.get(group, slice(0))
        track = self._smoothed(np.concatenate([exp[:, columns], pose[:, part]], axis=1), group)
        exp[:, columns], pose[:, part] = track[:, : len(columns)], track[:, len(columns) :]

    def _smoothed(self, track: np.ndarray, group: str) -> np.ndarray:
        """Exponential smoothing of a group's values (T, n); the state goes from piece to piece."""
        kept = math.exp(-1 / (self._seconds[group] * FPS))
        state = self._states.get(group, kept * track[:1])
        track, self._states[group] = lfilter([1 - kept], [1, -kept], track, axis=0, zi=state)
        return track


@functools.cache
def _open_head() -> HeadFile:
    return load_head_file()


def _check_head_only(names: list[str], source: str) -> None:
    """Raises UserError for a name that is not about the head's rotation."""
    allowed = {"head", "gain.head", *(f"offset.{name}" for name in HEAD_OFFSETS)}
    for name in names:
        if name not in allowed:
            raise UserError(
                f"{name}: the expressions of {source} are FLAME's and have no such part; only gain, offset, smooth and "
                "mirror of the head work there"
            )


def _move_head(pose: np.ndarray, values: Values) -> None:
    """Gain and offset of the head's rotation, in place."""
    if "gain.head" in values:
        pose[:, HEAD] *= values["gain.head"][:, None]
    if any(f"offset.{name}" in values for name in HEAD_OFFSETS):
        pitch, yaw, roll = (values.get(f"offset.{name}", np.zeros(len(pose))) for name in HEAD_OFFSETS)
        turn = Rotation.from_euler("YXZ", np.stack([yaw, pitch, roll], axis=1), degrees=True)
        pose[:, HEAD] = (turn * Rotation.from_rotvec(pose[:, HEAD])).as_rotvec()
