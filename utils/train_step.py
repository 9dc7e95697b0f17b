"""One optimiser step: rate, gradients of one or more batches, clipping, update, averaged weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from utils.step_graph import GraphedStep

SCHEDULERS = ("None", "Warmup", "WarmupThenDecay")

Loss = Callable[[Any], tuple[Tensor, dict[str, Tensor]]]  # prepared batch -> (total, terms)
Step = Callable[[list[Any]], dict[str, Tensor]]  # prepared batches -> mean 'total' and terms, detached


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """Hyper-parameters of a step; field names are flags of both training scripts."""

    lr: float = 1e-4
    """Learning rate (Adam)."""
    gradient_accumulation_steps: int = 1
    """Batches per step; their gradients are averaged."""
    grad_clip: float = 0.0
    """Largest norm of the gradient, which is scaled down to it; 0: no limit."""
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


def lr_factor(config: StepConfig, step: int) -> float:
    """Learning rate of `step` (from 0) relative to `lr`: linear warm-up, then constant or a cosine down."""
    if config.scheduler == "None":
        return 1.0
    if step < config.warm_iter:
        return (step + 1) / config.warm_iter
    if config.scheduler == "Warmup":
        return 1.0
    progress = min(1.0, (step - config.warm_iter) / max(1, config.cos_max_iter - config.warm_iter))
    return config.min_lr_ratio + (1 - config.min_lr_ratio) * 0.5 * (1 + math.cos(math.pi * progress))


class Learner:
    """What a step changes: the network, its optimiser, its average, and the number of steps done."""

    def __init__(self, network: nn.Module, config: StepConfig) -> None:
        self.network, self.config = network, config
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        device = self.parameters[0].device
        # On the device, so that a captured step finds the current values in the same place.
        self.rate, self.follow = torch.tensor(config.lr, device=device), torch.tensor(1.0, device=device)
        self.optimizer = torch.optim.Adam(
            self.parameters, self.rate, fused=device.type == "cuda", capturable=device.type == "cuda"
        )
        self.optimizer._warned_capturable_if_run_uncaptured = True  # running it eagerly, too, is meant
        self.average = copy.deepcopy(network).requires_grad_(False) if config.ema_decay > 0 else None
        self.step = 0

    def set_rates(self) -> None:
        """This step's learning rate, and how closely the average follows."""
        self.rate.fill_(self.config.lr * lr_factor(self.config, self.step))
        # The average follows closely at first.
        self.follow.fill_(1 - min(self.config.ema_decay, (1 + self.step) / (10 + self.step)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate  # a restored optimiser has its own

    def clip(self) -> None:
        if self.config.grad_clip > 0:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.config.grad_clip)

    @torch.no_grad()
    def update_average(self) -> None:
        if self.average is None:
            return
        pairs = zip(self.average.parameters(), self.network.parameters())
        ours, new = zip(*((a, p) for a, p in pairs if p.requires_grad))
        change = torch._foreach_sub(new, ours)
        torch._foreach_mul_(change, self.follow)
        torch._foreach_add_(ours, change)


def make_update(learner: Learner, loss: Loss) -> Step:
    """The part of a step that runs on the device. The host's decisions must already be in the prepared batches."""

    def update(batches: list[Any]) -> dict[str, Tensor]:
        learner.optimizer.zero_grad(set_to_none=True)
        means: dict[str, Tensor] = {}
        for batch in batches:
            total, terms = loss(batch)
            (total / len(batches)).backward()
            for name, value in {"total": total, **terms}.items():
                means[name] = means.get(name, 0) + value.detach() / len(batches)
        learner.clip()
        learner.optimizer.step()
        learner.update_average()
        return means

    return update


def eager_step(learner: Learner, loss: Loss) -> Step:
    """The step as plain PyTorch."""
    update = make_update(learner, loss)

    def step(batches: list[Any]) -> dict[str, Tensor]:
        learner.set_rates()
        return update(batches)

    return step


def graphed_step(learner: Learner, loss: Loss, generators: Iterable[torch.Generator] = ()) -> Step:
    """The same step replayed from CUDA graphs; `generators`: CUDA generators that `loss` draws from."""
    update = GraphedStep(make_update(learner, loss), learner.parameters, generators)

    def step(batches: list[Any]) -> dict[str, Tensor]:
        learner.set_rates()
        return update(batches)

    return step
