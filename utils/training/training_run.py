"""From a script's flags to a trained network: the run's folder, the checks, the trainer."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from utils.runs.checkpoint import Checkpoint
from utils.runs.run_log import check_logger
from utils.training.elastic import launch_store
from utils.training.preflight import Problems, check_disk, check_numbers, checkpoint_bytes
from utils.training.process_group import on_first
from utils.training.run_config import OpenedRun, RunConfig, open_run
from utils.training.shared_start import check_start
from utils.training.train_step import Learner, Loss, Step, eager_step
from utils.training.trainer import Task, Trainer

if TYPE_CHECKING:
    from accelerate import Accelerator

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What a script prepares, given the checkpoint to continue from."""

    task: Task
    batches_from: Callable[[int], Iterator[Any]]  # this process's training batches from number n on
    sizes: dict[str, Any]  # of the data, for --dry_run
    resumed: Checkpoint | None
    compile: Callable[[], None]  # the network, in place
    make_step: Callable[[Learner, Loss], Step] = eager_step


def train(
    kind: str,
    config: RunConfig,
    resolved: dict[str, Any],
    accelerator: Accelerator,
    make_plan: Callable[[OpenedRun, Problems], Plan | None],
) -> None:
    """Train, or with `--dry_run` say what would be trained.

    Args:
        kind: SE or DPT.
        config: the run's flags.
        resolved: all flags, for config.json.
        accelerator: the processes.
        make_plan: (the run, where to report mistakes) -> what to train; None after a mistake.

    Raises:
        UserError: all mistakes found before the first step; a loss that is not finite.
    """
    with contextlib.ExitStack() as stack:
        run = OpenedRun(Path("dry-run"), None)
        if not config.dry_run:
            run = on_first(accelerator, lambda: stack.enter_context(open_run(kind, config, resolved, launch_store())))
        problems = Problems()
        problems.check(check_numbers, config)
        problems.check(check_logger, config.log_with)
        plan = make_plan(run, problems)
        problems.report()
        assert plan is not None  # or `report` had raised
        trainer = Trainer(config, plan.task, run.folder, accelerator, plan.make_step)
        if config.compile:
            plan.compile()
        if plan.resumed is not None:
            trainer.restore(plan.resumed.model, plan.resumed.training, plan.resumed.step)
        check_start(trainer.learner)
        check_disk(trainer.learner, config, run.folder)
        if config.dry_run:
            facts = describe(trainer, plan, config, resolved)
            if accelerator.is_main_process:
                log.info(facts)
        else:
            if accelerator.is_main_process:  # only now: a run that is refused leaves no folder
                log.info("writing to %s", run.folder)
            trainer.fit(plan.batches_from)


def describe(trainer: Trainer, plan: Plan, config: RunConfig, resolved: dict[str, Any]) -> str:
    """Configuration, sizes, and one step's time and memory."""
    learner, accelerator = trainer.learner, trainer.accelerator
    parameters = list(learner.network.parameters())
    together = config.batch_size * accelerator.num_processes * config.gradient_accumulation_steps
    facts = {
        **plan.sizes,
        "parameters": f"{sum(p.numel() for p in parameters):,}",
        "of these trained": f"{sum(p.numel() for p in learner.parameters):,}",
        "processes": f"{accelerator.num_processes} on {accelerator.device}, {config.matmul_precision}",
        "items per step": f"{together} = {config.batch_size} x {accelerator.num_processes} processes x "
        f"{config.gradient_accumulation_steps} batches",
        "one checkpoint": f"{checkpoint_bytes(learner) / 1e6:.1f} MB",
        **_one_step(trainer, plan),
    }
    width = max(map(len, facts))
    return "\n".join([json.dumps(resolved, indent=2), *(f"{name:{width}}  {value}" for name, value in facts.items())])


def _one_step(trainer: Trainer, plan: Plan, warm_up: int = 2) -> dict[str, str]:
    """Time and peak memory of a step, after some that compile, allocate and fill caches."""
    device, number = trainer.accelerator.device, trainer.config.gradient_accumulation_steps
    on_gpu = device.type == "cuda"
    update = plan.make_step(trainer.learner, plan.task.loss)
    batches = plan.batches_from(0)
    for i in range(warm_up + 1):
        plan.task.begin_step(i)
        prepared = [plan.task.prepare(next(batches)) for _ in range(number)]
        if on_gpu:
            torch.cuda.synchronize()
        start = time.perf_counter()
        total = update(prepared)["total"].item()
        seconds = time.perf_counter() - start
    facts = {"one step": f"{1000 * seconds:.1f} ms (loading data excluded), loss {total:.4g}"}
    if on_gpu:
        facts["peak memory"] = f"{torch.cuda.max_memory_allocated() / 1e9:.2f} GB"
    return facts
