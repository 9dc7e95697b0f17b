"""The three FLAME vertex losses, forward and backward: on skinned vertices, and without vertices (vertex_space).

    python -m benchmarks.speed.vertex_losses [--batch_sizes 16 64] [--frames 110] [--repeats 10] [--device cpu]
                                             [--json out.json]

Columns: milliseconds forward and backward (the fastest of the repeats; on a GPU both forms replayed from CUDA graphs);
times the plain form; peak memory, GB; the largest relative difference of a term; the gradient's, ||g - plain|| /
||plain||. The batch is the one clip of every pair that has the previous frames before it. Making the space once takes
some seconds, which are not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.report import Flags, column, machine, publish, read_flags
from benchmarks.speed.machine import memory_gb, seconds
from models.heads.flame import load_flame
from models.training.losses import LossConfig, MotionLoss
from utils.coefs import CoefLayout, CoefStats, MotionCodec
from utils.cuda_graph import recording
from utils.devices import pick_device
from utils.errors import cli


@dataclass(frozen=True, kw_only=True)
class LossFlags(Flags):
    """What is measured."""

    batch_sizes: Sequence[int] = (16,)
    """Items of a batch."""
    frames: int = 110
    """Of each motion."""
    repeats: int = 10
    """The fastest of them counts."""
    device: str = "auto"
    """cuda, cpu or auto."""


@dataclass(frozen=True)
class LossRow:
    """One form at one batch size."""

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
        sizes = torch.cat([torch.full((50,), 0.5), torch.full((3,), 0.1), torch.full((1,), 0.1)])
        noise = torch.randn(2, batch_size, frames + 9, 54, generator=generator) * sizes * 3
        smooth = torch.nn.functional.avg_pool1d(noise.flatten(0, 1).transpose(1, 2), 10, 1).transpose(1, 2)
        predicted, truth = smooth.unflatten(0, (2, batch_size)).to(device)
        self.predicted, self.truth = predicted, truth
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


def compare(batch_size: int, flags: LossFlags, losses: dict[str, MotionLoss], device: torch.device) -> list[LossRow]:
    """Every form of the losses; the first is the plain one."""
    case, rows = Case(batch_size, flags.frames, device), []
    vertices = 2 * batch_size * flags.frames * next(iter(losses.values())).flame.n_vertices / 1e6
    reference = None
    for form, loss in losses.items():
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        terms, gradient = case.run(loss)
        ms = 1000 * seconds(replayed(partial(case.run, loss), device), device, flags.repeats)
        reference = reference or (ms, terms, gradient)
        plain_ms, plain_terms, plain_gradient = reference
        rows.append(LossRow(
            form, batch_size, vertices, ms, plain_ms / ms, memory_gb(device)[0],
            max(abs(terms[k] / v - 1).item() for k, v in plain_terms.items()),
            ((gradient - plain_gradient).norm() / plain_gradient.norm()).item(),
        ))  # fmt: skip
    return rows


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(LossFlags, __doc__, argv)
    device = pick_device(flags.device)
    torch.backends.cuda.matmul.allow_tf32 = False
    codec, flame = MotionCodec(CoefLayout(), CoefStats.identity()).to(device), load_flame(None).to(device)
    losses = {
        "vertices": MotionLoss(LossConfig(), "sample", codec, flame, compressed=False),
        "vertex space": MotionLoss(LossConfig(), "sample", codec, flame),
    }
    rows = [row for batch_size in flags.batch_sizes for row in compare(batch_size, flags, losses, device)]
    publish(f"{machine(device)}: vertex losses, {flame.n_vertices} vertices a frame", rows, flags.json)


if __name__ == "__main__":
    main()
