"""The rig: expressions, jaw, skinning weights, pose correctives and joint regressor. From here on metres.

The jaw comes out of the face unit jawOpen: its rotation is what best explains the lower teeth (they are rigid), the
skinning weight is how far each vertex follows that rotation, and what is left over becomes pose correctives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg
from scipy.optimize import least_squares, nnls
from scipy.spatial.transform import Rotation

from setup.open_head.assembly import HeadMesh
from setup.open_head.identity import IdentitySpace
from setup.open_head.lips import height
from setup.open_head.shapes import ball_centre, loop_halves, smooth_step
from setup.open_head.source import Source
from utils.heads.head_asset import JAW_FEATURES
from utils.heads.joints import JAW, LEFT_EYE, NECK, RIGHT_EYE, ROOT_JOINT

METRES = 0.1  # per MakeHuman decimetre
EYE_HEIGHT, EYE_DEPTH = 0.034, 0.026  # where the midpoint between the eyes is put
ROOT_LOOP, NECK_FADE_LOOP, NECK_LOOP = 815, 809, 787  # neck loops: root joint, start of the neck's fade, neck joint
LID_MARGIN = 11465  # left lid margin, a loop of 28
NOT_EXPRESSIONS = ("jawOpen", "tongueOut")  # the jaw joint opens the mouth; the tongue is not animated


@dataclass(frozen=True)
class Rig:
    """Arrays in FLAME's layout (metres) and what the build reports about the jaw."""

    template: np.ndarray  # (V, 3)
    identity: np.ndarray  # (V, 3, K)
    expressions: np.ndarray  # (V, 3, 50)
    names: list[str]
    posedirs: np.ndarray  # (V, 3, 36)
    weights: np.ndarray  # (V, 5)
    regressor: np.ndarray  # (5, V)
    joints: np.ndarray  # (5, 3)
    jaw_weight: np.ndarray  # (V,)
    full_opening: float  # radians of jawOpen = 1


@dataclass(frozen=True)
class JawFit:
    joint: np.ndarray  # (3,)
    angle: float  # radians of jawOpen = 1

    def motion(self, points: np.ndarray) -> np.ndarray:
        """Displacement (V, 3) of points that follow the jaw fully."""
        return (points - self.joint) @ (self.rotation - np.eye(3)).T

    @property
    def rotation(self) -> np.ndarray:
        return Rotation.from_rotvec([self.angle, 0, 0]).as_matrix()


def build_rig(source: Source, head: HeadMesh, space: IdentitySpace) -> Rig:
    """Expressions and rig for the mean face of the identity space."""
    eyes = {name: _sphere_centre_weights(head, name) for name in ("left_eyeball", "right_eyeball")}
    template = _place(space.mean * METRES, eyes)
    names = [name for name in source.unit_names() if name not in NOT_EXPRESSIONS]
    expressions = np.stack([head.displacement(source.unit(name)) for name in names], axis=-1) * METRES
    for side in ("Left", "Right"):
        index = names.index(f"eyeBlink{side}")
        expressions[:, :, index] = _fit_blink(template, expressions[:, :, index], lid_margin(head, side))

    opening = head.displacement(source.unit("jawOpen")) * METRES
    fit = fit_jaw(template, opening, head.is_part("lower_teeth"))
    jaw_weight = _jaw_weight(head, template, opening, fit)
    weights = _skinning_weights(head, template, jaw_weight)
    regressor = _joint_regressor(head, template, fit, eyes)
    left_over = opening - weights[:, JAW, None] * fit.motion(template)
    # mouthClose is made for an open jaw: un-rotate it, so that mouthClose = angle / full opening keeps lips closed.
    close = names.index("mouthClose")
    expressions[:, :, close] = _before_skinning(expressions[:, :, close], weights[:, JAW], fit)
    return Rig(
        template=template,
        identity=space.components * METRES,
        expressions=expressions,
        names=names,
        posedirs=_correctives(left_over, weights[:, JAW], fit),
        weights=weights,
        regressor=regressor,
        joints=regressor @ template,
        jaw_weight=jaw_weight,
        full_opening=fit.angle,
    )


