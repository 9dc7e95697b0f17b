"""The training loop of both scripts: optimiser, schedule, averaging, logs, validation, checkpoints, resume."""

import copy
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

log = logging.getLogger(__name__)
SCHEDULERS = ("None", "Warmup", "WarmupThenDecay")


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """The loop's hyper-parameters; field names are flags of both training scripts."""

    max_iter: int = 200_000
    """Steps to train for."""
    lr: float = 1e-4
    """Learning rate (Adam)."""
    save_iter: int = 10_000
    """Steps between checkpoints."""
    val_iter: int = 5000
    """Steps between validations."""
    log_iter: int = 50
    """Steps between log entries."""
    log_smooth_win: int = 50
    """Steps that a log entry averages."""
    gradient_accumulation_steps: int = 1
    """Batches per step; their gradients are averaged."""
    scheduler: str = "None"
    """Learning rate: None (constant), Warmup, or WarmupThenDecay."""
    warm_iter: int = 5000
    """Steps of linear warm-up."""
    cos_max_iter: int = 120_000
    """Step at which WarmupThenDecay's cosine ends."""
    min_lr_ratio: float = 0.02
    """Where that cosine ends, relative to lr."""
    ema_decay: float = 0.0
    """Keep and save an exponential moving average of the weights with this decay; 0: off."""


def lr_factor(config: TrainerConfig, step: int) -> float:
    """Learning rate of `step` (from 0) relative to `lr`: linear warm-up, then constant or a cosine down."""
    if config.scheduler == "None":
        return 1.0
    if step < config.warm_iter:
        return (step + 1) / config.warm_iter
    if config.scheduler == "Warmup":
        return 1.0
    progress = min(1.0, (step - config.warm_iter) / max(1, config.cos_max_iter - config.warm_iter))
    return config.min_lr_ratio + (1 - config.min_lr_ratio) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Task:
    """What a script gives the loop."""

    network: nn.Module
    loss: Callable[[Any], tuple[Tensor, dict[str, Tensor]]]  # batch -> (total, terms)
    validate: Callable[[nn.Module], dict[str, float]] | None  # network -> scalars
    checkpoint: Callable[[nn.Module, int, dict], Any]  # (network, step, training state) -> object with .save(path)
    random_state: Callable[[], dict[str, Tensor]]


class Trainer:
    """Trains `task.network` in place. `network_for_use` is the averaged copy when averaging is on."""

    def __init__(self, config: TrainerConfig, task: Task, run: Path) -> None:
        self.config, self.task, self.run = config, task, run
        self.parameters = [p for p in task.network.parameters() if p.requires_grad]
        on_gpu = next(task.network.parameters()).is_cuda
        self.optimizer = torch.optim.Adam(self.parameters, lr=config.lr, fused=on_gpu)
        self.average = copy.deepcopy(task.network).requires_grad_(False) if config.ema_decay > 0 else None
        self.step = 0

    @property
    def network_for_use(self) -> nn.Module:
        return self.task.network if self.average is None else self.average

    def fit(self, batches: Iterator[Any]) -> None:
        """Train up to `max_iter`.

        Raises:
            UserError: the loss is not finite.
        """
        from torch.utils.tensorboard import SummaryWriter

        config, pending = self.config, []
        recent: dict[str, deque] = {}
        progress = tqdm(range(self.step, config.max_iter), initial=self.step, total=config.max_iter, desc="training")
        with SummaryWriter(self.run / "logs") as board, progress:
            for _ in progress:
                pending.append(self._update(batches))
                self.step += 1
                if self.step % config.log_iter == 0 or self.step == config.max_iter:
                    self._log(board, self._smooth(pending, recent))
                    pending.clear()
                if self.task.validate and (self.step % config.val_iter == 0 or self.step == config.max_iter):
                    self._log(board, {f"val/{k}": v for k, v in self._validate().items()})
                if self.step % config.save_iter == 0 or self.step == config.max_iter:
                    if pending:
                        self._require_finite(pending[-1]["total"].item())
                    self.save()

    def _update(self, batches: Iterator[Any]) -> dict[str, Tensor]:
        """One optimiser step over `gradient_accumulation_steps` batches, whose gradients are averaged."""
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr * lr_factor(config, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for _ in range(config.gradient_accumulation_steps):
            total, terms = self.task.loss(next(batches))
            (total / config.gradient_accumulation_steps).backward()
            for name, value in {"total": total, **terms}.items():
                sums[name] = sums.get(name, 0) + value.detach() / config.gradient_accumulation_steps
        self.optimizer.step()
        self._update_average()
        return sums

    @torch.no_grad()
    def _update_average(self) -> None:
        if self.average is None:
            return
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))  # follows closely at first
        pairs = [(a, p) for a, p in zip(self.average.parameters(), self.task.network.parameters())]
        torch._foreach_lerp_([a for a, _ in pairs], [p for _, p in pairs], 1 - decay)

    def _smooth(self, pending: list[dict[str, Tensor]], recent: dict[str, deque]) -> dict[str, float]:
        """Means of the last `log_smooth_win` steps; the only place that waits for the GPU."""
        for name in {name for terms in pending for name in terms}:
            window = recent.setdefault(name, deque(maxlen=self.config.log_smooth_win))
            window.extend(torch.stack([terms[name] for terms in pending if name in terms]).tolist())
        means = {f"train/{name}": sum(window) / len(window) for name, window in sorted(recent.items())}
        self._require_finite(means["train/total"])
        means["train/lr"] = self.optimizer.param_groups[0]["lr"]
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
        state = {"optimizer": self.optimizer.state_dict(), "random": self.task.random_state()}
        if self.average is not None:
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
        if self.average is not None:
            self.average.load_state_dict(model)
        self.optimizer.load_state_dict(training["optimizer"])
        self.step = step
