"""Training, or evaluating, on several processes against one.

    python -m benchmarks.speed.gradient_sharing [--processes 1 2] [--batch_sizes 16 64] [--steps 200]
        [--mode "fast bf16"] [--size tiny] [--device cpu]

It starts the processes by itself and times the training step of the published size in bf16 (captured, on a GPU), in
each number of processes; rows appear as they are measured. Every process has the whole batch size in a step, as with
`torchrun --nproc_per_node N main_dpt.py --batch_size 16`. Then one process accumulates the batches of N, so that it
takes the same items in a step and should learn like them. Noise and dropout are other random numbers, so the losses
agree statistically.

Columns: milliseconds per step in the fastest of three blocks; items per second; times the first row's; mean
loss of the last quarter of the steps, and its standard error.

    python -m benchmarks.speed.gradient_sharing --evaluate 400 [--processes 1 2]

times evaluate.py instead, from its start to the merged report, on random clips of 20 s with 10 samples of the bundled
model, and compares the files that it writes byte by byte. The first row is one clip alone, which is nearly all start.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.report import DeviceFlags, column, machine, publish, read_flags, seconds, table, write_json
from benchmarks.speed.evaluation import measure
from benchmarks.speed.workload import MODES, SIZES, RandomItems, Workload, run_together
from utils.config import check_least, flag
from utils.devices import pick_device
from utils.errors import cli
from utils.training.data_order import Share
from utils.training.process_group import end_processes

log = logging.getLogger(__name__)

_POOL, _BLOCKS, _LIMIT = 512, 3, 150.0  # items; timed blocks; seconds for one row of 60 steps
_LOSS_BLOCKS = 8  # of the last quarter, for the standard error


@dataclass(frozen=True)
class Way:
    """How a batch is shared out."""

    processes: int
    accumulate: int = 1


@dataclass(frozen=True, kw_only=True)
class GradientFlags(DeviceFlags):
    """What is measured."""

    batch_sizes: Sequence[int] = (16, 64)
    """Items per process and step."""
    steps: int = 60
    """Timed steps, in three blocks, of which the fastest counts."""
    warm_up: int = 5
    """Steps before, of each of four kinds: three eager ones, the captured one, and one replayed."""
    size: str = flag("full", choices=SIZES)
    """Of the networks: {choices}."""
    mode: str = flag("fast bf16 graph", choices=tuple(name for name, mode in MODES.items() if mode.fast))
    """Form of the step; a CPU computes it without a graph."""
    processes: Sequence[int] = (1, 2)
    """Numbers of processes to compare."""
    evaluate: int | None = None
    """Clips on which evaluate.py is timed instead of training."""
    accumulate: int = 1
    """Batches per step (used by the benchmark itself)."""
    result: Path | None = None
    """Used by the benchmark itself."""

    def check(self) -> None:
        super().check()
        check_least(self, steps=1, evaluate=1)

    def ways(self) -> Sequence[Way]:
        """What is compared."""
        return [Way(n) for n in self.processes] + [Way(1, n) for n in self.processes if n > 1]


@dataclass(frozen=True)
class GradientRow:
    """One way, at one batch size."""

    batch_size: int = column("batch")
    processes: int = column("processes")
    accumulate: int = column("batches each")
    step_ms: float = column("ms/step", "{:.2f}")
    items_per_second: float = column("items/s", "{:.0f}")
    speedup: float = column("x one", "{:.2f}")
    last_loss: float = column("last loss", "{:.5g}")
    standard_error: float = column("+-", "{:.2g}")


def work(flags: GradientFlags) -> None:
    """One process's part: {batch size: figures} into --result, or {"error": text}."""
    assert flags.result is not None  # `main` gave it
    workload = Workload(flags.size, MODES[flags.mode], flags.device)
    first = workload.accelerator.is_main_process
    try:
        found = {str(size): timed(workload, size, flags) for size in flags.batch_sizes}
    except Exception as error:
        if first:
            write_json(flags.result, {"error": f"{type(error).__name__}: {error}"})
        raise
    if first:
        write_json(flags.result, found)
    del workload
    end_processes()