def _place(points: np.ndarray, eyes: dict[str, np.ndarray]) -> np.ndarray:
    """Move the head so that the midpoint between its eyes is where FLAME-like coordinates have it."""
    between = sum(weights @ points for weights in eyes.values()) / 2
    return points + np.array([0, EYE_HEIGHT, EYE_DEPTH]) - between


def _before_skinning(displacement: np.ndarray, jaw_share: np.ndarray, fit: JawFit) -> np.ndarray:
    """The displacement (V, 3) which skinning at the full opening turns into the given one."""
    blended = np.eye(3) + jaw_share[:, None, None] * (fit.rotation - np.eye(3))
    return np.linalg.solve(blended, displacement[..., None])[..., 0]


def _correctives(left_over: np.ndarray, jaw_share: np.ndarray, fit: JawFit) -> np.ndarray:
    """(V, 3, 36): what skinning leaves of jawOpen, spread over the features -sin and +sin of the opening angle."""
    noise = np.linalg.norm(left_over, axis=1) < 2e-5
    per_sine = _before_skinning(np.where(noise[:, None], 0, left_over), jaw_share, fit) / (2 * np.sin(fit.angle))
    posedirs = np.zeros((len(left_over), 3, 36))
    for feature, sign in zip(JAW_FEATURES, (-1, 1)):
        posedirs[:, :, feature] = sign * per_sine
    return posedirs


def _sphere_centre_weights(head: HeadMesh, name: str) -> np.ndarray:
    """(V,) weights over an eyeball whose combination is its centre."""
    ids = np.flatnonzero(head.part == name)
    points = head.rest[ids]
    centre = ball_centre(points)
    equations = np.c_[points, np.ones(len(ids))].T
    even = np.full(len(ids), 1 / len(ids))
    weights = np.zeros(len(head.rest))
    weights[ids] = even + np.linalg.pinv(equations) @ (np.r_[centre, 1] - equations @ even)
    return weights


def lid_margin(head: HeadMesh, side: str) -> np.ndarray:
    left = head.ids(head.topology.lid_loop(LID_MARGIN))
    return left if side == "Left" else head.mirror[left]


