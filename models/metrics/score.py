"""One clip's samples against the truth -> the quotients of every metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from models.metrics import head as heads
from models.metrics.lips import ClosureRule, closures
from models.metrics.measure import HeadMeasure, Sampled, Tracks
from models.metrics.synchrony import correlation, lag_curve, whole_lag
from models.metrics.upper_face import count_blinks, lids_shut
from models.metrics.warping import misalignments
from utils.speech import SpokenClip
from utils.timebase import FPS


@dataclass(frozen=True)
class Quotient:
    """A clip's part of a pooled quotient; a denominator of 0 means that the clip does not count."""

    numerator: np.ndarray  # (S,)
    denominator: np.ndarray  # (S,)

    @classmethod
    def of(cls, numerator: object, denominator: object = 1.0) -> Quotient:
        """Broadcast both to (S,); where one is not finite, both become 0."""
        pair = np.broadcast_arrays(np.atleast_1d(np.asarray(numerator, float)), np.asarray(denominator, float))
        known = np.isfinite(pair[0]) & np.isfinite(pair[1])
        return cls(*(np.where(known, x, 0.0) for x in pair))


Quotients = dict[str, Quotient]
LAG_REACH, LAG_OVERLAP = 12, 25  # frames: the largest lag, and the overlap that a clip needs at this lag


class ClipTruth:
    """A clip's true motion, measured once for all methods that are compared with it."""

    def __init__(self, clip: SpokenClip, measure: HeadMeasure, whole: bool = True) -> None:
        self.clip, self.measure, self.whole = clip, measure, whole
        self.shape = torch.from_numpy(np.ascontiguousarray(clip.truth.shape)).to(measure.device)
        self.motion = sampled(clip.truth.exp[None], clip.truth.pose[None], measure.device)
        self.tracks = measure(self.motion, self.shape, whole=False)

    def score(self, motion: Sampled, rule: ClosureRule) -> tuple[Quotients, Tracks]:
        """Quotients of all metrics except those of style, and the tracks, for S motions of the clip's speech.

        A motion that ends early is compared up to its end.
        """
        n = min(motion.n_frames, self.motion.n_frames)
        motion, truth, true = motion.cut(n), self.motion.cut(n), self.tracks
        if n < self.motion.n_frames:
            true = self.measure(truth, self.shape, whole=False)
        tracks = self.measure(motion, self.shape, truth, self.whole)
        quotients = _vertices(tracks, true, n) | _opening(tracks, true, n)
        if self.clip.phones is not None:
            found = [closures(track, self.clip.phones, rule) for track in tracks.opening_mm]
            expected = [c.expected for c in found]
            quotients["closure_recall"] = Quotient.of([c.found for c in found], expected)
            quotients["closure_chance"] = Quotient.of([c.by_chance for c in found], expected)
        blinks = _blinks(motion, tracks, self.measure.regions.blink_units)
        if blinks is not None:
            quotients["blink_rate"] = Quotient.of(blinks, n / FPS / 60)
        return quotients | _head(motion.pose[..., :3].cpu().numpy(), truth.pose[0, :, :3].cpu().numpy()), tracks


def sampled(exp: np.ndarray, pose: np.ndarray, device: torch.device) -> Sampled:
    """Raw exp (S, T, 50), pose (S, T, 6) as tensors on a device."""
    return Sampled(*(torch.from_numpy(np.ascontiguousarray(x, np.float32)).to(device) for x in (exp, pose)))


def _vertices(tracks: Tracks, true: Tracks, n: int) -> Quotients:
    assert tracks.lip_distance is not None, "measured against the truth"
    distance = tracks.lip_distance.astype(np.float64)
    square = (distance**2).sum(1)
    quotients = {
        "lve": Quotient.of(1000 * distance.sum(1), n),
        "lve_sq": Quotient.of(square, n),
        "lve_rms": Quotient.of(1e6 * square, n),
        "fdd": Quotient.of(true.dynamics - tracks.dynamics),
        "jitter": Quotient.of(tracks.jitter * (n - 2), true.jitter * (n - 2)),
    }
    if len(distance) > 1:
        quotients["lve_best"] = Quotient.of(1000 * distance.sum(1).min(), n)
    if tracks.mean_distance is not None:
        quotients["mhd"] = Quotient.of(1000 * tracks.mean_distance * n, n)
    if tracks.diversity is not None:
        quotients["diversity"] = Quotient.of(1000 * tracks.diversity)
    return quotients


