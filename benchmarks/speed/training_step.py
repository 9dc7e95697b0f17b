"""One training step of the denoiser: plain float32 against the faster forms. Time, memory, and where the time goes.

    python -m benchmarks.speed.training_step [--batch_sizes 16 64] [--modes "fast bf16 graph" ...] [--steps 20]
                                             [--profile] [--size tiny] [--device cpu] [--json out.json]

Columns: milliseconds per step (mean over the timed steps, in which clips are cut short as often as in training);
times the plain step; peak memory that tensors took and that was reserved, GB; the total loss's and the worst single
term's relative difference from the plain float32 step, without dropout and for the same random numbers. Data are on
the device already; loading them is measured by benchmarks.speed.data.
"""

from __future__ import annotations

import gc
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.report import Flags, column, machine, publish, read_flags, text_table
from benchmarks.speed.machine import memory_gb, synchronize
from benchmarks.speed.workload import CPU_MODES, MODES, SIZES, RandomItems, Workload
from utils.config import check_choice
from utils.devices import pick_device
from utils.errors import cli

log = logging.getLogger(__name__)
_PLAIN = "plain fp32"
_PROFILED, _TOP = 3, 14


@dataclass(frozen=True, kw_only=True)
class StepFlags(Flags):
    """What is measured."""

    size: str = "full"
    """Of the networks: full, embedded or tiny."""
    batch_sizes: Sequence[int] = (16,)
    """Items of a batch."""
    modes: Sequence[str] = ()
    """Forms of the step beside the plain one; without it, all that the device can do."""
    steps: int = 20
    """Timed steps of each mode."""
    warm_up: int = 5
    """Steps before, of each of the four kinds."""
    profile: bool = False
    """Also say which operations take the time."""
    device: str = "auto"
    """cuda, cpu or auto."""

    def __post_init__(self) -> None:
        check_choice("--size", self.size, SIZES)
        for mode in self.modes:
            check_choice("--modes", mode, tuple(MODES))


@dataclass(frozen=True)
class StepRow:
    """One mode at one batch size; memory is NaN on a CPU."""

    mode: str = column("mode")
    batch_size: int = column("batch")
    step_ms: float = column("ms/step", "{:.1f}")
    speedup: float = column("x plain", "{:.2f}")
    peak_gb: float = column("peak GB", "{:.1f}")
    reserved_gb: float = column("reserved GB", "{:.1f}")
    loss_difference: float = column("loss diff", "{:.1e}")
    worst_term_difference: float = column("worst term diff", "{:.1e}")


class Bench:
    """All modes at one batch size."""

    def __init__(self, flags: StepFlags, batch_size: int) -> None:
        self.flags, self.batch_size = flags, batch_size
        self.plain_ms, self.plain_terms = math.nan, {}
        self.profiles: dict[str, list[tuple[str, ...]]] = {}

    def time_mode(self, name: str) -> StepRow:
        flags = self.flags
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        work = Workload(flags.size, MODES[name], flags.device)
        items = RandomItems(4 * self.batch_size, work.model.config.n_motions, work.device)
        batches = items.batches(self.batch_size)
        terms = work.evaluation(next(batches))
        work.warm_up(batches, flags.warm_up)
        synchronize(work.device)
        start = time.perf_counter()
        for _ in range(flags.steps):
            work.step(batches)
        synchronize(work.device)
        step_ms = 1000 * (time.perf_counter() - start) / flags.steps
        weights = work.objective.loss.config.weights()
        if name == _PLAIN:
            self.plain_ms, self.plain_terms = step_ms, terms
        if flags.profile:
            self.profiles[name] = profile_table(work, batches)
        total, reference = (sum(weights[k] * v for k, v in t.items()) for t in (terms, self.plain_terms or terms))
        worst = max(abs(terms[k] / v - 1) for k, v in (self.plain_terms or terms).items())
        return StepRow(name, self.batch_size, step_ms, self.plain_ms / step_ms, *memory_gb(work.device),
                   abs(total / reference - 1), worst)  # fmt: skip


def profile_table(work: Workload, batches: Any) -> list[tuple[str, ...]]:
    """The operations that take the most time of the device (of the CPU, without one): name, ms per step, share, calls.

    On a GPU these are kernels, so that captured steps are seen as well.
    """
    from torch.profiler import ProfilerActivity, profile

    on_gpu = work.device.type == "cuda"
    kind = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
    with profile(activities=[kind]) as record:
        for _ in range(_PROFILED):
            work.step(batches)
        synchronize(work.device)
    times = [(e.key, (e.self_device_time_total if on_gpu else e.self_cpu_time_total) / 1000 / _PROFILED,
              e.count / _PROFILED) for e in record.key_averages()]  # fmt: skip
    total = sum(ms for _, ms, _ in times) or 1.0
    top = sorted(times, key=lambda entry: -entry[1])[:_TOP]
    rows = [(name[:70], f"{ms:.2f}", f"{ms / total:.0%}", f"{count:.0f}") for name, ms, count in top]
    return [("operation", "ms/step", "share", "calls/step"), *rows, ("all", f"{total:.2f}", "100%", "")]


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(StepFlags, __doc__, argv)
    device = pick_device(flags.device)
    modes = flags.modes or (MODES if device.type == "cuda" else CPU_MODES)
    rows, profiles = [], {}
    for batch_size in flags.batch_sizes:
        bench = Bench(flags, batch_size)
        for mode in [_PLAIN, *(m for m in modes if m != _PLAIN)]:
            try:
                rows.append(bench.time_mode(mode))
            except RuntimeError as error:  # out of memory, no compiler: the other modes are still of interest
                log.warning("%s, batch %d: %s", mode, batch_size, str(error).strip().splitlines()[0])
        profiles[batch_size] = bench.profiles
    publish(f"{machine(device)}: training step, {flags.size} networks", rows, flags.json, profiles=profiles)
    for batch_size, found in profiles.items():
        for mode, lines in found.items():
            print(f"\n{mode}, batch {batch_size}", text_table(lines), sep="\n")


if __name__ == "__main__":
    main()
