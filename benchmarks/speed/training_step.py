"""One training step of the denoiser: plain float32 against the faster forms. Time, memory, and where the time goes.

    python -m benchmarks.speed.training_step [--batch_sizes 16 64] [--modes "fast bf16 graph" ...] [--steps 20]
                                             [--profile] [--size tiny] [--device cpu] [--json out.json]

Columns: milliseconds per step (mean over the timed steps, in which clips are cut short as often as in training);
times the plain step; peak memory that tensors took and that was reserved, GB; the total loss's and the worst single
term's relative difference from the plain float32 step, without dropout and for the same random numbers. Data are on
the device already; loading them is measured by benchmarks.speed.data_loading.
"""

from __future__ import annotations

import gc
import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import text_table, write_json
from benchmarks.speed.machine import machine, synchronize
from benchmarks.speed.workload import CPU_MODES, MODES, SIZES, RandomItems, Workload
from utils.config import UserParser
from utils.devices import pick_device
from utils.errors import cli

log = logging.getLogger(__name__)
_PLAIN = "plain fp32"
_PROFILED, _TOP = 3, 14


@dataclass(frozen=True)
class Row:
    """One mode at one batch size."""

    mode: str
    batch_size: int
    step_ms: float
    speedup: float
    peak_gb: float  # NaN on a CPU
    reserved_gb: float
    loss_difference: float
    worst_term_difference: float


def memory_gb(device: torch.device) -> tuple[float, float]:
    if device.type != "cuda":
        return math.nan, math.nan
    return torch.cuda.max_memory_allocated() / 1e9, torch.cuda.max_memory_reserved() / 1e9


class Bench:
    """All modes at one batch size."""

    def __init__(self, args: Any, batch_size: int) -> None:
        self.args, self.batch_size = args, batch_size
        self.plain_ms, self.plain_terms = math.nan, {}
        self.profiles: dict[str, list[tuple[str, ...]]] = {}

    def measure(self, name: str) -> Row:
        args = self.args
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        work = Workload(args.size, MODES[name], args.device)
        items = RandomItems(4 * self.batch_size, work.model.config.n_motions, work.device)
        batches = items.batches(self.batch_size)
        terms = work.evaluation(next(batches))
        work.warm_up(batches, args.warm_up)
        synchronize(work.device)
        start = time.perf_counter()
        for _ in range(args.steps):
            work.step(batches)
        synchronize(work.device)
        step_ms = 1000 * (time.perf_counter() - start) / args.steps
        weights = work.objective.loss.config.weights()
        if name == _PLAIN:
            self.plain_ms, self.plain_terms = step_ms, terms
        if args.profile:
            self.profiles[name] = profile_table(work, batches)
        total, reference = (sum(weights[k] * v for k, v in t.items()) for t in (terms, self.plain_terms or terms))
        worst = max(abs(terms[k] / v - 1) for k, v in (self.plain_terms or terms).items())
        return Row(name, self.batch_size, step_ms, self.plain_ms / step_ms, *memory_gb(work.device),
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


def table(rows: list[Row]) -> str:
    lines = [("mode", "batch", "ms/step", "x plain", "peak GB", "reserved GB", "loss diff", "worst term diff")]
    for r in rows:
        memory = ["-" if math.isnan(gb) else f"{gb:.1f}" for gb in (r.peak_gb, r.reserved_gb)]
        lines.append((r.mode, str(r.batch_size), f"{r.step_ms:.1f}", f"{r.speedup:.2f}", *memory,
                      f"{r.loss_difference:.1e}", f"{r.worst_term_difference:.1e}"))  # fmt: skip
    return text_table(lines)


def make_parser() -> UserParser:
    parser = UserParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--size", choices=SIZES, default="full", help="of the networks (default: full)")
    add("--batch_sizes", type=int, nargs="+", default=[16], help="(default: 16)")
    add("--modes", nargs="+", choices=MODES, help="beside the plain one (default: all that the device can do)")
    add("--steps", type=int, default=20, help="timed steps of each mode (default: 20)")
    add("--warm_up", type=int, default=5, help="steps before, of each of the four kinds (default: 5)")
    add("--profile", action="store_true", help="also say which operations take the time")
    add("--device", default="auto", help="cuda, cpu or auto (default: auto)")
    add("--json", type=Path, help="also write the figures here")
    return parser


@cli
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    device = pick_device(args.device)
    modes = args.modes or (MODES if device.type == "cuda" else CPU_MODES)
    rows, profiles = [], {}
    for batch_size in args.batch_sizes:
        bench = Bench(args, batch_size)
        for mode in [_PLAIN, *(m for m in modes if m != _PLAIN)]:
            try:
                rows.append(bench.measure(mode))
            except RuntimeError as error:  # out of memory, no compiler: the other modes are still of interest
                log.warning("%s, batch %d: %s", mode, batch_size, str(error).strip().splitlines()[0])
        profiles[batch_size] = bench.profiles
    title = f"{machine(device)}, torch {torch.__version__}: training step, {args.size} networks"
    print(title, table(rows), sep="\n")
    for batch_size, found in profiles.items():
        for mode, lines in found.items():
            print(f"\n{mode}, batch {batch_size}", text_table(lines), sep="\n")
    if args.json:
        write_json(args.json, {"machine": title, "rows": [asdict(row) for row in rows], "profiles": profiles})


if __name__ == "__main__":
    main()