def _opening(tracks: Tracks, true: Tracks, n: int) -> Quotients:
    predicted, truth = tracks.opening_mm.astype(np.float64), true.opening_mm[0].astype(np.float64)
    reach = min(LAG_REACH, max(n - LAG_OVERLAP, 0))
    late = [misalignments(track, truth) for track in predicted]
    lag = np.array([whole_lag(lag_curve(track, truth, reach)) for track in predicted], float)  # None: NaN
    return {
        "mod": Quotient.of(np.abs(predicted - truth).sum(1), n),
        "opening_correlation": Quotient.of([correlation(track, truth) for track in predicted]),
        "mtm": Quotient.of([1000 / FPS * each.sum() for each in late], [len(each) for each in late]),
        "sync_lag": Quotient.of(lag),
        "sync_lag_abs": Quotient.of(np.abs(lag)),
        "opening_ratio": Quotient.of(predicted.var(1) * n, truth.var() * n),
    }


def _blinks(motion: Sampled, tracks: Tracks, units: tuple[int, ...]) -> list[int] | None:
    """Blinks of every sample; None if the head has neither blink expressions nor lid landmarks."""
    if units:
        return [count_blinks(track) for track in motion.exp[..., list(units)].mean(-1).cpu().numpy()]
    if tracks.lid_aperture is None:
        return None
    return [count_blinks(lids_shut(track)) for track in tracks.lid_aperture]


def _head(rotation: np.ndarray, truth: np.ndarray) -> Quotients:
    """rotation (S, T, 3), truth (T, 3). A prediction without any head rotation (exactly 0) is not scored."""
    if not rotation.any() or not truth.any():
        return {}
    true_beats, n = heads.beats(truth), len(truth)
    found = [heads.beats(track) for track in rotation]
    quotients = {
        "ba": Quotient.of([heads.alignment(each, true_beats).sum() for each in found], len(true_beats)),
        "beat_ratio": Quotient.of([len(each) for each in found], len(true_beats)),
    }
    for i, axis in enumerate(heads.AXES):
        quotients[f"head_std_{axis}"] = Quotient.of(rotation[..., i].var(1) * n, truth[:, i].var() * n)
        centroids = [heads.spectral_centroid(track) for track in rotation[..., i]]
        quotients[f"head_centroid_{axis}"] = Quotient.of(centroids, heads.spectral_centroid(truth[:, i]))
    if len(rotation) > 1:
        quotients["diversity_head"] = Quotient.of(np.degrees(_mean_angle(rotation)))
    return quotients


def _mean_angle(rotation: np.ndarray) -> float:
    """Mean angle between the rotations of all pairs of samples (S, T, 3), radians."""
    turns = [Rotation.from_rotvec(track.astype(np.float64)) for track in rotation]
    pairs = [(a.inv() * b).magnitude().mean() for i, a in enumerate(turns) for b in turns[i + 1 :]]
    return float(np.mean(pairs))


def mean_pose(exp: Tensor, pose: Tensor, n_frames: int) -> Sampled:
    """Baseline: the training data's mean exp (50,) and pose (6,), held still for n frames."""
    return Sampled(exp.expand(1, n_frames, -1), pose.expand(1, n_frames, -1))


def other_clip(exp: np.ndarray, pose: np.ndarray, n_frames: int, device: torch.device) -> Sampled:
    """Baseline: another clip's motion exp (T, 50), pose (T, 6), cut to n frames or repeated from its start."""
    rows = np.arange(n_frames) % len(exp)
    return sampled(exp[rows][None], pose[rows][None], device)
