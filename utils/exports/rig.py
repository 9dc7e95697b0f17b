"""A motion on one head as an ordinary rig: a neutral mesh, morph targets, joints, and their animation.

What game engines and Blender do with it equals `models.heads.flame.Flame`: morph targets first, then linear blend
skinning. Two details make that exact. FLAME's joints are regressed from the *expressive* face, so they travel a little
with the expression: the joints' translations are animated. Its pose correctives are driven by entries of R - I: they
become separate morph targets (`jawCorrective...`) whose weights are those entries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from utils.errors import UserError
from utils.exports.arkit import has_arkit_expressions
from utils.heads.head_file import HeadFile
from utils.heads.joints import JAW, JAW_OPEN_RADIANS, JOINTS, NECK, PARENTS, ROOT_JOINT
from utils.heads.tongue import TONGUE_UNITS, tongue_weights
from utils.motion_file import Motion
from utils.rotations import resample_rotations, resample_values
from utils.timebase import FPS

JAW_ENTRIES = slice(9, 18)  # of the 36 pose features: R_jaw - I, row-major
TINY = 1e-7  # metres (or radians) below which something does not move
MAX_FPS = 240.0


@dataclass(frozen=True)
class MorphTarget:
    """A morph target."""

    name: str
    offsets: np.ndarray  # (V, 3) float32, metres at weight 1
    weights: np.ndarray  # (T,) float32


@dataclass(frozen=True)
class Rig:
    """V vertices, T frames; metres, y up, face towards +z. Joint arrays are in the order of `JOINTS`."""

    rest: np.ndarray  # (V, 3) float32, the head's neutral face
    joints: np.ndarray  # (5, 3) float32, positions at rest
    weights: np.ndarray  # (V, 5) float32, rows sum to 1
    targets: list[MorphTarget]
    rotations: np.ndarray  # (T, 5, 4) float32, quaternions x y z w, relative to the parent, without sign jumps
    translations: np.ndarray  # (T, 5, 3) float32, relative to the parent
    fps: float

    @property
    def n_frames(self) -> int:
        return len(self.rotations)

    @property
    def times(self) -> np.ndarray:
        """(T,) float32 seconds."""
        return (np.arange(self.n_frames) / self.fps).astype(np.float32)

    def target_weights(self) -> np.ndarray:
        """(T, K) float32."""
        return np.stack([target.weights for target in self.targets], axis=1).astype(np.float32)

    def moving(self, joint: int) -> tuple[bool, bool]:
        """Whether a joint's rotation and its translation change over time or differ from rest."""
        rest = self.joints[joint] - (self.joints[PARENTS[joint]] if joint else 0)
        rotates = np.abs(self.rotations[:, joint, :3]).max(initial=0) > TINY
        return bool(rotates), bool(np.abs(self.translations[:, joint] - rest).max(initial=0) > TINY)


def make_rig(head: HeadFile, motion: Motion, fps: float = FPS) -> Rig:
    """The rig of one head shape, animated by a motion (raw coefficients) at `fps` frames per second."""
    shape, known = np.zeros(head.shapedirs.shape[-1]), motion.shape_or_average
    n = min(len(shape), len(known))
    shape[:n] = known[:n]
    rest = head.v_template + head.shapedirs.astype(np.float64) @ shape
    regressor = head.j_regressor.astype(np.float64)
    joint_steps = np.einsum("jv,vxk->jxk", regressor, head.expdirs)
    joints = regressor @ rest
    turning = ROOT_JOINT if head.finish is None else NECK  # a dressed head turns on its shoulders
    travelled = joints + np.einsum("jxk,tk->tjx", joint_steps, motion.exp)  # (T, 5, 3)
    turn = Rotation.from_rotvec(motion.pose[:, :3].astype(np.float64))
    jaw = Rotation.from_rotvec(motion.pose[:, 3:].astype(np.float64))
    return Rig(
        rest=rest.astype(np.float32),
        joints=joints.astype(np.float32),
        weights=(head.weights / head.weights.sum(1, keepdims=True)).astype(np.float32),
        targets=[
            *_expressions(head, motion),
            *_correctives(head, jaw.as_matrix() - np.eye(3)),
            *_tongue(head, motion),
            *_jaw_open(head, rest, joints[JAW], len(motion)),
        ],
        rotations=_quaternions(turn, jaw, turning),
        translations=_translations(joints, travelled, turn, jaw, turning),
        fps=float(fps),
    )


def expression_names(head: HeadFile) -> list[str]:
    """The head's own names of its expressions, or exp_00, exp_01, ..."""
    return list(head.exp_names or (f"exp_{k:02d}" for k in range(head.expdirs.shape[-1])))


def _expressions(head: HeadFile, motion: Motion) -> list[MorphTarget]:
    names = expression_names(head)
    return [
        MorphTarget(name, np.ascontiguousarray(head.expdirs[:, :, k]), np.ascontiguousarray(motion.exp[:, k]))
        for k, name in enumerate(names)
    ]


