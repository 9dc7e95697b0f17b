"""A face that does not speak, by rule: blinks, gaze, breath, small head motion; it listens with nods and small smiles.

Nothing here is learnt. The rates are those of people at rest: 17 blinks a minute with log-normal gaps, a breath every
4 s, glances of a few degrees. For the open head, whose expressions have ARKit's names. The mouth stays shut.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from utils.coefs import N_EXP, N_POSE
from utils.timebase import FPS

MOODS = ("idle", "listening", "thinking")
_BLINK = (0.55, 1.0, 0.8, 0.4, 0.12)  # lid closure, frame by frame
_BLINK_GAP, _BLINK_SIGMA = 60 / 17, 0.55  # seconds; of the gap's logarithm
_SWAY = np.deg2rad([0.7, 1.1, 0.6])  # pitch, yaw, roll: amplitude of the head's slow motion
_SWAY_PERIODS = np.array([[7.3, 4.1, 11.0], [9.7, 5.3, 13.9], [8.3, 6.1, 12.1]])  # seconds, by axis
_BREATH, _BREATH_PERIOD = math.radians(0.35), 4.0
_NOD, _NOD_SECONDS = math.radians(5.0), 0.7
_GAZE_SPEED, _SMILE_SPEED = 0.55, 0.06  # fraction of the way per frame
_GLANCES = {"idle": 0.22, "listening": 0.05, "thinking": 0.1}  # standard deviation of eyeLook weights
_AWAY = {"idle": (0.0, 0.0), "listening": (0.0, 0.0), "thinking": (0.28, 0.3)}  # where the eyes rest: aside, up
_SMILES = {"idle": 0.04, "listening": 0.14, "thinking": 0.0}
_BROWS = {"idle": 0.0, "listening": 0.05, "thinking": 0.18}


@dataclass(frozen=True)
class Face:
    """Coefficients of one frame."""

    exp: np.ndarray  # (50,) float32
    pose: np.ndarray  # (6,) float32, axis-angle
    tongue: float = 0.0  # tongueOut

    def towards(self, other: Face, mouth: float, head: float) -> Face:
        """Part of the way to another face: `mouth` for expression and jaw, `head` for the head's rotation, 0..1."""
        share = np.array([head] * 3 + [mouth] * 3, np.float32)
        exp = self.exp + np.float32(mouth) * (other.exp - self.exp)
        tongue = self.tongue + mouth * (other.tongue - self.tongue)
        return Face(exp, self.pose + share * (other.pose - self.pose), tongue)


class IdleFace:
    """The frames of a face that does not speak, one call per frame at 25 fps."""

    def __init__(self, names: Sequence[str], seed: int = 0) -> None:
        """names: of the head's expressions, ARKit's."""
        self._column = {name: k for k, name in enumerate(names)}
        self._random = np.random.default_rng(seed)
        self._phases = self._random.uniform(0, 2 * math.pi, (3, 3))
        self._frame = 0
        self._shutting = len(_BLINK)  # frame of the blink
        self._next_blink, self._next_glance, self._nodded = self._gap(), 0, -FPS * 60
        self._gaze, self._target = np.zeros(2), np.zeros(2)  # aside (to the person's left), up
        self._smile = self._brows = 0.0
        self._mood = MOODS[0]

    def nod(self) -> None:
        """Nod once, from the next frame on."""
        if self._frame - self._nodded > 2 * _NOD_SECONDS * FPS:
            self._nodded = self._frame

    def step(self, mood: str = MOODS[0]) -> Face:
        """The next frame; mood: one of `MOODS`."""
        exp, pose = np.zeros(N_EXP, np.float32), np.zeros(N_POSE, np.float32)
        self._look(exp, mood)
        self._blink(exp)
        self._smile += _SMILE_SPEED * (_SMILES[mood] - self._smile)
        self._brows += _SMILE_SPEED * (_BROWS[mood] - self._brows)
        for name, value in (("mouthSmile", self._smile), ("browOuterUp", self._brows)):
            exp[[self._column[name + side] for side in ("Left", "Right")]] = value
        exp[self._column["browInnerUp"]] = self._brows
        pose[:3] = self._head()
        self._frame, self._mood = self._frame + 1, mood
        return Face(exp, pose)

    def _head(self) -> np.ndarray:
        """(3,) axis-angle: sway, breath, nod; +x lowers the nose."""
        t = self._frame / FPS
        head = _SWAY * np.sin(2 * math.pi * t / _SWAY_PERIODS + self._phases).mean(axis=1)
        head[0] += _BREATH * math.sin(2 * math.pi * t / _BREATH_PERIOD)
        since = (self._frame - self._nodded) / FPS
        if since < _NOD_SECONDS:
            head[0] += _NOD * math.sin(math.pi * since / _NOD_SECONDS) ** 2
        return head

    def _look(self, exp: np.ndarray, mood: str) -> None:
        if self._frame >= self._next_glance or mood != self._mood:
            self._target = np.array(_AWAY[mood]) + self._random.normal(0, _GLANCES[mood], 2) * (1, 0.5)
            self._next_glance = self._frame + round(FPS * self._random.uniform(0.8, 3.0))
        self._gaze += _GAZE_SPEED * (self._target - self._gaze)
        aside, up = (min(0.6, max(-0.6, value)) for value in self._gaze.tolist())
        for left, right, value in (
            ("Out", "In", aside),
            ("In", "Out", -aside),
            ("Up", "Up", up),
            ("Down", "Down", -up),
        ):
            exp[self._column[f"eyeLook{left}Left"]] = exp[self._column[f"eyeLook{right}Right"]] = max(0.0, value)

    def _blink(self, exp: np.ndarray) -> None:
        if self._frame >= self._next_blink:
            self._shutting, self._next_blink = 0, self._frame + self._gap()
        if self._shutting < len(_BLINK):
            exp[[self._column["eyeBlinkLeft"], self._column["eyeBlinkRight"]]] = _BLINK[self._shutting]
            self._shutting += 1

    def _gap(self) -> int:
        """Frames to the next blink."""
        mean = math.log(_BLINK_GAP) - _BLINK_SIGMA**2 / 2
        return max(2 * len(_BLINK), round(FPS * self._random.lognormal(mean, _BLINK_SIGMA)))
