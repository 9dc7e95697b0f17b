"""A whole training set in device memory, cut into batches there: for data sets that fit (an hour takes about 0.2 GB).

Reading a batch through workers decodes FLAC again in every epoch and copies it three times. A small network on a fast
GPU waits for that. Here everything is decoded once; a batch is then one gather on the device, with the same items as
`DataLoader` would give (to float rounding: 16 bit audio, standardised in single precision).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from datasets.motion_pairs import MotionPairs, StoredPairs, finished
from datasets.style_pairs import StylePairs
from utils.reports.wording import counted
from utils.timebase import FPS
from utils.training.data_order import EndlessBatches, Share, readers, to_device, training_batches
from utils.training.run_config import RunConfig

log = logging.getLogger(__name__)
_BLOCK = 16  # batches: waiting for a copy at every step would cost a small network much of its time
Keys = Sequence[tuple[int, int]]


class _WholeClips(Dataset):
    """A data set's clips in full, as `MotionPairs.whole` and `StylePairs.whole` give them."""

    def __init__(self, pairs: MotionPairs | StylePairs) -> None:
        self.pairs, self.clips = pairs, pairs.clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.pairs.whole(self.clips[index])


class ResidentBatches:
    """Batches of `pairs`, put together on the device. `batch(keys)` equals the collated items `pairs[key]`."""

    def __init__(self, pairs: MotionPairs | StylePairs, device: torch.device, num_workers: int = 0) -> None:
        self._pairs, self._device = pairs, device
        clips = DataLoader(_WholeClips(pairs), batch_size=None, num_workers=readers(num_workers))
        loaded = list(tqdm(clips, desc="loading the training set", unit="clip"))
        lengths = [len(clip["motion"]) for clip in loaded]
        self._first = dict(zip(pairs.clips, np.concatenate([[0], np.cumsum(lengths)[:-1]]).tolist()))
        self._data = {name: torch.cat([clip[name] for clip in loaded]).to(device) for name in loaded[0]}
        size = sum(values.nbytes for values in self._data.values())
        log.info("%s, %.1f h, %.2f GB on %s", counted(len(loaded), "clip"), sum(lengths) / (3600 * FPS), size / 1e9,
                 device)  # fmt: skip

    def __call__(self, batches: Iterable[Keys]) -> Iterator[Any]:
        """Batch by batch; the starts of the crops are copied to the device for several batches at once."""
        waiting = iter(batches)
        while block := list(islice(waiting, _BLOCK)):
            starts = self._starts([key for keys in block for key in keys])
            yield from map(self._at, starts.split([len(keys) for keys in block]))

    def batch(self, keys: Keys) -> Any:
        """Items for (epoch, index) keys, as a batch on the device."""
        return self._at(self._starts(keys))

    def _starts(self, keys: Keys) -> Tensor:
        """First frames of the items' crops (B,), on the device."""
        crops = [self._pairs.locate(key) for key in keys]
        return torch.tensor([self._first[clip] + start for clip, start in crops]).to(self._device)

    def _at(self, starts: Tensor) -> Any:
        """The items whose crops begin at `starts` (B,)."""
        return self._pairs.gathered(self._cut, starts)

    def _cut(self, name: str, starts: Tensor, length: int) -> Tensor:
        """starts (...) -> (..., length, ...)."""
        return self._data[name][starts[..., None] + torch.arange(length, device=self._device)]


def batches_from(
    pairs: MotionPairs | StylePairs, config: RunConfig, device: torch.device, share: Share
) -> Callable[[int], Iterator[Any]]:
    """Batch number -> this process's endless batches from there on, as `--preload` says."""
    if not config.preload:
        return partial(read_by_workers, pairs, config, device, share)
    resident = ResidentBatches(pairs, device, config.num_workers)
    return lambda start: resident(EndlessBatches(len(pairs), config.batch_size, config.seed, start, share))


def read_by_workers(
    pairs: MotionPairs | StylePairs, config: RunConfig, device: torch.device, share: Share, start: int
) -> Iterator[Any]:
    """Endless batches on the device, read by `--num_workers` processes."""
    speech = isinstance(pairs, MotionPairs)
    source = StoredPairs(pairs) if speech else pairs
    batches = training_batches(source, config.batch_size, config.seed, config.num_workers, start, share)
    here = (to_device(batch, device) for batch in batches)
    if not speech:
        return here
    codec = pairs.codec.to(device)  # once: copying waits for the device
    return (finished(batch, codec) for batch in here)
