"""Metrics of a whole set of motions: intensity correlation (SLCC) and Frechet distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from models.metrics.synchrony import correlation

WINDOW = 50  # frames of a described window
FEWEST = 10  # windows that a distance needs
SETS = ("slcc", "frechet_face", "frechet_head")


def described(tracks: np.ndarray) -> np.ndarray:
    """Tracks (S, T, C) -> (S, W, 3 C): mean, standard deviation and mean speed of each over each whole window."""
    n = tracks.shape[1] // WINDOW
    windows = tracks[:, : n * WINDOW].reshape(len(tracks), n, WINDOW, -1)
    return np.concatenate([windows.mean(2), windows.std(2), np.abs(np.diff(windows, axis=2)).mean(2)], axis=2)


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Frechet distance of normal distributions fitted to a (N, d) and b (M, d); NaN with too few rows.

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)); the root's trace is that of (C_b^(1/2) C_a C_b^(1/2))^(1/2).
    """
    if min(len(a), len(b)) < FEWEST:
        return float("nan")
    cov_a, cov_b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    values, vectors = np.linalg.eigh(cov_b)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_a @ root), 0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * shared)


def intensity_correlation(loudness: np.ndarray, openings: np.ndarray, speakers: list[str]) -> float:
    """SLCC: Pearson over clips of loudness (N,) and mean opening (N,), each standardised within its speaker's clips.

    Speakers with fewer than three clips do not count: two clips stand at +-1/sqrt(2), whatever they are. NaN without
    any other.
    """
    groups = [np.array([s == speaker for s in speakers]) for speaker in dict.fromkeys(speakers)]
    pairs = [np.stack([_standardised(x[own]) for x in (loudness, openings)]) for own in groups if own.sum() > 2]
    joined = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0))
    return correlation(*joined[:, np.isfinite(joined).all(axis=0)])


def _standardised(values: np.ndarray) -> np.ndarray:
    spread = values.std(ddof=1)
    return (values - values.mean()) / spread if spread > 1e-9 else np.full_like(values, np.nan)


@dataclass(frozen=True)
class Described:
    """The data that set metrics need of S motions of one clip."""

    speaker: str
    loudness: float  # root mean square of the sound
    opening: np.ndarray  # (S,) mm, mean
    face: np.ndarray  # (S, W, F) mouth and lids
    head: np.ndarray | None  # (S, W, 9) rotation; None: the head does not turn

    @classmethod
    def of(
        cls, speaker: str, audio: np.ndarray, opening_mm: np.ndarray, lids: np.ndarray | None, rotation: np.ndarray
    ) -> Described:
        """audio (n,), opening_mm (S, T), lids (S, T) metres or None, rotation (S, T, 3) radians."""
        tracks = [opening_mm] if lids is None else [opening_mm, 1000 * lids]
        loudness = float(np.sqrt(np.mean(np.square(audio, dtype=np.float64))))
        head = described(np.degrees(rotation)) if rotation.any() else None
        return cls(speaker, loudness, opening_mm.mean(1), described(np.stack(tracks, axis=2)), head)


@dataclass
class MotionSets:
    """The motions of each method, clip by clip, with those of the reference."""

    reference: str = "truth"
    clips: dict[str, dict[str, Described]] = field(default_factory=dict)

    def values(self, method: str, only: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Metric -> its value for each sample (S,), without metrics that have no value; of all clips, or of `only`."""
        clips = self.clips.get(method, {})
        found = [clips[name] for name in only or clips if name in clips]
        if not found:
            return {}
        true = [self.clips[self.reference][name] for name in only or clips if name in clips]
        n = min(len(one.opening) for one in found)
        loudness, speakers = np.array([one.loudness for one in found]), [one.speaker for one in found]
        values = {
            "slcc": [intensity_correlation(loudness, np.array([one.opening[s] for one in found]), speakers)
                     for s in range(n)],
            "frechet_face": [_distance([one.face[s] for one in found], [one.face[0] for one in true])
                             for s in range(n)],
        }  # fmt: skip
        both = [(a.head, b.head) for a, b in zip(found, true) if a.head is not None and b.head is not None]
        if both:
            values["frechet_head"] = [_distance([a[s] for a, _ in both], [b[0] for _, b in both]) for s in range(n)]
        arrays = {name: np.array(each) for name, each in values.items()}
        return {name: array for name, array in arrays.items() if np.isfinite(array).any()}


def _distance(made: list[np.ndarray], true: list[np.ndarray]) -> float:
    """Frechet distance of windows (W, d) of each clip, in units of the true windows' spread."""
    a, b = np.concatenate(made), np.concatenate(true)
    if len(b) < FEWEST:
        return float("nan")
    spread = np.maximum(b.std(0, ddof=1), 1e-6)
    return frechet_distance(a / spread, b / spread)
