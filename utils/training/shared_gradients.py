"""Gradients averaged over processes, while the backward pass still computes the next ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.distributed import Work

BUCKET_BYTES = 32 << 20  # sent at once: enough for the link's full speed, little to wait for at the end
_SMALL = 1 << 16  # numbers: gradients with fewer are sent in one piece, which costs a copy; others are where they are


@dataclass
class _Bucket:
    """Parameters whose gradients are sent together."""

    parameters: list[nn.Parameter]
    missing: int = 0  # gradients still to come
    small: list[nn.Parameter] = field(default_factory=list)
    flat: Tensor | None = None  # of the small ones
    work: Work | None = None

    def send(self) -> None:
        gradients = [_gradient(p) for p in self.parameters]
        self.small = [p for p in self.parameters if p.numel() < _SMALL]
        tensors = [gradient for gradient in gradients if gradient.numel() >= _SMALL]
        if self.small:
            self.flat = torch.cat([gradient.flatten() for gradient in gradients if gradient.numel() < _SMALL])
            tensors.append(self.flat)
        options = torch.distributed.AllreduceCoalescedOptions()
        world = torch.distributed.group.WORLD
        assert world is not None  # several processes have been started
        self.work = world.allreduce_coalesced(tensors, options)

    def finish(self) -> None:
        assert self.work is not None  # `send` comes first
        self.work.wait()
        if self.flat is not None:
            for parameter, piece in zip(self.small, self.flat.split([p.numel() for p in self.small])):
                parameter.grad = piece.view_as(parameter)
        self.flat = self.work = None


def _gradient(parameter: nn.Parameter) -> Tensor:
    """Its gradient; zeros, which it keeps, if backward gave none."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


class SharedGradients:
    """Sums the gradients of some parameters over all processes; with losses divided by their number, a mean.

    They are sent in buckets, last parameters first (whose gradients come first), in the same order everywhere, whatever
    layers a process leaves out, so that a step can be captured. A parameter without a gradient here counts as zero.
    docs/lab/training.md has what is known of DistributedDataParallel in its place.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], bucket_bytes: int = BUCKET_BYTES) -> None:
        self._buckets = [_Bucket(found) for found in buckets(parameters, bucket_bytes)]
        self._waiting: list[_Bucket] = []  # to be sent, in this order
        for bucket in self._buckets:
            for parameter in bucket.parameters:
                parameter.register_post_accumulate_grad_hook(lambda _, bucket=bucket: self._arrived(bucket))

    def begin(self) -> None:
        """The coming backward pass is the last one of this step: its gradients are to be sent."""
        self._waiting = list(self._buckets)
        for bucket in self._buckets:
            bucket.missing = len(bucket.parameters)

    def _arrived(self, bucket: _Bucket) -> None:
        bucket.missing -= 1
        while self._waiting and self._waiting[0].missing == 0:
            self._waiting.pop(0).send()

    def finish(self) -> None:
        """Wait for all sums; they are the gradients now."""
        for bucket in self._waiting:
            bucket.send()
        self._waiting = []
        for bucket in self._buckets:
            bucket.finish()


def buckets(parameters: Sequence[nn.Parameter], most_bytes: int) -> list[list[nn.Parameter]]:
    """Parameters in the order in which backward reaches them, cut into runs of about `most_bytes` and of one type."""
    found: list[list[nn.Parameter]] = []
    size = 0
    for parameter in reversed(parameters):
        bytes_ = parameter.numel() * parameter.element_size()
        if not found or size + bytes_ > most_bytes or parameter.dtype != found[-1][0].dtype:
            found.append([])
            size = 0
        found[-1].append(parameter)
        size += bytes_
    return found
