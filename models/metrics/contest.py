"""The methods of an evaluation side by side: models that generate, results in files, and baselines."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.metrics.measure import Sampled
from models.metrics.predict import Predictor
from models.metrics.result_files import read_samples, save_samples
from models.metrics.score import mean_pose, other_clip, sampled
from models.metrics.suite import MEAN_POSE, MODEL, OTHER_CLIP, ScoredClip, Suite
from utils.coefs import CoefStats
from utils.exports.arkit import head_model_of
from utils.motion_file import Motion
from utils.speech import SpokenClip

_GROUP = 2  # batches of clips generated before they are scored
_EVEN = 8  # the number of groups is a multiple of it, so that 2, 4 or 8 processes have equal work


@dataclass(frozen=True)
class Task:
    """A clip to generate and to score."""

    clip: SpokenClip
    seed: int  # of the first sample
    others: Mapping[str, Motion]  # baseline -> its motion: a second take, the style's reference clip


@dataclass(frozen=True)
class Generated:
    """A model as a method."""

    predictor: Predictor
    styles: Mapping[str, np.ndarray]  # clip -> requested style (d,), as its style encoder sees it; empty: no style

    def __call__(self, tasks: Sequence[Task], device: torch.device) -> list[Sampled]:
        """The samples of every clip."""
        styles: list[Tensor | None] = [None] * len(tasks)
        if self.styles:
            styles = [torch.from_numpy(self.styles[task.clip.name]).to(device) for task in tasks]
        return self.predictor([task.clip for task in tasks], styles, [task.seed for task in tasks])


@dataclass(frozen=True)
class FromFiles:
    """Results of any other program as a method."""

    files: Mapping[str, list[Path]]  # clip -> its samples

    def __call__(self, tasks: Sequence[Task], device: torch.device) -> list[Sampled]:
        """The samples of every clip."""
        return [read_samples(self.files[task.clip.name], task.clip, device) for task in tasks]


@dataclass(frozen=True)
class Contest:
    """Scores methods and baselines, all on the same clips."""

    suite: Suite
    methods: Mapping[str, Generated | FromFiles]  # by name; the first is `model`
    stats: CoefStats | None  # of the training set, for the mean pose

    def groups(self, clips: Sequence[str]) -> list[list[str]]:
        """The clips that are generated together, whichever process does it: rounding depends on a batch's size.

        Group k has every n-th clip from number k on, so that all groups hold speakers and lengths of all kinds.
        """
        draws = [method.predictor.draw for method in self.methods.values() if isinstance(method, Generated)]
        size = min((max(1, _GROUP * draw.batch_size // draw.n_samples) for draw in draws), default=1)
        count = min(len(clips), _EVEN * math.ceil(len(clips) / size / _EVEN))
        return [list(clips[k::count]) for k in range(count)]

    def score(self, clips: Sequence[str], read: Callable[[str], Task], keep: Path | None = None) -> list[ScoredClip]:
        """Generate and score a group of clips.

        Args:
            read: a clip's name -> what is to be scored.
            keep: a folder for the motions of `model`; for those of other methods see `kept_folder`.
        """
        tasks = [read(clip) for clip in clips]
        motions = {name: method(tasks, self.suite.measure.device) for name, method in self.methods.items()}
        return [
            self._score(task, {name: found[i] for name, found in motions.items()}, keep) for i, task in enumerate(tasks)
        ]

    def _score(self, task: Task, motions: Mapping[str, Sampled], keep: Path | None) -> ScoredClip:
        if keep is not None:
            for name, motion in motions.items():
                save_samples(kept_folder(keep, name), task.clip, motion, head_model_of(self.suite.measure.flame.head))
        return self.suite.score(task.clip, {**motions, **self._baselines(task)})

    def _baselines(self, task: Task) -> dict[str, Sampled]:
        device, n = self.suite.measure.device, task.clip.n_frames
        found = {
            name: (other_clip(motion.exp, motion.pose, n, device) if name == OTHER_CLIP
                   else sampled(motion.exp[None], motion.pose[None], device))
            for name, motion in task.others.items()
        }  # fmt: skip
        if self.stats is not None:
            stats = self.stats.to(device)
            found[MEAN_POSE] = mean_pose(stats.exp_mean, stats.pose_mean, n)
        return found


def kept_folder(keep: Path, method: str) -> Path:
    """Where a method's motions are saved: `keep`, for all but `model` with the method's name."""
    return keep if method == MODEL else keep.with_name(f"{keep.name}-{method}")
