"""One optimiser step: rate, gradients of one or more batches, clipping, update, averaged weights."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from utils.config import flag
from utils.cuda_graph import GraphedStep, side_stream
from utils.errors import UserError
from utils.training.shared_loss import STEPS_BEFORE_CAPTURE, Loss, SharedLoss

if TYPE_CHECKING:
    from accelerate import Accelerator

SCHEDULERS = ("None", "Warmup", "WarmupThenDecay")

Step = Callable[[list[Any]], dict[str, Tensor]]  # prepared batches -> mean 'total' and terms, detached


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """Hyper-parameters of a step; field names are flags of both training scripts."""

    lr: float = 1e-4
    """Learning rate (Adam)."""
    gradient_accumulation_steps: int = 1
    """Batches per step; their gradients are averaged."""
    grad_clip: float = 0.0
    """Gradients with a larger norm are scaled down to this norm; 0: no limit."""
    scheduler: str = flag("None", choices=SCHEDULERS)
    """Learning rate: None (constant), Warmup, or WarmupThenDecay."""
    warm_iter: int = 5000
    """Steps of linear warm-up."""
    cos_max_iter: int = 120_000
    """Step at which WarmupThenDecay's cosine ends."""
    min_lr_ratio: float = 0.02
    """Learning rate at the end of that cosine, relative to --lr."""
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

    def __init__(self, network: nn.Module, config: StepConfig, accelerator: Accelerator) -> None:
        self.network, self.config, self.accelerator = network, config, accelerator
        trained = [name for name, p in network.named_parameters() if p.requires_grad]
        self.parameters = [network.get_parameter(name) for name in trained]
        device = self.parameters[0].device
        on_gpu = device.type == "cuda"
        # On the device, so that a captured step finds the current values in the same place.
        self.rate, self.follow = torch.tensor(config.lr, device=device), torch.tensor(1.0, device=device)
        self.optimizer = torch.optim.Adam(self.parameters, self.rate, fused=on_gpu, capturable=on_gpu)
        self.optimizer._warned_capturable_if_run_uncaptured = True  # running it eagerly as well is intended
        self.average = copy.deepcopy(network).requires_grad_(False) if config.ema_decay > 0 else None
        self.averaged = [] if self.average is None else [self.average.get_parameter(name) for name in trained]
        self.step = 0

    def shared(self, loss: Loss) -> Loss:
        """The loss itself; of several processes, one that averages gradients, and they get the first one's weights."""
        if self.accelerator.num_processes == 1:
            return loss
        modules = [self.network] if self.average is None else [self.network, self.average]
        return SharedLoss(loss, modules, self.accelerator)

    @property
    def lr(self) -> float:
        """The coming step's learning rate."""
        return self.config.lr * lr_factor(self.config, self.step)

    def set_rates(self) -> None:
        """This step's learning rate, and how closely the average follows."""
        self.rate.fill_(self.lr)
        # The average follows closely at first.
        self.follow.fill_(1 - min(self.config.ema_decay, (1 + self.step) / (10 + self.step)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate  # a restored optimiser brings its own rate

    def add_gradients(self, loss: Loss, batch: Any, share: float, last: bool) -> dict[str, Tensor]:
        """Backward pass of `share` of a batch's loss, the `last` one of this step or not; the loss and its terms."""
        with contextlib.nullcontext() if last else self.accelerator.no_sync(loss):
            with self.accelerator.autocast():
                total, terms = loss(batch)
            self.accelerator.backward(total * share)
        return {name: value.detach() for name, value in {"total": total, **terms}.items()}

    def apply_gradients(self) -> dict[str, Tensor]:
        """Clip them, update the weights and their average; {'grad_norm'} if clipped."""
        scaler, measured = self.accelerator.scaler, {}  # fp16 scales the loss up, so that small gradients do not vanish
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        if self.config.grad_clip > 0:
            measured["grad_norm"] = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.grad_clip)
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()
        self._update_average()
        return measured

    @torch.no_grad()
    def _update_average(self) -> None:
        if self.averaged:
            averaged: list[Tensor] = [*self.averaged]
            # Private in torch's stubs; torch.optim works with the same functions.
            change = torch._foreach_sub([*self.parameters], averaged)  # pyright: ignore[reportPrivateImportUsage]
            torch._foreach_mul_(change, self.follow)  # pyright: ignore[reportPrivateImportUsage]
            torch._foreach_add_(averaged, change)  # pyright: ignore[reportPrivateImportUsage]

    def state(self) -> dict[str, Any]:
        """What resuming needs besides the weights."""
        state = {"optimizer": self.optimizer.state_dict()}
        if self.average is not None:
            state["raw_model"] = self.network.state_dict()
        if self.accelerator.scaler is not None:
            state["scaler"] = self.accelerator.scaler.state_dict()
        return state

    def restore(self, model: dict[str, Tensor], state: dict[str, Any], step: int, source: str) -> None:
        """Continue from a checkpoint's weights and `state()`.

        Raises:
            UserError: the checkpoint was stripped of its state, or other parts of the network were trained.
        """
        if "optimizer" not in state:
            raise UserError(f"{source}: its checkpoint has no optimiser state; it cannot be resumed")
        self.network.load_state_dict(state.get("raw_model", model))
        if self.average is not None:
            self.average.load_state_dict(model)
        ours = [{k: v for k, v in group.items() if k != "params"} for group in self.optimizer.param_groups]
        saved = state["optimizer"]
        groups = [{**group, **flags} for group, flags in zip(saved["param_groups"], ours)]  # of this device
        try:
            self.optimizer.load_state_dict({**saved, "param_groups": groups})
        except ValueError as error:
            raise UserError(f"{source}: other parts were trained ({error}); give the same --freeze") from error
        if self.accelerator.scaler is not None and "scaler" in state:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step = step


def make_update(learner: Learner, loss: Loss) -> Step:
    """The part of a step that runs on the device. The host's decisions must already be in the prepared batches."""
    loss = learner.shared(loss)

    def update(batches: list[Any]) -> dict[str, Tensor]:
        learner.optimizer.zero_grad(set_to_none=True)
        share, means = 1 / len(batches), {}
        for i, batch in enumerate(batches, 1):
            for name, value in learner.add_gradients(loss, batch, share, i == len(batches)).items():
                means[name] = means.get(name, 0) + value * share
        return means | learner.apply_gradients()

    return update


def eager_step(learner: Learner, loss: Loss) -> Step:
    """The step as plain PyTorch."""
    return _with_rates(learner, make_update(learner, loss))


def _with_rates(learner: Learner, update: Step) -> Step:
    def step(batches: list[Any]) -> dict[str, Tensor]:
        learner.set_rates()
        return update(batches)

    return step


def step_maker(
    cuda_graph: bool, accelerator: Accelerator, generators: Iterable[torch.Generator] = ()
) -> Callable[[Learner, Loss], Step]:
    """`eager_step` or `graphed_step`, as `--cuda_graph` says.

    Raises:
        UserError: graphs were requested on a device without them.
    """
    if not cuda_graph:
        return eager_step
    if accelerator.device.type != "cuda":
        raise UserError(f"--cuda_graph: needs an NVIDIA GPU, this runs on {accelerator.device.type}; leave it out")
    if accelerator.scaler is not None:
        raise UserError("--cuda_graph: fp16's loss scaling waits for the device in every step; use --precision bf16")
    return lambda learner, loss: graphed_step(learner, loss, generators)


def graphed_step(learner: Learner, loss: Loss, generators: Iterable[torch.Generator] = ()) -> Step:
    """The same step replayed from CUDA graphs; `generators`: CUDA generators that `loss` draws from."""
    several = learner.accelerator.num_processes > 1
    with side_stream() if several else contextlib.nullcontext():  # where DistributedDataParallel is to be made
        update = make_update(learner, loss)
    least = STEPS_BEFORE_CAPTURE if several else 0
    return _with_rates(learner, GraphedStep(update, learner.parameters, generators, least))
