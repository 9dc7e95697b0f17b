"""Training on one process and on several of one machine: items per second, and whether the loss goes down alike.

    python -m benchmarks.speed.scaling [--processes 1 2] [--mode "fast bf16 graph"] [--batch_size 16] [--steps 200]
                                 [--size tiny] [--device cpu] [--json out.json]

Every process has --batch_size items per step, as with `torchrun --nproc_per_node N main_dpt.py --batch_size 16`. The
last row is one process that accumulates the batches of N, so it takes the same items per step and should learn like
them; noise and dropout are other random numbers, so the curves agree statistically. Columns: items per second; times
one process; milliseconds per step; mean loss of the last quarter; its standard error.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.report import DeviceFlags, column, machine, publish, read_flags, synchronize, write_json
from benchmarks.speed.workload import CPU_MODES, MODES, SIZES, RandomItems, Workload
from utils.config import flag
from utils.devices import end_processes, pick_device
from utils.errors import UserError, cli
from utils.training.data_order import Share

log = logging.getLogger(__name__)

_POOL = 512  # items
_BLOCKS = 8  # of the last quarter, for the standard error


@dataclass(frozen=True, kw_only=True)
class ScalingFlags(DeviceFlags):
    """What is measured."""

    processes: Sequence[int] = (1, 2)
    """How many at once, one run after another."""
    mode: str | None = flag(None, choices=tuple(MODES))
    """Form of the step; without it fast bf16 graph, on a CPU fast fp32."""
    size: str = flag("full", choices=SIZES)
    """Of the networks: {choices}."""
    batch_size: int = 16
    """Per process."""
    steps: int = 200
    """Timed steps."""
    warm_up: int = 5
    """Steps before, of each of the four kinds."""
    accumulate: int = 1
    """Batches per step (used by the benchmark itself)."""
    result: Path | None = None
    """Used by the benchmark itself."""


@dataclass(frozen=True)
class ScalingRow:
    """One number of processes."""

    processes: int = column("processes")
    batches_per_process: int = column("batches each")
    items_per_second: float = column("items/s", "{:.0f}")
    speedup: float = column("x one", "{:.2f}")
    step_ms: float = column("ms/step", "{:.1f}")
    last_loss: float = column("last loss", "{:.5g}")
    standard_error: float = column("+-", "{:.2g}")


def work(flags: ScalingFlags) -> None:
    """One process's part: train, and let the first one write its figures to --result."""
    workload = Workload(flags.size, MODES[flags.mode], flags.device)
    accelerator = workload.accelerator
    share = Share(accelerator.process_index, accelerator.num_processes)
    items = RandomItems(_POOL, workload.model.config.n_motions, workload.device)
    batches = items.batches(flags.batch_size, share=share)
    workload.warm_up(batches, flags.warm_up)
    losses = []
    accelerator.wait_for_everyone()
    synchronize(workload.device)
    start = time.perf_counter()
    for _ in tqdm(range(flags.steps), desc="steps", disable=not accelerator.is_main_process):
        losses.append(workload.step(batches, flags.accumulate)["total"])
    synchronize(workload.device)
    accelerator.wait_for_everyone()
    seconds = time.perf_counter() - start
    curve = accelerator.reduce(torch.stack(losses), "mean").tolist()
    if accelerator.is_main_process:
        write_json(flags.result, {"seconds": seconds, "losses": curve})
    del workload, accelerator
    end_processes()


def launch(flags: ScalingFlags, processes: int, accumulate: int, result: Path) -> dict:
    """Run `work` in that many processes."""
    # Two batches are cut short in 16 ways, each of which would be captured.
    mode = flags.mode.removesuffix(" graph") if accumulate > 1 else flags.mode
    command = [sys.executable, "-m", "benchmarks.speed.scaling"]
    log.info("%d processes, %d batches each", processes, accumulate)
    command += [f"--result={result}", f"--accumulate={accumulate}", f"--mode={mode}"]
    for name in ("batch_size", "steps", "warm_up", "size", "device"):
        command.append(f"--{name}={getattr(flags, name)}")
    code = run_together(command, processes)
    if code:
        raise UserError(f"--processes {processes}: the run failed (exit code {code}); see above")
    return json.loads(result.read_text())


def run_together(command: list[str], processes: int, limit: float = float("inf"), **environment: str) -> int:
    """Run a command in that many processes until all have ended (0), one has failed (its exit code), or for `limit` s.

    Raises:
        TimeoutError: they have not ended in time.
    """
    port = free_port()
    surrounded = [surroundings(rank, processes, port) | environment for rank in range(processes)]
    running = [subprocess.Popen(command, env=one) for one in surrounded]
    try:
        return first_failure(running, limit)
    finally:  # those that wait for one that failed, or for a user who has gone
        for process in running:
            process.kill()
            process.wait()


def first_failure(running: list[subprocess.Popen], limit: float = float("inf")) -> int:
    """Wait until all have ended well (0), or one has not: its exit code; TimeoutError after `limit` seconds."""
    start = time.monotonic()
    while True:
        if time.monotonic() - start > limit:
            raise TimeoutError(f"no end within {limit:.0f} s")
        codes = [process.poll() for process in running]
        failed = [code for code in codes if code]
        if failed or None not in codes:
            return failed[0] if failed else 0
        time.sleep(0.1)


def free_port() -> int:
    """A TCP port of this machine that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def surroundings(rank: int, processes: int, port: int) -> dict[str, str]:
    """What torchrun would set, with addresses that need no name server."""
    found = {**os.environ, "OMP_NUM_THREADS": "1"}
    if processes > 1:
        found |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        found |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    return found


def standard_error(losses: list[float]) -> float:
    """Of the mean, from the means of blocks of neighbouring steps, which hang together."""
    blocks = [block.mean() for block in np.array_split(np.asarray(losses), min(_BLOCKS, len(losses)))]
    return float(np.std(blocks, ddof=1) / len(blocks) ** 0.5) if len(blocks) > 1 else float("nan")


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(ScalingFlags, __doc__, argv)
    on_gpu = flags.device != "cpu" and torch.cuda.is_available()
    flags = replace(flags, mode=flags.mode or ("fast bf16 graph" if on_gpu else CPU_MODES[2]))
    if flags.result is not None:
        work(flags)
        return
    rows: list[ScalingRow] = []
    curves = {}
    runs = [(n, 1) for n in flags.processes] + [(1, n) for n in flags.processes if n > 1]
    with tempfile.TemporaryDirectory() as folder:
        for processes, accumulate in runs:
            found = launch(flags, processes, accumulate, Path(folder) / "result.json")
            losses = found["losses"]
            last = losses[-max(1, len(losses) // 4) :]
            rate = flags.steps * flags.batch_size * processes * accumulate / found["seconds"]
            one = rows[0].items_per_second if rows else rate
            rows.append(ScalingRow(processes, accumulate, rate, rate / one, 1000 * found["seconds"] / flags.steps,
                                   float(np.mean(last)), standard_error(last)))  # fmt: skip
            curves[f"{processes} x {accumulate}"] = losses
    title = f"{machine(pick_device(flags.device))}: {flags.mode}, batch {flags.batch_size}"
    publish(title, rows, flags.json, losses=curves)


if __name__ == "__main__":
    main()
