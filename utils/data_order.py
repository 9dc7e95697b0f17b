"""Which items a training step sees: a pure function of (seed, step), whatever the number of workers."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from utils.errors import UserError


class EndlessBatches(Sampler):
    """Batches of (epoch, index) without end, from batch number `start` on. Every epoch is a new permutation.

    One endless pass spares restarting the workers, which for the style encoder's epochs of a few batches would take
    most of the time.
    """

    def __init__(self, n_items: int, batch_size: int, seed: int, start: int = 0) -> None:
        if n_items < batch_size:
            raise UserError(f"--batch_size {batch_size}: the data set has only {n_items} items; use a smaller batch")
        self.n_items, self.batch_size, self.seed, self.start = n_items, batch_size, seed, start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        per_epoch = self.n_items // self.batch_size  # the incomplete last batch is dropped
        epoch, first = divmod(self.start, per_epoch)
        while True:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            order = torch.randperm(self.n_items, generator=generator).tolist()
            for batch in range(first, per_epoch):
                yield [(epoch, i) for i in order[batch * self.batch_size : (batch + 1) * self.batch_size]]
            epoch, first = epoch + 1, 0


def training_batches(dataset: Any, batch_size: int, seed: int, num_workers: int, start: int = 0) -> Iterator[Any]:
    """Endless training batches. `dataset` takes (epoch, index) as a key."""
    sampler = EndlessBatches(len(dataset), batch_size, seed, start)
    return iter(_loader(dataset, num_workers, batch_sampler=sampler))


def evaluation_batches(dataset: Any, batch_size: int, num_workers: int) -> DataLoader:
    """Every item once, in order, with epoch 0's crops."""
    return _loader(dataset, num_workers, batch_size=min(batch_size, len(dataset)))


def _loader(dataset: Any, num_workers: int, **options: Any) -> DataLoader:
    if num_workers > 0:
        options |= {"num_workers": num_workers, "prefetch_factor": 4}
    return DataLoader(dataset, pin_memory=torch.cuda.is_available(), **options)


def to_device(batch: Any, device: torch.device) -> Any:
    """Move a tensor, or a dict of tensors, without waiting."""
    if isinstance(batch, dict):
        return {key: value.to(device, non_blocking=True) for key, value in batch.items()}
    return batch.to(device, non_blocking=True)
