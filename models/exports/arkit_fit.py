"""ARKit blend shape weights for a head with other expressions (FLAME), fitted to the moving vertices.

The open head has the displacements of every ARKit blend shape. They are transferred to the other head through pairs of
corresponding vertices; then, for all frames at once,

    min over 0 <= W <= 1 of  sum_t |B w_t - d_t|^2 / n + ridge |w_t|^2 + smooth |w_t - w_(t-1)|^2

with B the displacements per blend shape (mm) and d_t the head's displacement from its own neutral face.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from models.exports.arkit_pairs import Pairs, find_pairs
from models.heads.decode import vertex_pieces
from models.heads.flame import Flame, load_flame
from utils.exports.arkit import BLEND_SHAPES, ArkitTrack, track_angles
from utils.heads.joints import JAW_OPEN_RADIANS
from utils.motion_file import Motion
from utils.timebase import FPS

FITTED = BLEND_SHAPES[:-1]  # without tongueOut, which no motion of ours has
SPEECH_JAW = 0.4  # jawOpen in speech: the jaw moves on an arc, and speech uses its beginning
ITERATIONS = 600


@dataclass(frozen=True)
class FitOptions:
    """Weights of the regularisers, in mm^2 per squared weight."""

    ridge: float = 2e-4
    """Penalty of the squared weights, which keeps blend shapes with little effect near 0."""
    smooth: float = 2e-3
    """Penalty of the squared change from frame to frame."""


@dataclass(frozen=True)
class FitReport:
    """The error of the fitted blend shapes over all pairs and frames."""

    rms_mm: float
    worst_frame_mm: float  # rms of the worst frame
    motion_mm: float  # rms of the motion itself
    n_pairs: int

    @property
    def explained(self) -> float:
        """Fraction of the motion's squared displacement that the fit explains."""
        return 1 - self.rms_mm**2 / max(self.motion_mm**2, 1e-12)

    def text(self) -> str:
        return (
            f"ARKit fit: {self.rms_mm:.2f} mm rms over {self.n_pairs} vertices, worst frame {self.worst_frame_mm:.2f}; "
            f"explains {100 * self.explained:.0f} % of a motion of {self.motion_mm:.2f} mm"
        )


@dataclass(frozen=True)
class _Problem:
    """The products of the least-squares problem; n pairs, K blend shapes, T frames."""

    hessian: np.ndarray  # (K, K) B B' / n
    linear: np.ndarray  # (T, K) d B' / n
    squares: np.ndarray  # (T,) |d|^2 / n

    def residual(self, weights: np.ndarray) -> np.ndarray:
        """Mean squared error (T,) in mm^2 of weights (T, K)."""
        explained = ((weights @ self.hessian - 2 * self.linear) * weights).sum(1)
        return np.maximum(self.squares + explained, 0)


def fit_arkit(
    flame: Flame, motion: Motion, pairs: Pairs | None = None, fps: float = FPS, options: FitOptions | None = None
) -> tuple[ArkitTrack, FitReport]:
    """Fit ARKit weights and angles to a motion (raw coefficients) of any head -> track, report.

    Missing `pairs` are derived from the 68 landmarks of both heads. Head angles are those of the motion; eye angles
    follow from the fitted eyeLook weights; tongueOut is 0.

    Raises:
        UserError: the head has no 68 landmarks to derive the pairs from, or too few vertices correspond.
    """
    open_flame = load_flame(None)
    pairs = pairs or find_pairs(open_flame.head, flame.head)
    problem = _problem(flame, motion, pairs.head_vertices, blend_shape_offsets(open_flame, pairs))
    weights = _solve(problem, options or FitOptions())
    left = problem.residual(weights)
    report = FitReport(
        rms_mm=float(np.sqrt(left.mean())),
        worst_frame_mm=float(np.sqrt(left.max())),
        motion_mm=float(np.sqrt(problem.squares.mean())),
        n_pairs=len(pairs.head_vertices),
    )
    full = np.zeros((len(weights), len(BLEND_SHAPES)), np.float32)
    full[:, : len(FITTED)] = weights
    return ArkitTrack(full, track_angles(motion, full, open_flame.head), fps), report


