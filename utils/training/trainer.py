"""The training loop of both scripts: logs, validation, checkpoints, resume around one replaceable step."""

from __future__ import annotations

import logging
import math
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from utils.atomic import atomic_path
from utils.config import flag
from utils.errors import UserError
from utils.runs.kept_checkpoints import KeptCheckpoints
from utils.runs.run_log import LOGGERS, RunLog
from utils.training.train_step import Learner, Loss, Step, StepConfig, eager_step, lr_factor

if TYPE_CHECKING:
    from accelerate import Accelerator

log = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)
Scalars = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class TrainerConfig(StepConfig):
    """The loop's hyper-parameters; field names are flags of both training scripts."""

    max_iter: int = 200_000
    """Steps to train for."""
    save_iter: int = 10_000
    """Steps between checkpoints."""
    val_iter: int = 5000
    """Steps between validations; 0: only after the last step."""
    log_iter: int = 50
    """Steps between log entries."""
    log_smooth_win: int = 50
    """Steps that a log entry averages."""
    keep_last: int = 0
    """Checkpoints to keep, besides the best by validation; 0: all."""
    log_with: str = flag("tensorboard", choices=LOGGERS)
    """Where the log goes besides logs/metrics.jsonl: {choices}."""


@dataclass(frozen=True)
class Task(Generic[Network]):
    """What a script gives the loop."""

    network: Network
    begin_step: Callable[[int], None]  # seed every random number of a step
    prepare: Callable[[Any], Any]  # batch -> on the device, with whatever the host decides at random
    loss: Loss
    validate: Callable[[Network], Scalars]  # network -> scalars; all processes call it, and share the work
    checkpoint: Callable[[Network, int, dict], Any]  # (network, step, training state) -> object with .save(path)
    best_by: str = "total"  # which validation scalar the best checkpoint has lowest
    illustrate: Callable[[int], dict[str, np.ndarray]] | None = None  # step -> pictures of the validation just done


