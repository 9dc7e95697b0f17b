"""What is in a data set, clip by clip: ranges, outliers, frozen or jumping motion, silent audio, duplicates."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from datasets.clip_store import ClipStore
from datasets.splits import group_by_person
from utils.coefs import DIMS
from utils.errors import UserError
from utils.timebase import FPS, samples_per_frame

WIDTH = sum(DIMS.values())
NAMES = [f"{name}[{i}]" for name, width in DIMS.items() for i in range(width)]
SILENT, CLIPPED, LOUD = 1e-4, 1e-3, 0.999  # peak of silence; share of clipped samples that is reported; full scale
FROZEN, JUMP, AWAY = 12, 20.0, 90.0  # frames without change; degrees that the head turns in a frame, and off the front
OUTLIER = 15.0  # standard deviations of the data set


@dataclass(frozen=True)
class ClipFacts:
    """One clip; sums, squares and extremes are per coefficient (156,), in the order shape, exp, pose."""

    clip: str
    n_frames: int = 0
    problem: str = ""  # why it cannot be read
    sums: np.ndarray = field(default_factory=lambda: np.zeros(WIDTH))
    squares: np.ndarray = field(default_factory=lambda: np.zeros(WIDTH))
    low: np.ndarray = field(default_factory=lambda: np.full(WIDTH, np.inf))
    high: np.ndarray = field(default_factory=lambda: np.full(WIDTH, -np.inf))
    frozen: int = 0  # longest stretch of equal frames
    jump: float = 0.0  # largest turn of the head between two frames, degrees
    turned: float = 0.0  # median angle of the head from the front, degrees
    peak: float = np.nan  # of the audio that was read
    level: float = np.nan  # root mean square
    clipped: float = np.nan  # share of samples at full scale
    motion_digest: str = ""
    audio_digest: str = ""


def look_at(store: ClipStore, clip: str, all_audio: bool = False) -> ClipFacts:
    """Read a clip's coefficients and the audio of its first segment (or `all_audio`). Damage is reported as well."""
    try:
        n_frames = store.n_frames(clip)
        heard = n_frames if all_audio else min(n_frames, store.seg_len)
        audio, coefs = store.read_frames(clip, 0, heard).audio, store.read_coefs(clip)
        values = np.concatenate([coefs[name] for name in DIMS], axis=1).astype(np.float64)
        if not np.isfinite(values).all():
            return ClipFacts(clip, n_frames, "holds NaN or infinite coefficients")
    except UserError as error:
        return ClipFacts(clip, problem=str(error))
    jump, turned = _head(coefs["pose"][:, :3])
    face = np.concatenate([coefs["exp"], coefs["pose"]], axis=1)
    return ClipFacts(
        clip,
        n_frames,
        sums=values.sum(axis=0),
        squares=(values**2).sum(axis=0),
        low=values.min(axis=0),
        high=values.max(axis=0),
        frozen=longest_still(face),
        jump=jump,
        turned=turned,
        peak=float(np.abs(audio).max()),
        level=float(np.sqrt((audio.astype(np.float64) ** 2).mean())),
        clipped=float((np.abs(audio) >= LOUD).mean()),
        motion_digest=_digest(face),
        audio_digest=_digest(audio[: store.seg_len * samples_per_frame()]),
    )


def _head(rotation: np.ndarray) -> tuple[float, float]:
    """Largest turn between frames and median turn from the front, in degrees, of axis-angles (T, 3)."""
    from scipy.spatial.transform import Rotation

    turns = Rotation.from_rotvec(rotation)
    steps = (turns[:-1].inv() * turns[1:]).magnitude() if len(rotation) > 1 else np.zeros(1)
    return float(np.degrees(steps.max())), float(np.degrees(np.median(turns.magnitude())))


def longest_still(values: np.ndarray) -> int:
    """Length in frames of the longest stretch of equal rows of (T, C)."""
    changes = np.flatnonzero((np.diff(values, axis=0) != 0).any(axis=1)) + 1
    return int(np.diff(np.r_[0, changes, len(values)]).max())


def _digest(values: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=12).hexdigest()


@dataclass(frozen=True)
class Summary:
    """The whole data set; lists name clips."""

    clips: int
    speakers: int
    hours: float
    frames: dict[str, int]  # min, median, max of the clips
    too_short: int  # clips of fewer frames than training takes
    broken: dict[str, str]
    silent: list[str]
    clipped: list[str]
    frozen: dict[str, int]
    jumps: dict[str, float]
    turned_away: dict[str, float]
    same_motion: list[list[str]]
    same_audio: list[list[str]]
    outliers: dict[str, str]
    coefficients: dict[str, dict[str, float]]

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def summarise(facts: Sequence[ClipFacts], needed_frames: int = 210) -> Summary:
    """Put the clips' facts together."""
    whole = [f for f in facts if not f.problem]
    lengths = np.array([f.n_frames for f in whole] or [0])
    mean, std = moments(whole)
    coefficients = {
        NAMES[i]: {
            "mean": mean[i],
            "std": std[i],
            "min": min(f.low[i] for f in whole),
            "max": max(f.high[i] for f in whole),
        }
        for i in range(WIDTH if whole else 0)
    }
    return Summary(
        clips=len(facts),
        speakers=len(group_by_person(f.clip for f in facts)),
        hours=float(lengths.sum() / FPS / 3600),
        frames={"min": int(lengths.min()), "median": int(np.median(lengths)), "max": int(lengths.max())},
        too_short=int((lengths < needed_frames).sum()) if whole else 0,
        broken={f.clip: f.problem for f in facts if f.problem},
        silent=[f.clip for f in whole if f.peak < SILENT],
        clipped=[f.clip for f in whole if f.clipped > CLIPPED],
        frozen={f.clip: f.frozen for f in whole if f.frozen > FROZEN},
        jumps={f.clip: round(f.jump, 1) for f in whole if f.jump > JUMP},
        turned_away={f.clip: round(f.turned, 1) for f in whole if f.turned > AWAY},
        same_motion=_same({f.clip: f.motion_digest for f in whole}),
        same_audio=_same({f.clip: f.audio_digest for f in whole if f.peak >= SILENT}),
        outliers=_outliers(whole, mean, std),
        coefficients=coefficients,
    )


def moments(facts: Sequence[ClipFacts]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each coefficient over all frames, (156,) each."""
    n = max(sum(f.n_frames for f in facts), 1)
    mean = sum((f.sums for f in facts), np.zeros(WIDTH)) / n
    square = sum((f.squares for f in facts), np.zeros(WIDTH)) / n
    return mean, np.sqrt(np.maximum(square - mean**2, 0))


def _same(digests: dict[str, str]) -> list[list[str]]:
    groups = defaultdict(list)
    for clip, digest in digests.items():
        groups[digest].append(clip)
    return [group for group in groups.values() if len(group) > 1]


def _outliers(facts: Sequence[ClipFacts], mean: np.ndarray, std: np.ndarray) -> dict[str, str]:
    """Clip -> its coefficient furthest from the mean, if that is more than OUTLIER standard deviations."""
    found = {}
    scale = np.where(std > 1e-8, std, np.inf)
    for f in facts:
        far = np.maximum(f.high - mean, mean - f.low) / scale
        worst = int(far.argmax())
        if far[worst] > OUTLIER:
            value = f.high[worst] if f.high[worst] - mean[worst] > mean[worst] - f.low[worst] else f.low[worst]
            found[f.clip] = f"{NAMES[worst]} = {value:.3g}, {far[worst]:.0f} standard deviations out"
    return found
