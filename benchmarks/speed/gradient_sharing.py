"""Gradients of two processes: our buckets against PyTorch's DistributedDataParallel, eager and in a CUDA graph.

    python -m benchmarks.speed.gradient_sharing [--batch_sizes 16 64] [--steps 60] [--size tiny] [--device cpu]

It starts the processes by itself (two GPUs, about 5 minutes) and times the training step of the published size in bf16;
rows appear as they are measured. One process comes first; every further row has two. Their columns compare with one
process (items per second) and with our buckets (milliseconds per step) in the same form. DDP is what
`accelerate.prepare()` makes, once with a static graph, gradients as views of its buckets, and buckets of our size, and
once with its defaults. As PyTorch's notes on CUDA graphs ask, for a capture it is made on a side stream, NCCL's
asynchronous error handling is off, and at least 11 eager steps come first.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.report import DeviceFlags, column, machine, publish, read_flags, synchronize, table, write_json
from benchmarks.speed.scaling import run_together
from benchmarks.speed.workload import MODES, SIZES, RandomItems, Workload
from utils.config import flag
from utils.devices import end_processes, pick_device
from utils.errors import cli
from utils.training.data_order import Share
from utils.training.shared_gradients import BUCKET_BYTES
from utils.training.train_step import Learner, Loss, StepConfig

log = logging.getLogger(__name__)

OURS, PLAIN_DDP, TUNED_DDP = "buckets", "ddp", "ddp tuned"
_TUNED = {"static_graph": True, "gradient_as_bucket_view": True, "bucket_cap_mb": BUCKET_BYTES >> 20}
# Our encoder's buffers are constants.
DDP = {PLAIN_DDP: {"broadcast_buffers": False}, TUNED_DDP: {"broadcast_buffers": False, **_TUNED}}
Way = tuple[int, str]  # processes, what averages their gradients
WAYS: tuple[Way, ...] = ((1, OURS), (2, OURS), (2, TUNED_DDP), (2, PLAIN_DDP))
_POOL, _BLOCKS, _LIMIT = 512, 3, 150.0  # items; timed blocks, of which the fastest counts; seconds for one row
_WARM_UP = 5  # of each of four kinds: three eager ones, the captured one, and one replayed


@dataclass(frozen=True, kw_only=True)
class GradientFlags(DeviceFlags):
    """What is measured."""

    batch_sizes: Sequence[int] = (16, 64)
    """Items per process and step."""
    steps: int = 60
    """Timed steps, in three blocks, of which the fastest counts."""
    size: str = flag("full", choices=SIZES)
    """Of the networks: {choices}."""
    mode: str = flag("fast bf16", choices=tuple(MODES))
    """Form of the eager step."""
    gradients: str = flag(OURS, choices=(OURS, *DDP))
    """What averages them (used by the benchmark itself)."""
    result: Path | None = None
    """Used by the benchmark itself."""


@dataclass(frozen=True)
class GradientRow:
    """One way to average, at one batch size."""

    form: str = column("form")
    batch_size: int = column("batch")
    processes: int = column("processes")
    gradients: str = column("gradients")
    step_ms: float = column("ms/step", "{:.2f}")
    items_per_second: float = column("items/s", "{:.0f}")
    speedup: float = column("x one", "{:.2f}")
    against_ours: float = column("time / buckets'", "{:.3f}")
    last_loss: float = column("last loss", "{:.5g}")


class _Pass(nn.Module):
    """A loss as a module, which DistributedDataParallel wants."""

    def __init__(self, network: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.network, self._loss = network, loss

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        return self._loss(batch)


class DdpLearner(Learner):
    """The same learner with gradients averaged by what `accelerate.prepare()` makes."""

    def __init__(self, workload: DdpWorkload, config: StepConfig) -> None:
        from accelerate import DistributedDataParallelKwargs

        super().__init__(workload.model, config, workload.accelerator)
        handler: Any = DistributedDataParallelKwargs(
            **DDP[workload.flags.gradients]
        )  # accelerate declares only its default, None
        self.accelerator.ddp_handler = handler
        captured = MODES[workload.flags.mode].graph
        with _side_stream() if captured else contextlib.nullcontext():
            self.parallel = self.accelerator.prepare(_Pass(workload.model, workload.loss))

    def share_gradients(self) -> None:
        return None

    def add_gradients(self, loss: Loss, batch: Any, share: float, last: bool) -> dict[str, Tensor]:
        with contextlib.nullcontext() if last else self.accelerator.no_sync(self.parallel):
            total, terms = self.parallel(batch)
            self.accelerator.backward(total * share)
        return {name: value.detach() for name, value in {"total": total, **terms}.items()}


class DdpWorkload(Workload):
    """The benchmarks' training step with a `DdpLearner`."""

    def __init__(self, flags: GradientFlags) -> None:
        self.flags = flags
        super().__init__(flags.size, MODES[flags.mode], flags.device)

    def make_learner(self, config: StepConfig) -> Learner:
        return DdpLearner(self, config)


