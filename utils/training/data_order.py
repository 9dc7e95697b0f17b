"""Which items a training step sees: a pure function of (seed, step, process), whatever the number of workers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from utils.errors import UserError
from utils.runs.shards import cores


@dataclass(frozen=True)
class Share:
    """This process's number among all processes."""

    process: int = 0
    processes: int = 1


class EndlessBatches(Sampler):
    """Batches of (epoch, index) without end, from batch number `start` on. Every epoch is a new permutation.

    Batch n of all processes together is items n B P .. (n + 1) B P - 1 of the permutation for P processes with batches
    of B: 2 processes of 16 see in a step what 1 process of 32 sees.

    One endless pass avoids restarting the workers, which would take most of the time for the style encoder's epochs of
    a few batches.
    """

    def __init__(self, n_items: int, batch_size: int, seed: int, start: int = 0, share: Share = Share()) -> None:  # noqa: B008
        together = batch_size * share.processes
        if n_items < together:
            times = f" x {share.processes} processes" if share.processes > 1 else ""
            raise UserError(
                f"--batch_size {batch_size}{times}: the data set has only {n_items} items; use a smaller batch"
            )
        self.n_items, self.batch_size, self.seed, self.start, self.share = n_items, batch_size, seed, start, share

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        together = self.batch_size * self.share.processes
        per_epoch = self.n_items // together  # the incomplete last batch is dropped
        epoch, first = divmod(self.start, per_epoch)
        while True:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            order = torch.randperm(self.n_items, generator=generator, dtype=torch.int32)
            for batch in range(first, per_epoch):
                ours = batch * together + self.share.process * self.batch_size
                yield [(epoch, i) for i in order[ours : ours + self.batch_size].tolist()]
            epoch, first = epoch + 1, 0


def training_batches(
    dataset: Any,
    batch_size: int,
    seed: int,
    num_workers: int,
    start: int = 0,
    share: Share = Share(),  # noqa: B008
) -> Iterator[Any]:
    """Endless training batches of this process. `dataset` takes (epoch, index) as a key."""
    sampler = EndlessBatches(len(dataset), batch_size, seed, start, share)
    return iter(_loader(dataset, num_workers, batch_sampler=sampler))


def evaluation_batches(
    dataset: Any,
    batch_size: int,
    num_workers: int,
    share: Share = Share(),  # noqa: B008
) -> DataLoader:
    """Every item once, in order, with epoch 0's crops; of several processes, each gets every P-th batch."""
    batches = [range(len(dataset))[i : i + batch_size] for i in range(0, len(dataset), batch_size)]
    return _loader(dataset, num_workers, batch_sampler=batches[share.process :: share.processes])


def readers(asked: int) -> int:
    """Processes that read data: `asked`, but not more than the cores of this process, of which torch would warn."""
    return min(asked, cores())


def _loader(dataset: Any, num_workers: int, **options: Any) -> DataLoader:
    if num_workers > 0:
        options |= {"num_workers": readers(num_workers), "prefetch_factor": 4}
    return DataLoader(dataset, pin_memory=torch.cuda.is_available(), **options)


def to_device(batch: Any, device: torch.device) -> Any:
    """Move a tensor, or a dict or list of them, without waiting; None stays."""
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, list):
        return [to_device(value, device) for value in batch]
    return None if batch is None else batch.to(device, non_blocking=True)
