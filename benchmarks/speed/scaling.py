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
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.report import text_table, write_json
from benchmarks.speed.machine import machine, synchronize
from benchmarks.speed.workload import CPU_MODES, MODES, SIZES, RandomItems, Workload
from utils.config import UserParser
from utils.devices import end_processes, pick_device
from utils.errors import UserError, cli
from utils.training.data_order import Share

log = logging.getLogger(__name__)

_POOL = 512  # items
_BLOCKS = 8  # of the last quarter, for the standard error


@dataclass(frozen=True)
class Row:
    """One number of processes."""

    processes: int
    batches_per_process: int
    items_per_second: float
    speedup: float
    step_ms: float
    last_loss: float
    standard_error: float


def work(args) -> None:
    """One process's part: train, and let the first one write its figures to --result."""
    workload = Workload(args.size, MODES[args.mode], args.device)
    accelerator = workload.accelerator
    share = Share(accelerator.process_index, accelerator.num_processes)
    items = RandomItems(_POOL, workload.model.config.n_motions, workload.device)
    batches = items.batches(args.batch_size, share=share)
    workload.warm_up(batches, args.warm_up)
    losses = []
    accelerator.wait_for_everyone()
    synchronize(workload.device)
    start = time.perf_counter()
    for _ in tqdm(range(args.steps), desc="steps", disable=not accelerator.is_main_process):
        losses.append(workload.step(batches, args.accumulate)["total"])
    synchronize(workload.device)
    accelerator.wait_for_everyone()
    seconds = time.perf_counter() - start
    curve = accelerator.reduce(torch.stack(losses), "mean").tolist()
    if accelerator.is_main_process:
        write_json(args.result, {"seconds": seconds, "losses": curve})
    del workload, accelerator
    end_processes()


def launch(args, processes: int, accumulate: int, result: Path) -> dict:
    """Run `work` in that many processes."""
    # Two batches are cut short in 16 ways, each of which would be captured.
    mode = args.mode.removesuffix(" graph") if accumulate > 1 else args.mode
    command = [sys.executable, "-m", "benchmarks.speed.scaling"]
    log.info("%d processes, %d batches each", processes, accumulate)
    command += [f"--result={result}", f"--accumulate={accumulate}", f"--mode={mode}"]
    for name in ("batch_size", "steps", "warm_up", "size", "device"):
        command.append(f"--{name}={getattr(args, name)}")
    port = free_port()
    running = [subprocess.Popen(command, env=surroundings(rank, processes, port)) for rank in range(processes)]
    try:
        code = first_failure(running)
    finally:  # those that wait for one that failed, or for a user who has gone
        for process in running:
            process.kill()
    if code:
        raise UserError(f"--processes {processes}: the run failed (exit code {code}); see above")
    return json.loads(result.read_text())


def first_failure(running: list[subprocess.Popen]) -> int:
    """Wait until all have ended well (0), or one has not: its exit code."""
    while True:
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


def table(rows: list[Row]) -> str:
    lines = [("processes", "batches each", "items/s", "x one", "ms/step", "last loss", "+-")]
    for r in rows:
        lines.append((str(r.processes), str(r.batches_per_process), f"{r.items_per_second:.0f}", f"{r.speedup:.2f}",
                      f"{r.step_ms:.1f}", f"{r.last_loss:.5g}", f"{r.standard_error:.2g}"))  # fmt: skip
    return text_table(lines)


def make_parser() -> UserParser:
    parser = UserParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--processes", type=int, nargs="+", default=[1, 2], help="(default: 1 2)")
    add("--mode", choices=MODES, help="of the step (default: fast bf16 graph; on a CPU fast fp32)")
    add("--size", choices=SIZES, default="full", help="of the networks (default: full)")
    add("--batch_size", type=int, default=16, help="per process (default: 16)")
    add("--steps", type=int, default=200, help="timed steps (default: 200)")
    add("--warm_up", type=int, default=5, help="steps before, of each of the four kinds (default: 5)")
    add("--device", default="auto", help="cuda, cpu or auto (default: auto)")
    add("--json", type=Path, help="also write the figures here")
    add("--accumulate", type=int, default=1, help="batches per step (used by the benchmark itself)")
    add("--result", type=Path, help="used by the benchmark itself")
    return parser


@cli
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    on_gpu = args.device != "cpu" and torch.cuda.is_available()
    args.mode = args.mode or ("fast bf16 graph" if on_gpu else CPU_MODES[2])
    if args.result is not None:
        work(args)
        return
    rows, curves = [], {}
    runs = [(n, 1) for n in args.processes] + [(1, n) for n in args.processes if n > 1]
    with tempfile.TemporaryDirectory() as folder:
        for processes, accumulate in runs:
            found = launch(args, processes, accumulate, Path(folder) / "result.json")
            losses = found["losses"]
            last = losses[-max(1, len(losses) // 4) :]
            rate = args.steps * args.batch_size * processes * accumulate / found["seconds"]
            one = rows[0].items_per_second if rows else rate
            rows.append(Row(processes, accumulate, rate, rate / one, 1000 * found["seconds"] / args.steps,
                            float(np.mean(last)), standard_error(last)))  # fmt: skip
            curves[f"{processes} x {accumulate}"] = losses
    title = f"{machine(pick_device(args.device))}, torch {torch.__version__}: {args.mode}, batch {args.batch_size}"
    print(title, table(rows), sep="\n")
    if args.json:
        write_json(args.json, {"machine": title, "rows": [asdict(row) for row in rows], "losses": curves})


if __name__ == "__main__":
    main()