def timed(workload: Workload, batch_size: int, flags: GradientFlags) -> dict[str, Any]:
    """Seconds per step in the fastest block, and the losses of all steps."""
    accelerator = workload.accelerator
    share = Share(accelerator.process_index, accelerator.num_processes)
    items = RandomItems(max(_POOL, 4 * batch_size), workload.model.config.n_motions, workload.device)
    batches = items.batches(batch_size, share=share)
    workload.warm_up(batches, flags.warm_up)
    losses: list[Tensor] = []

    def block(n_steps: int) -> None:
        losses.extend(workload.step(batches, flags.accumulate)["total"] for _ in range(n_steps))
        accelerator.wait_for_everyone()

    times: list[float] = []
    blocks = [len(block) for block in np.array_split(range(flags.steps), min(_BLOCKS, flags.steps))]
    for n_steps in tqdm(blocks, desc=f"batch {batch_size}", disable=not accelerator.is_main_process):
        accelerator.wait_for_everyone()
        times.append(seconds(lambda n=n_steps: block(n), workload.device, 1) / n_steps)
    reduced = accelerator.reduce(torch.stack(losses), "mean")
    assert isinstance(reduced, Tensor)  # accelerate also takes mappings of them
    return {"seconds": min(times), "losses": reduced.tolist()}


def launch(flags: GradientFlags, way: Way, mode: str) -> dict[str, Any]:
    """Run `work` in the way's processes; what it wrote, {"error": text} if it failed."""
    log.info("%s, %s", mode, way)
    if way.accumulate > 1:  # two batches are cut short in 16 ways, each of which would be captured
        mode = mode.removesuffix(" graph")
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks.speed.gradient_sharing", f"--result={result}", f"--mode={mode}"]
        command += [f"--accumulate={way.accumulate}"]
        command += [f"--{name}={getattr(flags, name)}" for name in ("steps", "warm_up", "size", "device")]
        command += ["--batch_sizes", *map(str, flags.batch_sizes)]
        try:
            code = run_together(command, way.processes, _LIMIT * max(1, flags.steps / 60))
        except TimeoutError as error:
            return {"error": str(error)}
        return json.loads(result.read_text()) if result.is_file() else {"error": f"exit code {code}"}


def make_row(batch_size: int, way: Way, found: dict[Way, dict[str, Any]]) -> GradientRow:
    """The row of one launch, against the first one; NaN where a run failed."""
    figures = {each: result.get(str(batch_size), {}) for each, result in found.items()}
    times = {each: figure.get("seconds", math.nan) for each, figure in figures.items()}
    rates = {each: each.processes * each.accumulate * batch_size / time for each, time in times.items()}
    losses = figures[way].get("losses", [])
    last = losses[-max(1, len(losses) // 4) :]
    return GradientRow(
        batch_size, way.processes, way.accumulate, 1000 * times[way], rates[way], rates[way] / rates[next(iter(found))],
        float(np.mean(last)) if last else math.nan, standard_error(last),
    )  # fmt: skip


def standard_error(losses: list[float]) -> float:
    """Of the mean, from the means of blocks of neighbouring steps, which hang together; NaN from fewer than two."""
    blocks = [block.mean() for block in np.array_split(losses, max(1, min(_LOSS_BLOCKS, len(losses))))]
    return float(np.std(blocks, ddof=1) / len(blocks) ** 0.5) if len(blocks) > 1 else math.nan


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(GradientFlags, __doc__, argv)
    if flags.result is not None:
        work(flags)
        return
    device = pick_device(flags.device)
    if flags.evaluate is not None:
        evaluation = []
        for row in measure(flags.evaluate, flags.processes, flags.device):
            print(table([row]), flush=True)
            evaluation.append(row)
            write_json(flags.json, {"machine": machine(device), "rows": evaluation})
        publish(machine(device), evaluation, flags.json)
        return
    mode = flags.mode if device.type == "cuda" else flags.mode.removesuffix(" graph")
    title = f"{machine(device)}: {mode}"
    rows: list[GradientRow] = []
    more: dict[str, dict[str, Any]] = {"errors": {}, "losses": {}}
    found: dict[Way, dict[str, Any]] = {}
    for way in flags.ways():
        found[way] = launch(flags, way, mode)
        name = f"{way.processes} x {way.accumulate}"
        if "error" in found[way]:
            more["errors"][name] = found[way]["error"]
        latest = [make_row(size, way, found) for size in flags.batch_sizes]
        rows += latest
        more["losses"][name] = {size: figures["losses"] for size, figures in found[way].items() if size != "error"}
        # At once, so that a run that is cut off keeps what it has measured.
        print(table(latest), flush=True)
        write_json(flags.json, {"machine": title, "rows": rows, **more})
    rows.sort(key=lambda row: row.batch_size)
    publish(title, rows, flags.json, **more)
    for where, text in more["errors"].items():
        print(f"{where}: {text}")


if __name__ == "__main__":
    main()
