"""The three FLAME vertex losses, forward and backward: on skinned vertices, and without vertices (vertex_space).

    python -m benchmarks.speed.vertex_losses [--batch_sizes 16 64] [--frames 110] [--repeats 10] [--device cpu]
                                             [--json out.json]

Columns: milliseconds forward and backward (the fastest of the repeats; on a GPU both forms replayed from CUDA graphs);
times the plain form; peak memory, GB; the largest relative difference of a term; the gradient's, ||g - plain|| /
||plain||. The batch is the one clip of every pair that has the previous frames before it. Making the space once takes
some seconds, which are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.report import text_table, write_json
from benchmarks.speed.machine import machine, seconds
from benchmarks.speed.training_step import memory_gb
from models.heads.flame import load_flame
from models.training.losses import LossConfig, MotionLoss
from utils.coefs import CoefLayout, CoefStats, MotionCodec
from utils.config import UserParser
from utils.cuda_graph import recording
from utils.devices import pick_device
from utils.errors import cli


@dataclass(frozen=True)
class Row:
    """One form at one batch size."""

    form: str
    batch_size: int
    vertices_m: float  # vertices behind the losses, millions: prediction and truth
    ms: float
    speedup: float
    peak_gb: float
    term_difference: float
    gradient_difference: float


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


def measure(batch_size: int, args, losses: dict[str, MotionLoss], device: torch.device) -> list[Row]:
    case, rows = Case(batch_size, args.frames, device), []
    vertices = 2 * batch_size * args.frames * next(iter(losses.values())).flame.n_vertices / 1e6
    reference = None
    for form, loss in losses.items():
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        terms, gradient = case.run(loss)
        ms = 1000 * seconds(replayed(partial(case.run, loss), device), device, args.repeats)
        reference = reference or (ms, terms, gradient)
        plain_ms, plain_terms, plain_gradient = reference
        rows.append(Row(
            form, batch_size, vertices, ms, plain_ms / ms, memory_gb(device)[0],
            max(abs(terms[k] / v - 1).item() for k, v in plain_terms.items()),
            ((gradient - plain_gradient).norm() / plain_gradient.norm()).item(),
        ))  # fmt: skip
    return rows


def table(rows: list[Row]) -> str:
    lines = [("form", "batch", "M vertices", "ms", "x plain", "peak GB", "term diff", "gradient diff")]
    for r in rows:
        peak = "-" if math.isnan(r.peak_gb) else f"{r.peak_gb:.2f}"
        lines.append((r.form, str(r.batch_size), f"{r.vertices_m:.1f}", f"{r.ms:.2f}", f"{r.speedup:.1f}", peak,
                      f"{r.term_difference:.1e}", f"{r.gradient_difference:.1e}"))  # fmt: skip
    return text_table(lines)


@cli
def main(argv: list[str] | None = None) -> None:
    parser = UserParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[16], help="(default: 16)")
    parser.add_argument("--frames", type=int, default=110, help="of each motion (default: 110)")
    parser.add_argument("--repeats", type=int, default=10, help="(default: 10)")
    parser.add_argument("--device", default="auto", help="cuda, cpu or auto (default: auto)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args(argv)
    device = pick_device(args.device)
    torch.backends.cuda.matmul.allow_tf32 = False
    codec, flame = MotionCodec(CoefLayout(), CoefStats.identity()).to(device), load_flame(None).to(device)
    losses = {
        "vertices": MotionLoss(LossConfig(), "sample", codec, flame, compressed=False),
        "vertex space": MotionLoss(LossConfig(), "sample", codec, flame),
    }
    rows = [row for batch_size in args.batch_sizes for row in measure(batch_size, args, losses, device)]
    title = f"{machine(device)}, torch {torch.__version__}: vertex losses, {flame.n_vertices} vertices a frame"
    print(title, table(rows), sep="\n")
    if args.json:
        write_json(args.json, {"machine": title, "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
