"""A small clip store for tests: known, cheap content."""

from pathlib import Path

import numpy as np

from datasets.clip_store import ClipWriter
from utils.coefs import DIMS

LEGACY = Path(__file__).resolve().parents[1] / "golden" / "legacy_lmdb"


def clip_content(n_frames: int, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """16 bit exact audio (640 n,) and coefficients of n frames; coefficient 0 of exp is the frame number."""
    random = np.random.default_rng(seed)
    audio = (random.integers(-9000, 9000, 640 * n_frames) / 32768).astype(np.float32)
    coefs = {name: random.standard_normal((n_frames, width)).astype(np.float32) for name, width in DIMS.items()}
    coefs["shape"][:] = coefs["shape"][0]
    coefs["exp"][:, 0] = np.arange(n_frames)
    return audio, coefs


def write_store(path: Path, lengths: dict[str, int], seg_len: int = 100) -> Path:
    """A finished store of clips with the given lengths in frames; clip i has seed i."""
    with ClipWriter(path, seg_len) as writer:
        for seed, (clip, n_frames) in enumerate(lengths.items()):
            writer.add_clip(clip, *clip_content(n_frames, seed))
    return path
