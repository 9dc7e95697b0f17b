"""One training step of the denoiser, plain against the faster forms: time, memory, and where the time goes.

    python -m benchmarks.speed.training_step [--batch_sizes 16 64] [--modes "fast bf16 graph" ...] [--steps 20]
                                             [--profile] [--size tiny] [--device cpu] [--json out.json]
    python -m benchmarks.speed.training_step --parts vertices [--batch_sizes 16 64] [--frames 110] [--repeats 10]

- step: milliseconds per step (mean over the timed steps, in which clips are cut short as often as in training); times
  the plain float32 step; peak memory that tensors took and that was reserved, GB; the total loss's and the worst single
  term's relative difference from the plain step, without dropout and for the same random numbers. Data are on the
  device already; loading them is measured by benchmarks.speed.data.
- vertices: the three FLAME vertex losses alone, on skinned vertices and without vertices (vertex_space). Milliseconds
  forward and backward (the fastest of the repeats; on a GPU both forms replayed from CUDA graphs); times the plain
  form; peak memory, GB; the largest relative difference of a term; the gradient's, ||g - plain|| / ||plain||. The batch
  is the one clip of every pair that has the previous frames before it.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.report import (
    DeviceFlags,
    column,
    machine,
    measured,
    memory_gb,
    read_flags,
    seconds,
    synchronize,
    table,
    text_table,
    write_json,
)
from benchmarks.speed.workload import CPU_MODES, MODES, SIZES, RandomItems, Workload, smooth_motion
from models.heads.flame import load_flame
from models.training.losses import LossConfig, MotionLoss
from utils.coefs import CoefLayout, CoefStats, MotionCodec
from utils.config import flag
from utils.cuda_graph import recording
from utils.devices import pick_device
from utils.errors import cli

PARTS = ("step", "vertices")
_PLAIN = "plain fp32"
_PROFILED, _TOP = 3, 14


@dataclass(frozen=True, kw_only=True)
class StepFlags(DeviceFlags):
    """What is measured."""

    parts: Sequence[str] = flag(PARTS[:1], choices=PARTS)
    """step, vertices or both."""
    batch_sizes: Sequence[int] = (16,)
    """Items of a batch."""
    size: str = flag("full", choices=SIZES)
    """Step: of the networks, {choices}."""
    modes: Sequence[str] = flag((), choices=tuple(MODES))
    """Step: forms beside the plain one; without it, all that the device can do."""
    steps: int = 20
    """Step: timed steps of each mode."""
    warm_up: int = 5
    """Step: steps before, of each of the four kinds."""
    profile: bool = False
    """Step: also say which operations take the time."""
    frames: int = 110
    """Vertices: of each motion."""
    repeats: int = 10
    """Vertices: the fastest of them counts."""


def reset_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


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
        reset_memory()
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


def time_steps(flags: StepFlags, device: torch.device) -> tuple[list[StepRow], dict[int, dict]]:
    """Every mode at every batch size, the plain one first; profiles by batch size and mode."""
    modes = flags.modes or (MODES if device.type == "cuda" else CPU_MODES)
    rows, profiles = [], {}
    for batch_size in flags.batch_sizes:
        bench = Bench(flags, batch_size)
        rows += measured([_PLAIN, *(m for m in modes if m != _PLAIN)], bench.time_mode, f"batch {batch_size}")
        profiles[batch_size] = bench.profiles
    return rows, profiles


@dataclass(frozen=True)
class LossRow:
    """One form of the vertex losses at one batch size."""

    form: str = column("form")
    batch_size: int = column("batch")
    vertices_m: float = column("M vertices", "{:.1f}")  # behind the losses, millions: prediction and truth
    ms: float = column("ms", "{:.2f}")
    speedup: float = column("x plain", "{:.1f}")
    peak_gb: float = column("peak GB", "{:.2f}")
    term_difference: float = column("term diff", "{:.1e}")
    gradient_difference: float = column("gradient diff", "{:.1e}")


class Case:
    """A predicted and a true motion of realistic size, in normalised space (identity statistics: raw coefficients)."""

    def __init__(self, batch_size: int, frames: int, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        sizes = torch.cat([torch.full((50,), 0.5), torch.full((4,), 0.1)])
        motions = 3 * sizes * smooth_motion(2 * batch_size, frames, generator)
        self.predicted, self.truth = motions.unflatten(0, (2, batch_size)).to(device)
        self.shape = torch.randn(batch_size, 100, generator=generator).to(device)

    def run(self, loss: MotionLoss) -> tuple[dict[str, Tensor], Tensor]:
        """Terms, and the gradient of their weighted sum."""
        predicted = self.predicted.detach().requires_grad_(True)  # a new leaf: an old one belongs to another stream
        terms = loss(predicted, self.truth, None, self.truth, self.shape, None)
        vertex = {name: terms[name] for name in ("vert", "vel", "smooth")}
        weights = loss.config.weights()
        (gradient,) = torch.autograd.grad(sum(weights[k] * v for k, v in vertex.items()), predicted)
        return {name: value.detach() for name, value in vertex.items()}, gradient


def replayed(run: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """On a GPU `run` as one CUDA graph: eagerly, launching its small kernels would take longer than running them."""
    if device.type != "cuda":
        return run
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
    torch.cuda.current_stream().wait_stream(stream)
    with recording(graph, stream=stream):
        run()
    return graph.replay


def time_losses(flags: StepFlags, device: torch.device) -> list[LossRow]:
    """Both forms of the vertex losses at every batch size; the first is the plain one."""
    torch.set_float32_matmul_precision("highest")  # as the engine does: PyTorch refuses a mixture of both ways
    codec, flame = MotionCodec(CoefLayout(), CoefStats.identity()).to(device), load_flame(None).to(device)
    losses = {
        "vertices": MotionLoss(LossConfig(), "sample", codec, flame, compressed=False),
        "vertex space": MotionLoss(LossConfig(), "sample", codec, flame),
    }
    rows = []
    for batch_size in flags.batch_sizes:
        case, plain = Case(batch_size, flags.frames, device), None
        for form, loss in losses.items():
            reset_memory()
            terms, gradient = case.run(loss)
            ms = 1000 * seconds(replayed(partial(case.run, loss), device), device, flags.repeats)
            plain = plain or (ms, terms, gradient)
            rows.append(LossRow(
                form, batch_size, 2 * batch_size * flags.frames * flame.n_vertices / 1e6, ms, plain[0] / ms,
                memory_gb(device)[0], max(abs(terms[k] / v - 1).item() for k, v in plain[1].items()),
                ((gradient - plain[2]).norm() / plain[2].norm()).item(),
            ))  # fmt: skip
    return rows


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(StepFlags, __doc__, argv)
    device = pick_device(flags.device)
    found: dict[str, Any] = {"machine": machine(device)}
    if "step" in flags.parts:
        found["rows"], found["profiles"] = time_steps(flags, device)
        print(f"{found['machine']}: training step, {flags.size} networks", table(found["rows"]), sep="\n")
        for batch_size, profiles in found["profiles"].items():
            for mode, lines in profiles.items():
                print(f"\n{mode}, batch {batch_size}", text_table(lines), sep="\n")
    if "vertices" in flags.parts:
        found["vertices"] = time_losses(flags, device)
        print(f"{found['machine']}: vertex losses", table(found["vertices"]), sep="\n")
    write_json(flags.json, found)


if __name__ == "__main__":
    main()
