"""Checks before the first step: a long run must not fail late because of a mistake that was there from the start."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from utils.errors import UserError
from utils.training.train_step import Learner
from utils.training.trainer import TrainerConfig

Result = TypeVar("Result")
_LEAST = {
    "batch_size": 1, "max_iter": 1, "log_iter": 1, "log_smooth_win": 1, "save_iter": 1, "val_iter": 0, "num_workers": 0,
    "gradient_accumulation_steps": 1, "warm_iter": 1, "keep_last": 0, "grad_clip": 0, "lr": 0, "ema_decay": 0,
    "val_clips": 0, "val_video_iter": 0, "repeat_clips": 1,
}  # fmt: skip


class Problems:
    """Runs independent checks and reports everything that is wrong together."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def check(self, work: Callable[..., Result], *arguments: Any) -> Result | None:
        """The result of `work`, or None after its UserError was noted."""
        try:
            return work(*arguments)
        except UserError as error:
            self.found.append(str(error))
            return None

    def report(self) -> None:
        """Raises:
        UserError: with all problems in one message.
        """
        found = list(dict.fromkeys(self.found))
        if len(found) == 1:
            raise UserError(found[0])
        if found:
            listed = " ".join(f"({i}) {problem}" for i, problem in enumerate(found, 1))
            raise UserError(f"{len(found)} problems: {listed}")


def check_numbers(config: TrainerConfig) -> None:
    """Raises UserError naming every flag that is out of range."""
    problems = Problems()
    for name, least in _LEAST.items():
        value = getattr(config, name, least)
        if not (math.isfinite(value) and value >= least):
            problems.found.append(f"--{name} {value}: must be at least {least}")
    video_iter = getattr(config, "val_video_iter", 0)
    if video_iter > 0 and (config.val_iter == 0 or video_iter % config.val_iter):
        problems.found.append(f"--val_video_iter {video_iter}: must be a multiple of --val_iter {config.val_iter}")
    if config.ema_decay >= 1:
        problems.found.append(f"--ema_decay {config.ema_decay}: must be less than 1; 0.999 is usual")
    if getattr(config, "resume", False) and getattr(config, "fresh", False):
        problems.found.append("--resume and --fresh: say the opposite; give one of them")
    problems.report()


def check_disk(learner: Learner, config: TrainerConfig, folder: Path) -> None:
    """Raises UserError when the checkpoints to come do not fit on the disk."""
    coming = math.ceil((config.max_iter - learner.step) / config.save_iter) + 1  # and the best
    if config.keep_last:
        coming = min(coming, config.keep_last + 2)  # a new one is written before an old one goes
    each = checkpoint_bytes(learner)
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < coming * each:
        raise UserError(
            f"{folder}: {coming} checkpoints of {each / 1e9:.2f} GB are to come, but the disk has only "
            f"{free / 1e9:.2f} GB left; free some, or use --keep_last or a larger --save_iter"
        )


def checkpoint_bytes(learner: Learner) -> int:
    """Approximate size of a checkpoint: weights, their average, and two moments of each trained weight."""
    weights = sum(value.nbytes for value in learner.network.state_dict().values())
    return weights * (1 if learner.average is None else 2) + 2 * sum(p.nbytes for p in learner.parameters)


def freeze(network: nn.Module, names: str | None) -> None:
    """Stop training parts of a network: modules or parameters by name, separated by commas.

    Raises:
        UserError: the network has no part of that name, or nothing is left to train.
    """
    for name in [name.strip() for name in (names or "").split(",") if name.strip()]:
        found = [p for path, p in network.named_parameters() if path == name or path.startswith(name + ".")]
        if not found:
            depth = name.count(".") + 1
            parts = ", ".join(dict.fromkeys(".".join(p.split(".")[:depth]) for p, _ in network.named_parameters()))
            raise UserError(f"--freeze {name}: the network has no part of this name; its parts: {parts}")
        for parameter in found:
            parameter.requires_grad_(False)
    if not any(p.requires_grad for p in network.parameters()):
        raise UserError(f"--freeze {names}: nothing is left to train; freeze less")
