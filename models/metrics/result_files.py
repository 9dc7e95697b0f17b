"""Samples of clips as motion npz: those of other programs, matched to a data set by name, and ours."""

from __future__ import annotations

import glob
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from models.metrics.measure import Sampled
from models.metrics.score import sampled
from utils.errors import UserError
from utils.media.motion_length import check_length
from utils.motion_file import Motion, load_motion
from utils.speech import SpokenClip

log = logging.getLogger(__name__)
_ADVICE = "score the clip's own motion at 25 fps; scripts_for_dataset.import_coefs --fps {fps} changes the rate"


def find_results(folder: Path, clip: str) -> list[Path]:
    """Samples of `<person>/<video>` in a folder; empty if there is none.

    `<person>/<video>.npz` or `<person>_<video>.npz` is one sample; `..._000.npz`, `..._001.npz` and so on, as demo.py
    and evaluate.py write them, are several.
    """
    for stem in (clip, clip.replace("/", "_")):
        path = folder / f"{stem}.npz"
        if path.is_file():
            return [path]
        several = sorted(path.parent.glob(f"{glob.escape(path.stem)}_[0-9][0-9][0-9].npz"))
        if several:
            return several
    return []


def match_results(folder: Path, clips: list[str]) -> dict[str, list[Path]]:
    """Clip -> its files, for the clips that have any.

    Raises:
        UserError: no such folder, or no file is named like a clip.
    """
    if not folder.is_dir():
        raise UserError(f"--coef_dir {folder}: no such folder; give one with npz files")
    found = {clip: files for clip in clips if (files := find_results(folder, clip))}
    if not found:
        raise UserError(
            f"--coef_dir {folder}: no npz is named like a clip of the split; name them {clips[0]}.npz or "
            f"{clips[0].replace('/', '_')}.npz"
        )
    return found


def strangers(folder: Path, found: dict[str, list[Path]]) -> list[str]:
    """Names of the npz files in a folder of results that belong to none of its clips."""
    known = {path for paths in found.values() for path in paths}
    others = (path.relative_to(folder) for path in folder.rglob("*.npz") if path not in known)
    return sorted(str(path) for path in others if "evaluation" not in path.parts)


def read_samples(paths: Sequence[Path], clip: SpokenClip, device: torch.device) -> Sampled:
    """Motions of one clip, cut to the shortest one and to the clip.

    Raises:
        UserError: an unreadable or damaged file, or one that is longer or shorter than the clip by more than 5 %.
    """
    motions = [load_motion(path) for path in paths]
    for motion in motions:
        check_length(len(motion), clip.n_frames, motion.source, _ADVICE)
    n = min(clip.n_frames, *(len(motion) for motion in motions))
    return sampled(np.stack([m.exp[:n] for m in motions]), np.stack([m.pose[:n] for m in motions]), device)


def save_samples(folder: Path, clip: SpokenClip, motion: Sampled, head_model: str) -> None:
    """Write <person>_<video>_000.npz and so on with the clip's head shape."""
    for i, (exp, pose) in enumerate(zip(motion.exp.cpu().numpy(), motion.pose.cpu().numpy())):
        path = folder / f"{clip.name.replace('/', '_')}_{i:03d}.npz"
        Motion(exp, pose, clip.truth.shape, clip.name, head_model).save(path)