@torch.no_grad()
def blend_shape_offsets(open_flame: Flame, pairs: Pairs) -> np.ndarray:
    """Displacements (51, N, 3) in mm of the other head's vertices for each blend shape at 1.

    Those of the jaw, and of mouthClose (which ARKit defines on the open jaw), are measured at the jaw angles of speech
    and scaled up.
    """
    names = open_flame.head.exp_names
    assert names is not None, "the open head names its expressions"
    n = len(FITTED)
    exp, pose = torch.zeros(n + 1, open_flame.n_exp), torch.zeros(n + 1, 6)  # the last row is the neutral face
    for k, name in enumerate(FITTED):
        if name in names:
            exp[k, names.index(name)] = SPEECH_JAW if name == "mouthClose" else 1
        if name in ("jawOpen", "mouthClose"):
            pose[k, 3] = SPEECH_JAW * JAW_OPEN_RADIANS
    vertices = open_flame(torch.zeros(n + 1, open_flame.n_shape), exp, pose)[:, pairs.open_vertices].double().numpy()
    offsets = vertices[:-1] - vertices[-1]
    jaw, close = FITTED.index("jawOpen"), FITTED.index("mouthClose")
    offsets[close] -= offsets[jaw]
    offsets[[jaw, close]] /= SPEECH_JAW
    return 1000 * offsets @ pairs.linear.T


@torch.no_grad()
def _problem(flame: Flame, motion: Motion, vertices: np.ndarray, offsets: np.ndarray) -> _Problem:
    """Decode the motion without head rotation, piece by piece, and keep only the products."""
    shape = torch.from_numpy(motion.shape_or_average)
    rest = flame(shape[None], torch.zeros(1, flame.n_exp), torch.zeros(1, 6))[:, vertices]
    basis = torch.from_numpy(offsets).flatten(1)  # (K, 3n)
    linear, squares = [], []
    for piece in vertex_pieces(flame, motion, shape, global_rotation=False):
        moved = 1000 * (piece[:, vertices] - rest).double().flatten(1)
        linear.append(moved @ basis.T)
        squares.append((moved**2).sum(1))
    n = len(vertices)
    return _Problem(*((x / n).numpy() for x in (basis @ basis.T, torch.cat(linear), torch.cat(squares))))


def _solve(problem: _Problem, options: FitOptions) -> np.ndarray:
    """Solve the bounded least squares of the module's docstring -> weights (T, K) in 0..1.

    The method is accelerated projected gradient with restarts (Beck and Teboulle 2009; O'Donoghue and Candes 2015), in
    variables scaled so that every blend shape is equally strong.
    """
    strength = np.sqrt(np.diag(problem.hessian) + options.ridge)
    hessian = (problem.hessian + options.ridge * np.eye(len(strength))) / np.outer(strength, strength)
    linear = problem.linear / strength
    smooth = options.smooth / strength**2
    step = 1 / (np.linalg.eigvalsh(hessian)[-1] + 4 * smooth.max())
    weights, momentum = np.zeros_like(linear), 1.0
    ahead = weights
    for _ in range(ITERATIONS):
        gradient = ahead @ hessian - linear - smooth * _curvature(ahead)
        new = np.clip(ahead - step * gradient, 0, strength)
        if np.sum((ahead - new) * (new - weights)) > 0:  # uphill: reset the momentum
            momentum = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / following * (new - weights)
        weights, momentum = new, following
    return weights / strength


def _curvature(values: np.ndarray) -> np.ndarray:
    """(T, K) second differences over time, the ends repeated: minus half the gradient of sum |w_t - w_(t-1)|^2."""
    padded = np.concatenate([values[:1], values, values[-1:]])
    return padded[2:] - 2 * values + padded[:-2]
