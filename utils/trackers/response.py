"""MediaPipe's blendshape scores -> ARKit's values on the open head.

MediaPipe answers with another offset and gain than ARKit's units (jawOpen .43 where our jaw is fully open, mouthClose 0
even where lips are shut over an open jaw, eyeLookDown in every blink), so a value is taken from all 52 scores: a ridge
regression on the scores and their square roots, fitted on renders of the open head (benchmarks/tracking/response.py).

Apart from that: blinks are a monotone curve of each eye's own score, so that a wink stays one; squint and wide eyes,
which MediaPipe does not see at the size they have in speech, take their usual course; and units that the corpus never
moves (jaw and mouth to the side, cheekPuff, noseSneer ...) keep MediaPipe's scores.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from utils.atomic import atomic_path
from utils.exports.arkit import BLEND_SHAPES
from utils.reading.array_file import read_npz
from utils.runs.run_dir import ROOT

RESPONSE = ROOT / "models" / "data" / "mediapipe_response.npz"
SIDES = ("Left", "Right")
SQUINT, SQUINT_IN_BLINK = 0.05, 0.1  # what speakers do who are not squinting (scripts_for_dataset/synthetic)
STILL = 0.01  # standard deviation of a unit that the corpus does not move
_SCALE_FLOOR = 0.02  # of a score's standard deviation: below it there is only noise
_HIGHEST = 1.2
PENALTIES, FOLDS = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0), 7  # tried for each unit, over other speakers
SEEN, RESTORED = 0.5, 0.5  # correlation from which a unit counts as seen; power of its lost spread that is given back
KNOTS = 16


@dataclass(frozen=True)
class Response:
    """A fitted response. F features are the scores and their square roots."""

    mean: np.ndarray  # (F,)
    scale: np.ndarray  # (F,)
    weights: np.ndarray  # (F, 52)
    bias: np.ndarray  # (52,)
    moved: np.ndarray  # (52,) bool: units that are predicted
    blink_scores: np.ndarray  # (KNOTS,) increasing
    blink_values: np.ndarray  # (KNOTS,) not decreasing

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """scores (T, 52) in the order of BLEND_SHAPES -> values (T, 52) float64; NaN stays NaN."""
        scores = np.asarray(scores, np.float64)
        values = np.clip((_features(scores) - self.mean) / self.scale @ self.weights + self.bias, 0, _HIGHEST)
        values = np.where(self.moved, values, scores)
        for side in SIDES:
            blink, squint, wide = (BLEND_SHAPES.index(name + side) for name in ("eyeBlink", "eyeSquint", "eyeWide"))
            values[:, blink] = np.interp(scores[:, blink], self.blink_scores, self.blink_values)
            values[:, squint] = SQUINT + SQUINT_IN_BLINK * values[:, blink]
            values[:, wide] = 0 * values[:, blink]
        return values

    def save(self, path: Path) -> None:
        """Write an npz."""
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **asdict(self))


@cache
def load_response() -> Response:
    """The response that comes with the project."""
    return Response(**read_npz(RESPONSE))


def fit_response(scores: np.ndarray, values: np.ndarray, films: np.ndarray) -> Response:
    """Ridge regression with the penalty per unit that does best on films left out. Of the spread that it takes from
    units that are seen, half (as a power) is given back.

    Args:
        scores: (N, 52) MediaPipe's.
        values: (N, 52) true values of the same frames.
        films: (N,) int, which frames belong together.
    """
    features, bias = _features(scores.astype(np.float64)), values.mean(axis=0)
    mean, scale = features.mean(axis=0), features.std(axis=0) + _SCALE_FLOOR
    x, y = (features - mean) / scale, values - bias
    moved = values.std(axis=0) > STILL
    penalty, guesses = _best_penalties(x, y, films)
    weights = np.stack([_ridge(x, y[:, [k]], penalty[k])[:, 0] for k in range(y.shape[1])], axis=1)
    spread = np.maximum(guesses.std(axis=0), 1e-4)
    seen = (guesses * y).mean(axis=0) / (spread * np.maximum(y.std(axis=0), 1e-4)) > SEEN
    weights *= np.where(seen, np.maximum(y.std(axis=0) / spread, 1) ** RESTORED, 1) * moved
    curve = _blink_curve(scores, values)
    arrays = (array.astype(np.float32) for array in (mean, scale, weights, bias))
    return Response(*arrays, moved, *curve)


def _best_penalties(x: np.ndarray, y: np.ndarray, films: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The penalty of each unit, (52,), and what it says of films that it was not fitted on, (N, 52)."""
    guesses = np.zeros((len(PENALTIES), *y.shape))
    for fold in range(FOLDS):
        out = films % FOLDS == fold
        for k, penalty in enumerate(PENALTIES):
            guesses[k, out] = x[out] @ _ridge(x[~out], y[~out], penalty)
    best = ((guesses - y) ** 2).mean(axis=1).argmin(axis=0)
    return np.array(PENALTIES)[best], np.take_along_axis(guesses, best[None, None], axis=0)[0]


def _ridge(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    return np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)


def _features(scores: np.ndarray) -> np.ndarray:
    return np.concatenate([scores, np.sqrt(np.maximum(scores, 0))], axis=1)


def _blink_curve(scores: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean value at each score, both eyes together, made monotone."""
    columns = [BLEND_SHAPES.index(f"eyeBlink{side}") for side in SIDES]
    x, y = scores[:, columns].ravel(), values[:, columns].ravel()
    knots = np.linspace(0, np.quantile(x, 0.999), KNOTS)
    width = (knots[1] - knots[0]) / 2
    near = [np.abs(x - knot) <= width for knot in knots]
    means = [y[rows].mean() if rows.any() else np.nan for rows in near]
    known = np.isfinite(means)
    answers = np.maximum.accumulate(np.interp(knots, knots[known], np.array(means)[known]))
    return knots.astype(np.float32), answers.astype(np.float32)
