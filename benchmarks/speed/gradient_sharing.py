"""Training on several processes: our buckets against PyTorch's DistributedDataParallel, and one process against many.

    python -m benchmarks.speed.gradient_sharing [--batch_sizes 16 64] [--steps 60] [--size tiny] [--device cpu]
    python -m benchmarks.speed.gradient_sharing --processes 1 2 [--batch_sizes 16] [--steps 200]

It starts the processes by itself (two GPUs, about 5 minutes) and times the training step of the published size in bf16;
rows appear as they are measured. Every process has the whole batch size in a step, as with `torchrun --nproc_per_node N
main_dpt.py --batch_size 16`.

- Without --processes: one process, then two with each way of averaging gradients, captured and eager. DDP is what
  `accelerate.prepare()` makes, once with a static graph, gradients as views of its buckets, and buckets of our size,
  and once with its defaults. As PyTorch's notes on CUDA graphs ask, for a capture it is made on a side stream, NCCL's
  asynchronous error handling is off, and at least 11 eager steps come first.
- With --processes: our buckets in each number of processes, captured on a GPU; then one process that accumulates the
  batches of N, so that it takes the same items in a step and should learn like them. Noise and dropout are other random
  numbers, so the losses agree statistically.

Columns: milliseconds per step in the fastest of three blocks; items per second; times the first row's; time over that
of our buckets; mean loss of the last quarter of the steps, and its standard error.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.report import DeviceFlags, column, machine, publish, read_flags, seconds, table, write_json
from benchmarks.speed.workload import MODES, SIZES, RandomItems, Workload, run_together
from utils.config import check_least, flag
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
_POOL, _BLOCKS, _LIMIT = 512, 3, 150.0  # items; timed blocks; seconds for one row of 60 steps
_LOSS_BLOCKS = 8  # of the last quarter, for the standard error


@dataclass(frozen=True)
class Way:
    """How a batch is shared out."""

    processes: int
    gradients: str = OURS
    accumulate: int = 1


WAYS = (Way(1), Way(2), Way(2, TUNED_DDP), Way(2, PLAIN_DDP))


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
    mode: str = flag("fast bf16", choices=tuple(MODES))
    """Form of the eager step."""
    processes: Sequence[int] = ()
    """Compare these numbers of processes, all with our buckets."""
    gradients: str = flag(OURS, choices=(OURS, *DDP))
    """What averages them (used by the benchmark itself)."""
    accumulate: int = 1
    """Batches per step (used by the benchmark itself)."""
    result: Path | None = None
    """Used by the benchmark itself."""

    def check(self) -> None:
        super().check()
        check_least(self, steps=1)

    def ways(self) -> Sequence[Way]:
        """What is compared."""
        if not self.processes:
            return WAYS
        return [Way(n) for n in self.processes] + [Way(1, OURS, n) for n in self.processes if n > 1]

    def forms(self, on_gpu: bool) -> dict[str, str]:
        """The step, captured (on a GPU, where the mode can be) and eager; one of them for numbers of processes."""
        eager = self.mode.removesuffix(" graph")
        forms = {"graph": f"{eager} graph"} if on_gpu and f"{eager} graph" in MODES else {}
        return forms if forms and self.processes else {**forms, "eager": eager}


@dataclass(frozen=True)
class GradientRow:
    """One way to average, at one batch size."""

    form: str = column("form")
    batch_size: int = column("batch")
    processes: int = column("processes")
    accumulate: int = column("batches each")
    gradients: str = column("gradients")
    step_ms: float = column("ms/step", "{:.2f}")
    items_per_second: float = column("items/s", "{:.0f}")
    speedup: float = column("x one", "{:.2f}")
    against_ours: float = column("time / buckets'", "{:.3f}")
    last_loss: float = column("last loss", "{:.5g}")
    standard_error: float = column("+-", "{:.2g}")


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
        command += [f"--gradients={way.gradients}", f"--accumulate={way.accumulate}"]
        command += [f"--{name}={getattr(flags, name)}" for name in ("steps", "warm_up", "size", "device")]
        command += ["--batch_sizes", *map(str, flags.batch_sizes)]
        environment = {} if way.gradients == OURS else {"TORCH_NCCL_ASYNC_ERROR_HANDLING": "0"}
        try:
            code = run_together(command, way.processes, _LIMIT * max(1, flags.steps / 60), **environment)
        except TimeoutError as error:
            return {"error": str(error)}
        return json.loads(result.read_text()) if result.is_file() else {"error": f"exit code {code}"}


def make_row(form: str, batch_size: int, way: Way, found: dict[Way, dict[str, Any]]) -> GradientRow:
    """The row of one launch, against the first one and our buckets; NaN where a run failed."""
    figures = {each: result.get(str(batch_size), {}) for each, result in found.items()}
    times = {each: figure.get("seconds", math.nan) for each, figure in figures.items()}
    rates = {each: each.processes * each.accumulate * batch_size / time for each, time in times.items()}
    losses = figures[way].get("losses", [])
    last = losses[-max(1, len(losses) // 4) :]
    return GradientRow(
        form, batch_size, way.processes, way.accumulate, way.gradients, 1000 * times[way], rates[way],
        rates[way] / rates[next(iter(found))],
        times[way] / times[Way(way.processes)] if way.processes > 1 else math.nan,
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
    title = f"{machine(device)}: {flags.mode}"
    rows: list[GradientRow] = []
    more: dict[str, dict[str, Any]] = {"errors": {}, "losses": {}}
    for form, mode in flags.forms(device.type == "cuda").items():
        found: dict[Way, dict[str, Any]] = {}
        for way in flags.ways():
            found[way] = launch(flags, way, mode)
            name = f"{form}, {way.processes} x {way.accumulate}, {way.gradients}"
            if "error" in found[way]:
                more["errors"][name] = found[way]["error"]
            latest = [make_row(form, size, way, found) for size in flags.batch_sizes]
            rows += latest
            more["losses"][name] = {size: figures["losses"] for size, figures in found[way].items() if size != "error"}
            # At once, so that a run that is cut off keeps what it has measured.
            print(table(latest), flush=True)
            write_json(flags.json, {"machine": title, "rows": rows, **more})
    rows.sort(key=lambda row: (row.form, row.batch_size))
    publish(title, rows, flags.json, **more)
    for where, text in more["errors"].items():
        print(f"{where}: {text}")


if __name__ == "__main__":
    main()
