"""Gradients averaged over processes, while the backward pass still computes the next ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

BUCKET_BYTES = 32 << 20  # sent at once: enough for the link's full speed, little to wait for at the end


class SharedGradients:
    """Sums the gradients of some parameters over all processes; with losses divided by their number, a mean.

    Not DistributedDataParallel: HuBERT's layer drop leaves out other layers on every process, and a captured step wants
    the same collectives every time. They are sent in buckets, last parameters first (whose gradients come first), in
    the same order everywhere. A parameter without a gradient here counts as zero.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], bucket_bytes: int = BUCKET_BYTES) -> None:
        self._buckets = buckets(parameters, bucket_bytes)
        self._missing: list[int] = []  # of each bucket, gradients still to come; empty: not sharing now
        self._sent: list[tuple[Tensor, torch.distributed.Work]] = []
        for i, bucket in enumerate(self._buckets):
            for parameter in bucket:
                parameter.register_post_accumulate_grad_hook(lambda _, i=i: self._arrived(i))

    def begin(self) -> None:
        """The coming backward pass is the last one of this step: its gradients are to be sent."""
        self._missing = [len(bucket) for bucket in self._buckets]

    def _arrived(self, bucket: int) -> None:
        if self._missing:
            self._missing[bucket] -= 1
            while len(self._sent) < len(self._buckets) and self._missing[len(self._sent)] == 0:
                self._send()

    def _send(self) -> None:
        """The next bucket."""
        bucket = self._buckets[len(self._sent)]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in bucket])
        for parameter in bucket:
            parameter.grad = None  # memory
        self._sent.append((flat, torch.distributed.all_reduce(flat, async_op=True)))

    def finish(self) -> None:
        """Wait for all sums; they are the gradients now."""
        while len(self._sent) < len(self._buckets):
            self._send()
        for bucket, (flat, work) in zip(self._buckets, self._sent):
            work.wait()
            for parameter, piece in zip(bucket, flat.split([p.numel() for p in bucket])):
                parameter.grad = piece.view_as(parameter)
        self._missing, self._sent = [], []


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
