"""The training loop of both scripts: optimiser, schedule, averaging, logs, validation, checkpoints, resume."""

import json
import logging
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from utils.errors import UserError
from utils.run_dir import iter_name
from utils.train_step import Learner, Loss, Step, StepConfig, eager_step, lr_factor

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainerConfig(StepConfig):
    """The loop's hyper-parameters; field names are flags of both training scripts."""

    max_iter: int = 200_000
    """Steps to train for."""
    save_iter: int = 10_000
    """Steps between checkpoints."""
    val_iter: int = 5000
    """Steps between validations."""
    log_iter: int = 50
    """Steps between log entries."""
    log_smooth_win: int = 50
    """Steps that a log entry averages."""


@dataclass(frozen=True)
class Task:
    """What a script gives the loop."""

    network: nn.Module
    prepare: Callable[[Any], Any]  # batch -> on the device, with whatever the host decides at random
    loss: Loss
    validate: Callable[[nn.Module], dict[str, float]] | None  # network -> scalars
    checkpoint: Callable[[nn.Module, int, dict], Any]  # (network, step, training state) -> object with .save(path)
    random_state: Callable[[], dict[str, Tensor]]


class Trainer:
    """Trains `task.network` in place. `network_for_use` is the averaged copy when averaging is on."""

    def __init__(
        self, config: TrainerConfig, task: Task, run: Path, make_step: Callable[[Learner, Loss], Step] = eager_step
    ) -> None:
        self.config, self.task, self.run, self.make_step = config, task, run, make_step
        self.learner = Learner(task.network, config)

    @property
    def step(self) -> int:
        """Steps done."""
        return self.learner.step

    @property
    def network_for_use(self) -> nn.Module:
        return self.learner.network if self.learner.average is None else self.learner.average

    def fit(self, batches: Iterator[Any]) -> None:
        """Train up to `max_iter`.

        Raises:
            UserError: the loss is not finite.
        """
        from torch.utils.tensorboard import SummaryWriter

        config, pending = self.config, []
        update = self.make_step(self.learner, self.task.loss)
        recent: dict[str, deque] = {}
        progress = tqdm(range(self.step, config.max_iter), initial=self.step, total=config.max_iter, desc="training")
        with SummaryWriter(self.run / "logs") as board, progress:
            for _ in progress:
                prepared = [self.task.prepare(next(batches)) for _ in range(config.gradient_accumulation_steps)]
                pending.append(update(prepared))
                self.learner.step += 1
                if self.step % config.log_iter == 0 or self.step == config.max_iter:
                    self._log(board, self._smooth(pending, recent))
                    pending.clear()
                if self.task.validate and (self.step % config.val_iter == 0 or self.step == config.max_iter):
                    self._log(board, {f"val/{k}": v for k, v in self._validate().items()})
                if self.step % config.save_iter == 0 or self.step == config.max_iter:
                    if pending:
                        self._require_finite(pending[-1]["total"].item())
                    self.save()

    def _smooth(self, pending: list[dict[str, Tensor]], recent: dict[str, deque]) -> dict[str, float]:
        """Means of the last `log_smooth_win` steps; the only place that waits for the GPU."""
        for name in {name for terms in pending for name in terms}:
            window = recent.setdefault(name, deque(maxlen=self.config.log_smooth_win))
            window.extend(torch.stack([terms[name] for terms in pending if name in terms]).tolist())
        means = {f"train/{name}": sum(window) / len(window) for name, window in sorted(recent.items())}
        self._require_finite(means["train/total"])
        means["train/lr"] = self.config.lr * lr_factor(self.config, self.step - 1)  # of the last step
        return means

    def _require_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise UserError(
                f"{self.run.name}: the loss is not finite at step {self.step}; lower --lr or check the data"
            )

    def _validate(self) -> dict[str, float]:
        network = self.network_for_use
        training = network.training
        network.eval()
        with torch.no_grad():
            scalars = self.task.validate(network)
        network.train(training)
        log.info("step %d: %s", self.step, ", ".join(f"{k} {v:.4g}" for k, v in scalars.items()))
        return scalars

    def _log(self, board: Any, scalars: dict[str, float]) -> None:
        """TensorBoard, and one JSON line for everybody else."""
        for name, value in scalars.items():
            board.add_scalar(name, value, self.step)
        with (self.run / "logs" / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": self.step, **scalars}) + "\n")

    def save(self) -> Path:
        """Write `checkpoints/iter_XXXXXXX.pt` with everything that resuming needs."""
        state = {"optimizer": self.learner.optimizer.state_dict(), "random": self.task.random_state()}
        if self.learner.average is not None:
            state["raw_model"] = self.task.network.state_dict()
        path = self.run / "checkpoints" / f"{iter_name(self.step)}.pt"
        self.task.checkpoint(self.network_for_use, self.step, state).save(path)
        return path

    def restore(self, model: dict[str, Tensor], training: dict[str, Any], step: int) -> None:
        """Continue from a checkpoint's weights and training state.

        Raises:
            UserError: the checkpoint was stripped of its training state.
        """
        if "optimizer" not in training:
            raise UserError(f"{self.run.name}: its checkpoint has no optimiser state; it cannot be resumed")
        self.task.network.load_state_dict(training.get("raw_model", model))
        if self.learner.average is not None:
            self.learner.average.load_state_dict(model)
        self.learner.optimizer.load_state_dict(training["optimizer"])
        self.learner.step = step
