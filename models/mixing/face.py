"""What the mixer does to the open head's units; its lips stay as far apart as they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from models.heads.mouth import CLOSE, LOWER, UPPER
from models.mixing.config import EYE_CONTACT, UNITS
from models.mixing.recipes import (
    CALM,
    EMOTIONS,
    EXPRESSIVE,
    GROUPS,
    JAW_OFFSET,
    OFFSETS,
    columns,
    group_columns,
    weights,
)
from utils.exports.arkit import gaze_angles, other_side
from utils.heads.head_file import HeadFile
from utils.heads.joints import JAW_OPEN_RADIANS

Values = Mapping[str, np.ndarray]  # a schedule's names -> (T,)
ROUNDED = 0.6  # the share of an emotion's corners of the mouth that a pursed mouth takes away
CORNERS = ("mouthSmile", "mouthFrown", "mouthStretch", "mouthDimple")
PURSED = ("mouthPucker", "mouthFunnel")
OPENED_LIDS = ("eyeWide", "eyeSquint")  # which a blink takes away
JAW = slice(3, 6)  # of a pose


@dataclass(frozen=True)
class FaceUnits:
    """The open head's units, by name, and what they move."""

    names: list[str]
    groups: dict[str, list[int]]
    other_side: list[int]  # column of the same unit on the other side
    lips: np.ndarray  # (E,) metres by which a unit parts the lips
    gaze: np.ndarray  # (E, 2) yaw and pitch, radians, by which a unit turns its eye

    @classmethod
    def of(cls, head: HeadFile) -> FaceUnits:
        """Of a head whose expressions are ARKit's."""
        names = list(head.exp_names or ())
        lips = head.expdirs[head.landmark(UPPER), 1] - head.expdirs[head.landmark(LOWER), 1]
        gaze = np.zeros((len(names), 2))
        for k in columns(names, GROUPS["gaze"]):
            gaze[k] = gaze_angles(head, names[k], "left_eyeball" if names[k].endswith("Left") else "right_eyeball")[:2]
        swapped = [other_side(name) for name in names]
        return cls(names, group_columns(names), [names.index(name) for name in swapped], lips.astype(np.float64), gaze)

    def column(self, exp: np.ndarray, name: str) -> np.ndarray:
        """(T,) of a unit."""
        return exp[:, self.names.index(name)]

    def mirror(self, exp: np.ndarray, groups: tuple[str, ...]) -> np.ndarray:
        """exp (T, E) with left and right of these groups exchanged."""
        order = np.arange(len(self.names))
        for group in groups:
            order[self.groups[group]] = np.array(self.other_side, int)[self.groups[group]]
        return np.ascontiguousarray(exp[:, order])  # sums over units must not depend on the number of frames

    def mix(self, exp: np.ndarray, pose: np.ndarray, values: Values) -> None:
        """Gains, emotions, offsets and eye contact, in place: exp (T, E), pose (T, 6), float64."""
        before, opening = exp.copy(), values.get("gain.mouth", np.ones(len(exp)))
        self._gain(exp, pose, values)
        added = self._added(exp, values)
        exp += np.where(added > 0, added * np.clip(1 - exp, 0, 1), added * np.clip(exp, 0, 1))
        change = ((exp - opening[:, None] * before) * self.lips).sum(1)
        self.column(exp, CLOSE)[:] -= change / self.lips[self.names.index(CLOSE)]
        for name in UNITS:
            if f"offset.{name}" in values:
                self.column(exp, name)[:] += values[f"offset.{name}"]
        if f"offset.{JAW_OFFSET}" in values:
            pose[:, 3] += JAW_OPEN_RADIANS * values[f"offset.{JAW_OFFSET}"]
        free = [k for k, name in enumerate(self.names) if name != CLOSE]
        exp[:, free] = np.clip(exp[:, free], np.minimum(before[:, free], 0), np.maximum(before[:, free], 1))
        if EYE_CONTACT in values:
            self._look(exp, pose, values[EYE_CONTACT])

    def _gain(self, exp: np.ndarray, pose: np.ndarray, values: Values) -> None:
        for group, found in self.groups.items():
            if f"gain.{group}" in values:
                exp[:, found] *= values[f"gain.{group}"][:, None]
        if "gain.mouth" in values:
            pose[:, JAW] *= values["gain.mouth"][:, None]
        if "neutral" in values:
            exp[:, columns(self.names, EXPRESSIVE)] *= 1 - CALM * values["neutral"][:, None]

    def _added(self, exp: np.ndarray, values: Values) -> np.ndarray:
        """(T, E) of emotions and named offsets; eyes still shut, and lips still purse."""
        added = np.zeros_like(exp)
        recipes = {name: (recipe, {}) for name, recipe in EMOTIONS.items()}
        recipes |= {f"offset.{name}": pair for name, pair in OFFSETS.items()}
        for name, (more, less) in recipes.items():
            if name in values:
                up, down = np.maximum(values[name], 0)[:, None], np.maximum(-values[name], 0)[:, None]
                added += up * weights(self.names, more) + down * weights(self.names, less)
        pursed = np.clip(sum(self.column(exp, name) for name in PURSED), 0, 1)
        added[:, columns(self.names, CORNERS)] *= 1 - ROUNDED * pursed[:, None]
        for side in ("Left", "Right"):
            seeing = 1 - np.clip(self.column(exp, f"eyeBlink{side}"), 0, 1)
            for name in OPENED_LIDS:
                self.column(added, name + side)[:] *= seeing
        return added

    def _look(self, exp: np.ndarray, pose: np.ndarray, share: np.ndarray) -> None:
        """Turn the eyes to the camera, which is in front of the body, as far as their units reach."""
        x, y, z = Rotation.from_rotvec(pose[:, :3]).inv().apply([0.0, 0.0, 1.0]).T
        wanted = np.stack([np.arctan2(x, z), -np.arcsin(np.clip(y, -1, 1))], axis=1)
        for k in self.groups["gaze"]:
            axis = int(np.abs(self.gaze[k]).argmax())
            target = np.clip(wanted[:, axis] / self.gaze[k, axis], 0, 1)
            exp[:, k] += share * (target - exp[:, k])