@contextlib.contextmanager
def _side_stream() -> Iterator[None]:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        yield
    torch.cuda.current_stream().wait_stream(side)


def work(flags: GradientFlags) -> None:
    """One process's part: {batch size: figures} into --result, or {"error": text}."""
    assert flags.result is not None  # `main` gave it
    ours = flags.gradients == OURS
    workload = Workload(flags.size, MODES[flags.mode], flags.device) if ours else DdpWorkload(flags)
    first = workload.accelerator.is_main_process
    try:
        found = {str(size): timed(workload, size, flags.steps) for size in flags.batch_sizes}
    except Exception as error:
        if first:
            write_json(flags.result, {"error": f"{type(error).__name__}: {error}"})
        raise
    if first:
        write_json(flags.result, found)
    del workload
    end_processes()


def timed(workload: Workload, batch_size: int, steps: int) -> dict[str, float]:
    """Seconds per step in the fastest block, and the mean loss of the last block."""
    accelerator, device = workload.accelerator, workload.device
    share = Share(accelerator.process_index, accelerator.num_processes)
    items = RandomItems(max(_POOL, 4 * batch_size), workload.model.config.n_motions, device)
    batches = items.batches(batch_size, share=share)
    workload.warm_up(batches, _WARM_UP)
    seconds, each = [], max(1, steps // _BLOCKS)
    losses = torch.zeros(())
    for _ in tqdm(range(_BLOCKS), desc=f"batch {batch_size}", disable=not accelerator.is_main_process):
        accelerator.wait_for_everyone()
        synchronize(device)
        start = time.perf_counter()
        losses = torch.stack([workload.step(batches)["total"] for _ in range(each)])
        synchronize(device)
        accelerator.wait_for_everyone()
        seconds.append((time.perf_counter() - start) / each)
    reduced = accelerator.reduce(losses, "mean")
    assert isinstance(reduced, Tensor)  # accelerate also takes mappings of them
    return {"seconds": min(seconds), "loss": reduced.mean().item()}


def launch(flags: GradientFlags, processes: int, gradients: str, mode: str) -> dict[str, Any]:
    """Run `work` in that many processes; what it wrote, {"error": text} if it failed."""
    log.info("%s, %d processes, %s", mode, processes, gradients)
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks.speed.gradient_sharing", f"--result={result}", f"--mode={mode}"]
        command += [f"--gradients={gradients}", f"--steps={flags.steps}", f"--size={flags.size}"]
        command += [f"--device={flags.device}", "--batch_sizes", *map(str, flags.batch_sizes)]
        environment = {} if gradients == OURS else {"TORCH_NCCL_ASYNC_ERROR_HANDLING": "0"}
        try:
            code = run_together(command, processes, _LIMIT, **environment)
        except TimeoutError as error:
            return {"error": str(error)}
        return json.loads(result.read_text()) if result.is_file() else {"error": f"exit code {code}"}


def make_row(form: str, batch_size: int, way: Way, found: dict[Way, dict[str, Any]]) -> GradientRow:
    """The row of one launch, against those before it (one process, then our buckets); NaN where a run failed."""
    seconds = {each: figures.get(str(batch_size), {}).get("seconds", math.nan) for each, figures in found.items()}
    rates = {each: each[0] * batch_size / value for each, value in seconds.items()}
    return GradientRow(
        form, batch_size, *way, 1000 * seconds[way], rates[way], rates[way] / rates[1, OURS],
        seconds[way] / seconds[2, OURS] if way[0] == 2 else math.nan,
        found[way].get(str(batch_size), {}).get("loss") or math.nan,
    )  # fmt: skip


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(GradientFlags, __doc__, argv)
    if flags.result is not None:
        work(flags)
        return
    device = pick_device(flags.device)
    title = f"{machine(device)}: {flags.mode}"
    forms = ({"graph": f"{flags.mode} graph"} if device.type == "cuda" else {}) | {"eager": flags.mode}
    rows: list[GradientRow] = []
    errors: dict[str, str] = {}
    for form, mode in forms.items():
        found: dict[Way, dict[str, Any]] = {}
        for way in WAYS:
            found[way] = launch(flags, *way, mode)
            if "error" in found[way]:
                errors[f"{form}, {way[1]}"] = found[way]["error"]
            latest = [make_row(form, size, way, found) for size in flags.batch_sizes]
            rows += latest
            # At once, so that a run that is cut off keeps what it has measured.
            print(table(latest), flush=True)
            write_json(flags.json, {"machine": title, "rows": rows, "errors": errors})
    rows.sort(key=lambda row: (row.form, row.batch_size))
    publish(title, rows, flags.json, errors=errors)
    for where, text in errors.items():
        print(f"{where}: {text}")


if __name__ == "__main__":
    main()
