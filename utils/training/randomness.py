"""The random numbers of a training run."""

from __future__ import annotations

import random as python_random

import numpy as np
import torch
from torch import Tensor


class Randomness:
    """All random numbers of a run. `host`: decisions that the CPU takes; `device`: noise, drawn where it is used;
    `common`: decisions on which work a step does, the same in all processes, so that none waits for another.

    `begin(step)` seeds these from (seed, step), and the global ones (dropout; layer drop and SpecAugment in the audio
    encoder) from (seed, step, process). A resumed step therefore draws the same numbers as an uninterrupted one.

    `normal`, `uniform` and `integers` draw what one process with the items of all would draw, and give the rows of this
    process's items: noise belongs to an item and a step, however many processes there are.
    """

    def __init__(self, seed: int, device: torch.device | str, process: int = 0, processes: int = 1) -> None:
        self.seed, self.process, self.processes = seed, process, processes
        self.host, self.common = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
        self.device = torch.Generator(device).manual_seed(seed)

    def begin(self, step: int) -> None:
        """Seed everything for a training step."""
        of_step = _mix(_mix(self.seed) + step)
        mixed = _mix(of_step + self.process)
        self.host.manual_seed(_mix(of_step))
        self.common.manual_seed(of_step)
        self.device.manual_seed(_mix(of_step))
        # Not torch.manual_seed: without a GPU it stores a traceback at every call, for a GPU that may appear later.
        torch.default_generator.manual_seed(mixed + 1)
        if self.device.device.type == "cuda":
            torch.cuda.default_generators[torch.cuda.current_device()].manual_seed(mixed + 1)
        np.random.seed(mixed % 2**32)  # noqa: NPY002 (SpecAugment in transformers draws from here)
        python_random.seed(mixed)

    def normal(self, size: int, *rest: int, clips: int = 1) -> Tensor:
        """Normal noise (clips * size, *rest) on the device: for each clip of a pair, the rows of `size` items."""
        shape = (clips * size * self.processes, *rest)
        return self._own(torch.randn(shape, generator=self.device, device=self.device.device), clips)

    def uniform(self, size: int, *rest: int, clips: int = 1) -> Tensor:
        """As `normal`, between 0 and 1."""
        shape = (clips * size * self.processes, *rest)
        return self._own(torch.rand(shape, generator=self.device, device=self.device.device), clips)

    def integers(self, low: int, high: int, size: int, clips: int = 1, on_host: bool = False) -> Tensor:
        """Whole numbers (clips * size,) from `low` to `high` - 1, on the device or the host."""
        source = self.host if on_host else self.device
        shape = (clips * size * self.processes,)
        return self._own(torch.randint(low, high, shape, generator=source, device=source.device), clips)

    def _own(self, drawn: Tensor, clips: int) -> Tensor:
        if self.processes == 1:
            return drawn
        return drawn.unflatten(0, (clips, self.processes, -1))[:, self.process].flatten(0, 1)

    def state(self) -> dict[str, Tensor]:
        return {"host": self.host.get_state(), "common": self.common.get_state(), "device": self.device.get_state()}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.host.set_state(state["host"].cpu())
        self.common.set_state(state["common"].cpu())
        self.device.set_state(state["device"].cpu())


def _mix(x: int) -> int:
    """A well-spread 63 bit number (the finaliser of splitmix64)."""
    mask = 2**64 - 1
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return (x ^ (x >> 31)) >> 1