def _jaw_open(head: HeadFile, rest: np.ndarray, joint: np.ndarray, n_frames: int) -> list[MorphTarget]:
    """ARKit's jawOpen for programs that know only morph targets: 0 throughout, as the joint moves the jaw here."""
    if not has_arkit_expressions(head):
        return []
    turn = Rotation.from_rotvec([JAW_OPEN_RADIANS, 0, 0])
    change = (turn.as_matrix() - np.eye(3)).ravel()
    bent = rest + head.posedirs[:, :, JAW_ENTRIES].astype(np.float64) @ change
    share = (head.weights[:, JAW] / head.weights.sum(1)).astype(np.float64)[:, None]
    opened = bent + share * (turn.apply(bent - joint) + joint - bent)
    return [MorphTarget("jawOpen", (opened - rest).astype(np.float32), np.zeros(n_frames, np.float32))]


def _tongue(head: HeadFile, motion: Motion) -> list[MorphTarget]:
    """The tongue's units of a dressed head, at 0 unless the motion drives them."""
    if head.finish is None or head.exp_names is None:
        return []
    units = np.zeros((len(motion), 2)) if motion.tongue is None else motion.tongue
    weights = tongue_weights(units, motion.pose[:, 3], motion.exp[:, head.exp_names.index("mouthClose")])
    return [MorphTarget(name, np.ascontiguousarray(head.finish.tongue[:, :, k]), weights[:, k])
            for k, name in enumerate(TONGUE_UNITS)]  # fmt: skip


def _correctives(head: HeadFile, change: np.ndarray) -> list[MorphTarget]:
    """Morph targets for the jaw's pose correctives; change = R_jaw - I (T, 3, 3).

    A jaw that turns about x only (all motion of this project) needs two: entries (1, 1) and (2, 2) are both cos - 1,
    (2, 1) is sin and (1, 2) is -sin. Any other rotation gets one per entry.
    """
    directions = head.posedirs[:, :, JAW_ENTRIES].reshape(-1, 3, 3, 3).astype(np.float64)  # vertex, xyz, row, column
    if np.abs(change[:, 0]).max(initial=0) < TINY and np.abs(change[:, :, 0]).max(initial=0) < TINY:
        parts = [
            ("jawCorrectiveSin", directions[..., 2, 1] - directions[..., 1, 2], change[:, 2, 1]),
            ("jawCorrectiveCos", directions[..., 1, 1] + directions[..., 2, 2], change[:, 1, 1]),
        ]
    else:
        entries = [(row, column) for row in range(3) for column in range(3)]
        parts = [(f"jawCorrective{r}{c}", directions[..., r, c], change[:, r, c]) for r, c in entries]
    return [
        MorphTarget(name, offsets.astype(np.float32), weights.astype(np.float32))
        for name, offsets, weights in parts
        if np.abs(offsets).max(initial=0) > TINY
    ]


def _quaternions(turn: Rotation, jaw: Rotation, turning: int) -> np.ndarray:
    quaternions = np.zeros((len(turn), len(JOINTS), 4))
    quaternions[..., 3] = 1
    quaternions[:, turning], quaternions[:, JAW] = turn.as_quat(), jaw.as_quat()
    # q and -q are one rotation; a jump between them would send a linear interpolation the long way round.
    along = np.sum(quaternions[1:] * quaternions[:-1], axis=-1)
    signs = np.cumprod(np.where(along < 0, -1.0, 1.0), axis=0)
    quaternions[1:] *= signs[..., None]
    return quaternions.astype(np.float32)


def _translations(joints: np.ndarray, travelled: np.ndarray, turn: Rotation, jaw: Rotation, turning: int) -> np.ndarray:
    """Where the joints must stand, relative to their parents, so that rotating about the *rest* joint equals
    rotating about the travelled one: R (j0 - j) + j. The head turns about the root, whichever joint does it."""
    translations = np.repeat((joints - joints[list(PARENTS)])[None], len(turn), axis=0)
    translations[:, ROOT_JOINT] = joints[ROOT_JOINT]
    parent = joints[ROOT_JOINT] if turning == NECK else 0
    turned = turn.apply(joints[turning] - travelled[:, ROOT_JOINT])
    translations[:, turning] = turned + travelled[:, ROOT_JOINT] - parent
    translations[:, JAW] = jaw.apply(joints[JAW] - travelled[:, JAW]) + travelled[:, JAW] - joints[NECK]
    return translations.astype(np.float32)


def check_fps(fps: float) -> None:
    """Raises UserError for a rate that is not a number between 1 and 240."""
    if not 1 <= fps <= MAX_FPS:
        raise UserError(f"--fps {fps}: must lie between 1 and {MAX_FPS:g}")


def resampled(motion: Motion, fps: float) -> Motion:
    """25 fps motion at another rate: expressions linearly, rotations on the shortest arc. 25 returns it unchanged.

    Raises:
        UserError: a rate that is not a number between 1 and 240.
    """
    check_fps(fps)
    if fps == FPS or len(motion) < 2:
        return motion
    old = np.arange(len(motion)) / FPS
    new = np.arange(int((len(motion) - 1) / FPS * fps + 1e-6) + 1) / fps
    new = np.minimum(new, old[-1])
    exp, tongue = (None if values is None else resample_values(old, values, new).astype(np.float32)
                   for values in (motion.exp, motion.tongue))  # fmt: skip
    turns = (Rotation.from_rotvec(motion.pose[:, part]) for part in (slice(0, 3), slice(3, 6)))
    pose = np.concatenate([resample_rotations(old, turn, new).as_rotvec() for turn in turns], axis=1)
    return replace(motion, exp=exp, pose=pose.astype(np.float32), tongue=tongue)
