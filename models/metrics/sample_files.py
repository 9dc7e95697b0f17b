"""Samples of a clip as motion npz: reads those of other programs, writes ours."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from models.metrics.measure import Sampled
from models.metrics.score import sampled
from utils.motion_file import Motion, load_motion
from utils.speech import SpokenClip

log = logging.getLogger(__name__)
_TAIL = 25  # frames that may be missing at the end without a warning


def read_samples(paths: Sequence[Path], clip: SpokenClip, device: torch.device) -> Sampled:
    """Motions of one clip, cut to the shortest one; logs a warning if it ends more than a second before the clip.

    Raises:
        UserError: an unreadable or damaged file.
    """
    motions = [load_motion(path) for path in paths]
    n = min(len(motion) for motion in motions)
    if clip.n_frames - n > _TAIL:
        log.warning("%s: ends %d frames before its clip; scoring up to there", motions[0].source, clip.n_frames - n)
    return sampled(np.stack([m.exp[:n] for m in motions]), np.stack([m.pose[:n] for m in motions]), device)


def save_samples(folder: Path, clip: SpokenClip, motion: Sampled) -> None:
    """Write <person>_<video>_000.npz and so on with the clip's head shape, for `models.metrics.result_files`."""
    for i, (exp, pose) in enumerate(zip(motion.exp.cpu().numpy(), motion.pose.cpu().numpy())):
        Motion(exp, pose, clip.truth.shape).save(folder / f"{clip.name.replace('/', '_')}_{i:03d}.npz")