def split_lids(points: np.ndarray, loop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the upper and the lower lid margin, corners in both."""
    one, other = (loop[half] for half in loop_halves(points[loop, 0]))
    return (one, other) if points[one, 1].mean() > points[other, 1].mean() else (other, one)


def _fit_blink(template: np.ndarray, unit: np.ndarray, margin: np.ndarray, overlap: float = 3e-4) -> np.ndarray:
    """The face unit closes the eye 1.5 to 4 mm too far: scale it by a quadratic in x so that the margins just meet."""
    upper, lower = split_lids(template, margin)
    left, right = template[margin, 0].min(), template[margin, 0].max()
    across = (template[:, 0] - left) / (right - left)
    at = np.linspace(0.12, 0.88, 15)
    x = left + at * (right - left)

    def gap(points: np.ndarray) -> np.ndarray:
        return height(points, upper, x) - height(points, lower, x)

    quadratic = np.array([0.0, 0.0, 1.0])
    for _ in range(6):
        scale = np.clip(np.polyval(quadratic, np.clip(across, -0.15, 1.15)), 0.4, 1)[:, None]
        here = np.clip(np.polyval(quadratic, at), 0.4, 1)
        needed = here * (gap(template) + overlap) / (gap(template) - gap(template + scale * unit))
        quadratic = np.polyfit(at, needed, 2)
    return np.clip(np.polyval(quadratic, np.clip(across, -0.15, 1.15)), 0.4, 1)[:, None] * unit


def fit_jaw(template: np.ndarray, opening: np.ndarray, teeth: np.ndarray) -> JawFit:
    """Hinge on the midline and angle that best explain the lower teeth's displacement (V, 3) in jawOpen."""

    def unpack(values: np.ndarray) -> JawFit:
        return JawFit(np.array([0, values[0], values[1]]), float(values[2]))

    def residual(values: np.ndarray) -> np.ndarray:
        return (unpack(values).motion(template[teeth]) - opening[teeth]).ravel()

    return unpack(least_squares(residual, [0, 0, 0.3], xtol=1e-12, ftol=1e-14, gtol=1e-14).x)


def _jaw_weight(head: HeadMesh, template: np.ndarray, opening: np.ndarray, fit: JawFit) -> np.ndarray:
    """(V,) how far each vertex follows the jaw: projection of jawOpen on the rigid motion, smoothed where unsure."""
    rigid = fit.motion(template)
    square = (rigid**2).sum(1)
    follows = np.clip((opening * rigid).sum(1) / np.maximum(square, 1e-12), 0, 1)
    confidence = square / square[head.is_part("skin")].max()  # near the hinge nothing moves, so nothing is known
    adjacency = head.adjacency()
    laplacian = sp.diags(np.asarray(adjacency.sum(1)).ravel()) - adjacency
    system = sp.diags(confidence + 1e-6) + 0.002 * laplacian
    weight = np.clip(scipy.sparse.linalg.spsolve(system.tocsc(), confidence * follows), 0, 1)
    weight[weight < 0.004] = 0
    weight[head.is_part("lower_teeth")] = 1
    weight[head.is_part("upper_teeth", "left_eyeball", "right_eyeball")] = 0
    return (weight + weight[head.mirror]) / 2


def _skinning_weights(head: HeadMesh, template: np.ndarray, jaw_weight: np.ndarray) -> np.ndarray:
    """(V, 5): the neck fades in from the root between two neck loops; the jaw takes its share from the neck."""
    start, end = (template[head.ids(head.topology.neck_loop(loop))] for loop in (NECK_FADE_LOOP, NECK_LOOP))
    normal = np.linalg.svd(start - start.mean(0))[2][2]
    normal *= np.sign(normal[1])
    t = np.clip((template - start.mean(0)) @ normal / np.mean((end - start.mean(0)) @ normal), 0, 1)
    neck = smooth_step(t)
    neck[~head.is_part("skin")] = 1
    neck = np.maximum(neck, np.minimum(1, 4 * jaw_weight))  # the chin belongs to the head however low it hangs
    weights = np.zeros((len(template), 5))
    weights[:, ROOT_JOINT], weights[:, NECK], weights[:, JAW] = 1 - neck, neck * (1 - jaw_weight), neck * jaw_weight
    weights[head.part == "left_eyeball"] = np.eye(5)[LEFT_EYE]
    weights[head.part == "right_eyeball"] = np.eye(5)[RIGHT_EYE]
    return weights


def _joint_regressor(head: HeadMesh, template: np.ndarray, fit: JawFit, eyes: dict[str, np.ndarray]) -> np.ndarray:
    """(5, V): loop means for root and neck, sphere centres for the eyes, skin around the hinge for the jaw."""
    regressor = np.zeros((5, len(template)))
    for joint, loop in ((ROOT_JOINT, ROOT_LOOP), (NECK, NECK_LOOP)):
        ids = head.ids(head.topology.neck_loop(loop))
        regressor[joint, ids] = 1 / len(ids)
    regressor[JAW] = _jaw_regressor(head, template, fit.joint)
    regressor[LEFT_EYE], regressor[RIGHT_EYE] = eyes["left_eyeball"], eyes["right_eyeball"]
    regressor[np.abs(regressor) < 1e-7] = 0
    return regressor / regressor.sum(1, keepdims=True)


def _jaw_regressor(head: HeadMesh, template: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """Non-negative combination of the 60 outer skin vertices nearest to the hinge axis that gives the joint."""
    usable = head.is_part("skin") & ~head.socket & ~head.mouth_bag & (np.abs(template[:, 0]) >= 0.045)
    distance = np.where(usable, np.linalg.norm(template[:, 1:] - joint[1:], axis=1), np.inf)
    near = np.argsort(distance, kind="stable")[:60]
    near = np.union1d(near, head.mirror[near])
    # Rows: weights sum to 1, they give the joint, and they are small (spread out); scaled by importance.
    equations = np.r_[1e3 * np.ones((1, len(near))), 1e4 * template[near].T, 0.1 * np.eye(len(near))]
    solution, _ = nnls(equations, np.r_[1e3, 1e4 * joint, np.zeros(len(near))])
    weights = np.zeros(len(template))
    weights[near] = solution / solution.sum()
    return (weights + weights[head.mirror]) / 2