class Trainer:
    """Trains `task.network` in place. `network_for_use` is the averaged copy when averaging is on."""

    def __init__(
        self,
        config: TrainerConfig,
        task: Task,
        run: Path,
        accelerator: Accelerator,
        make_step: Callable[[Learner, Loss], Step] = eager_step,
    ) -> None:
        self.config, self.task, self.run, self.accelerator, self.make_step = config, task, run, accelerator, make_step
        self.learner = Learner(task.network, config, accelerator)
        self.kept = KeptCheckpoints(run, config.keep_last)
        self._pending: list[dict[str, Tensor]] = []  # losses still on the device
        self._recent: dict[str, deque] = {}  # the last ones, which a log entry averages
        self._clock = _Clock()

    @property
    def step(self) -> int:
        """Steps done."""
        return self.learner.step

    @property
    def network_for_use(self) -> nn.Module:
        return self.learner.network if self.learner.average is None else self.learner.average

    def fit(self, batches_from: Callable[[int], Iterator[Any]]) -> None:
        """Train up to `max_iter`. `batches_from(n)` are this process's batches from number n on.

        Raises:
            UserError: the loss is not finite; the batch is saved in the run's folder.
        """
        config, first = self.config, self.accelerator.is_main_process
        update = self.make_step(self.learner, self.task.loss)
        batches = batches_from(self.step * config.gradient_accumulation_steps)
        steps = range(self.step, config.max_iter)
        progress = tqdm(steps, initial=self.step, total=config.max_iter, desc="training", disable=not first)
        self._clock.restart(self.step)
        with (
            RunLog(self.run / "logs", self.step, first, config.log_with) as self.log,
            progress,
            _Termination() as termination,
        ):
            for _ in progress:
                self.task.begin_step(self.step)
                fetched = [self._clock.wait(batches) for _ in range(config.gradient_accumulation_steps)]
                prepared = [self.task.prepare(batch) for batch in fetched]
                self._pending.append(update(prepared))
                self.learner.step += 1
                if self._due(config.log_iter):
                    self._collect(batches_from)
                    self.log.write(self.step, self._training_scalars(prepared))
                if self._due(config.val_iter):
                    self._collect(batches_from)
                    self._validate()
                ending = self._is_ending(termination)
                if self._due(config.save_iter) or ending:
                    self._collect(batches_from)
                    self.save()
                if ending:
                    if first:
                        log.info("terminated after step %d, which is saved; the same command continues", self.step)
                    sys.exit(128 + signal.SIGTERM)

    def _is_ending(self, termination: _Termination) -> bool:
        """Whether any process has received a SIGTERM; several processes agree on the step when they log."""
        if self.accelerator.num_processes == 1:
            return termination.asked
        if not self._due(self.config.log_iter):
            return False
        asked = torch.tensor([float(termination.asked)], device=self.accelerator.device)
        return self._reduced(asked, "sum").item() > 0

    def _reduced(self, values: Tensor, how: str) -> Tensor:
        """The "sum" or "mean" of a tensor over all processes."""
        reduced = self.accelerator.reduce(values, how)
        assert isinstance(reduced, Tensor)  # accelerate also takes mappings of them
        return reduced

    def _due(self, interval: int) -> bool:
        return self.step == self.config.max_iter or (interval > 0 and self.step % interval == 0)

    def _collect(self, batches_from: Callable[[int], Iterator[Any]]) -> None:
        """Fetch the losses since the last call, averaged over processes: the only wait for the device.

        Raises:
            UserError: one is not finite.
        """
        if not self._pending:
            return
        names = sorted(self._pending[0])
        local = torch.stack([losses[name].float() for losses in self._pending for name in names])
        rows = self._reduced(local, "mean").view(-1, len(names)).tolist()
        first_step = self.step - len(rows) + 1
        self._pending.clear()
        for step, row in enumerate(rows, first_step):
            if not math.isfinite(row[names.index("total")]):
                self._stop(step, batches_from)
            for name, value in zip(names, row):
                self._recent.setdefault(name, deque(maxlen=self.config.log_smooth_win)).append(value)

    def _stop(self, step: int, batches_from: Callable[[int], Iterator[Any]]) -> None:
        """End the run at a loss that is not finite, with the batch that gave it in a file."""
        number = self.config.gradient_accumulation_steps
        batches = batches_from((step - 1) * number)  # the same again: their order is a function of the step
        path = self.run / f"not_finite_{step:07d}_{self.accelerator.process_index}.pt"
        with atomic_path(path) as temporary:
            torch.save({"step": step, "batches": [next(batches) for _ in range(number)]}, temporary)
        raise UserError(
            f"{self.run.name}: the loss is not finite at step {step}; its batch is in {path}; "
            "lower --lr, set --grad_clip 1, or check the data"
        )

    def _training_scalars(self, prepared: list[Any]) -> dict[str, float]:
        """Means of the last `log_smooth_win` steps, the learning rate, and the speed."""
        scalars = {f"train/{name}": sum(values) / len(values) for name, values in sorted(self._recent.items())}
        scalars["train/lr"] = self.config.lr * lr_factor(self.config, self.step - 1)  # of the last step
        items = len(prepared) * _batch_size(prepared[0]) * self.accelerator.num_processes
        scalars |= self._clock.scalars(self.step, items)
        if torch.cuda.is_available() and self.accelerator.device.type == "cuda":
            scalars["speed/memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
        return scalars

    def _validate(self) -> None:
        """Validate, each process its share of the data; the first one logs it."""
        network = self.network_for_use
        training = network.training
        network.eval()
        with torch.no_grad():
            scalars = self.task.validate(network)
        network.train(training)
        pictures = self.task.illustrate(self.step) if self.task.illustrate else {}
        if self.accelerator.is_main_process:
            self._record(scalars, pictures)
        self.accelerator.wait_for_everyone()
        self._clock.restart(self.step)

    def _record(self, scalars: Scalars, pictures: dict[str, np.ndarray]) -> None:
        """Log a validation, and keep a checkpoint if it is the best so far."""
        log.info("step %d: %s", self.step, ", ".join(f"{k} {v:.4g}" for k, v in scalars.items()))
        self.log.write(self.step, {f"val/{k}": v for k, v in scalars.items()})
        for name, pixels in pictures.items():
            self.log.picture(self.step, f"val/{name}", pixels)
        value = scalars.get(self.task.best_by, math.nan)
        if self.kept.is_best(value):
            best = {"step": self.step, "value": value, "regular": self._due(self.config.save_iter)}
            if not best["regular"]:  # or it is saved right after this
                self.save({"best": best})
            self.kept.set_best(**best)

    def save(self, more: dict[str, Any] | None = None) -> Path:
        """Write `checkpoints/iter_XXXXXXX.pt` with everything that resuming needs (the first process does)."""
        path = self.kept.path(self.step)
        if self.accelerator.is_main_process:
            recent = {name: list(values) for name, values in self._recent.items()}
            state = {**self.learner.state(), "recent": recent, **(more or {})}
            self.task.checkpoint(self.network_for_use, self.step, state).save(path)
            self.kept.prune()
        self._clock.restart(self.step)
        return path

    def restore(self, model: dict[str, Tensor], training: dict[str, Any], step: int) -> None:
        """Continue from a checkpoint's weights and training state.

        Raises:
            UserError: the checkpoint was stripped of its training state.
        """
        self.learner.restore(model, training, step, self.run.name)
        window = self.config.log_smooth_win
        self._recent = {name: deque(values, window) for name, values in training.get("recent", {}).items()}
        if "best" in training and self.accelerator.is_main_process:  # a kill may have come before it was recorded
            self.kept.set_best(**training["best"])


def _batch_size(batch: Any) -> int:
    """Items in a prepared batch: the length of its first tensor."""
    while not isinstance(batch, Tensor):
        batch = next(iter(batch.values())) if isinstance(batch, dict) else batch[0]
    return len(batch)


class _Termination:
    """Remembers a SIGTERM, as job schedulers send it, until the step is done. (A SIGKILL only costs more steps.)"""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> _Termination:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, lambda *_: setattr(self, "asked", True))
        return self

    def __exit__(self, *error) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._before or signal.SIG_DFL)  # None: was not set by Python


class _Clock:
    """Throughput since the last log entry, without the time that validating and saving took."""

    def __init__(self) -> None:
        self.restart(0)

    def restart(self, step: int) -> None:
        self._start, self._step, self._waited = time.perf_counter(), step, 0.0

    def wait(self, batches: Iterator[Any]) -> Any:
        before = time.perf_counter()
        batch = next(batches)
        self._waited += time.perf_counter() - before
        return batch

    def scalars(self, step: int, items_per_step: int) -> dict[str, float]:
        seconds, steps = time.perf_counter() - self._start, max(1, step - self._step)
        share = self._waited / seconds
        self.restart(step)
        return {
            "speed/step_ms": 1000 * seconds / steps,
            "speed/items_per_s": steps * items_per_step / seconds,
            "speed/waiting_for_data": share,
        }
