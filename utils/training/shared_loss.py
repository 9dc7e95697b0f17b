"""A loss whose gradients are means over all processes of a run: PyTorch's DistributedDataParallel around it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from accelerate import Accelerator

Loss = Callable[[Any], tuple[Tensor, dict[str, Tensor]]]  # prepared batch -> (total, terms)
# PyTorch's notes on CUDA graphs: so many steps let DDP arrange its buckets and measure itself, which waits for the GPU.
STEPS_BEFORE_CAPTURE = 11
_NEVER = 2**31 - 1


class _Pass(nn.Module):
    """The loss as the module that DistributedDataParallel wants, and the modules whose weights it is to share."""

    def __init__(self, loss: Loss, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self._loss, self.shared = loss, nn.ModuleList(modules)

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        return self._loss(batch)


class SharedLoss:
    """`loss(batch)`; its backward pass sends gradients while it computes the next ones, except within `no_sync`.

    Making it gives every process the first one's weights. The settings are those of `start_processes`. All trained
    parameters must get a gradient in every pass, or never (a static graph): layers that are dropped at random are
    computed as well (`models.audio.hubert_fast.encode`).
    """

    def __init__(self, loss: Loss, modules: Sequence[nn.Module], accelerator: Accelerator) -> None:
        """`modules`: the trained network, and others that start from the first process's weights."""
        torch._dynamo.config.optimize_ddp = False  # compiled blocks stay as they are in one process
        # About parameters of one row. The row's place in memory is the same.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        self._module = accelerator.prepare(_Pass(loss, modules))
        self._module.broadcast_buffers = False  # in every pass: they are tables, or follow a process's own items
        # It would measure itself every 100 steps, and so wait for the GPU in what might be a capture.
        self._module._set_ddp_runtime_logging_sample_rate(_NEVER)
        self._known = False

    def __call__(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        self._known = True
        return self._module(batch)

    def no_sync(self) -> contextlib.AbstractContextManager[None]:
        """The coming pass adds to this process's gradients only; the next one outside sends the sums.

        The very first pass, in which a static graph is recorded, sends: the mean of means is the same.
        """
        return self._module.no_sync() if self._known else contextlib.nullcontext()
