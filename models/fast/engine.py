"""Computes a window's reverse process: its precision, its cache, and on a GPU its CUDA graphs of steps.

`guided_denoiser` with `run_steps` is the plain twin of everything here.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.diffusion.guidance import Guidance
from models.diffusion.plain import guided_denoiser
from models.diffusion.solvers import Noise, Step, run_steps
from models.diffusion.window import BranchInputs, Conditions, branch_inputs, with_folding
from models.fast.cached_denoiser import CachedDenoiser
from models.fast.kernels.select import kernels_for
from models.fast.window_cache import WindowCache
from models.networks.talker import Talker
from utils.cuda_graph import recording, side_stream
from utils.devices import PRECISION_SPELLINGS, PRECISIONS

if TYPE_CHECKING:
    from models.fast.kernels.step import FusedStep

log = logging.getLogger(__name__)

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_SLOW_BF16 = torch.backends.cpu.get_cpu_capability() == "AVX2"  # where it is six times slower than float32
_MAX_GRAPHS = 8  # kept at once, or for each of `batches`; the least recently used one is dropped


@dataclass(frozen=True)
class EngineConfig:
    """How the network is evaluated; the motion is the same up to rounding."""

    precision: str = "fp32"  # one of PRECISIONS, in any spelling
    cached: bool = True  # use `CachedDenoiser`; False: the plain twin, for reference
    graph: bool = True  # replay steps as a CUDA graph; no effect on a CPU
    batches: tuple[int, ...] = ()  # sizes that batches are filled up to on a GPU, rising; others: `graph_size`

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", PRECISION_SPELLINGS.get(self.precision, self.precision))
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision {self.precision!r} is unknown; use one of {', '.join(PRECISIONS)}")
        if not self.cached and self.precision in _DTYPES:
            raise ValueError(f"precision {self.precision!r} needs the cached network; use fp32 or tf32")

    def on(self, device: torch.device) -> "EngineConfig":
        """The configuration with what this device supports; logs a warning if it changes the precision."""
        if device.type == "cuda":
            return self
        if self.precision in ("tf32", "fp16") or (self.precision == "bf16" and _SLOW_BF16):
            made_for = "processors with AVX-512" if self.precision == "bf16" else "GPUs"
            log.warning("%s is for %s; computing in float32", self.precision, made_for)
            return replace(self, precision="fp32", graph=False, batches=())
        return replace(self, graph=False, batches=())


@contextlib.contextmanager
def _matmul_precision(precision: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class Engine:
    """Runs solvers for one model and one guidance. It keeps graphs and prepared weights between windows.

    The model must be in eval mode; make a new engine after its weights have changed.
    """

    def __init__(self, model: Talker, guidance: Guidance, config: EngineConfig | None = None) -> None:
        self.model, self.guidance = model, with_folding(guidance, model)
        self.config = (config or EngineConfig()).on(model.device)
        dtype = _DTYPES.get(self.config.precision, torch.float32)
        self.net = CachedDenoiser(model.denoising_net, dtype, kernels_for(model.device))
        self._graphs: dict[tuple, _StepGraph] = {}

    def predict(self, x: Tensor, step: Tensor, cache: WindowCache) -> Tensor:
        """Guided prediction (N, L, D) for x (N, L, D) and a row (d,) of the step table."""
        return self.guidance.combine(list(self.net(x, step, cache).chunk(len(self.guidance.branches()))))

    def batch_size(self, n: int) -> int:
        """The number of windows that n windows are computed as: on a GPU that of a graph."""
        return next((size for size in self.config.batches if size >= n), graph_size(n)) if self.config.graph else n

    @torch.no_grad()
    def run(self, given: Conditions, steps: list[Step], x_T: Tensor, noise: Noise) -> Tensor:
        """One window: x_T (B, L, D) -> normalised motion (B, L, D)."""
        with _matmul_precision(self.config.precision):
            if not self.config.cached:
                return run_steps(steps, guided_denoiser(self.model, given, self.guidance), x_T, noise)
            if self.config.graph:
                return self._run_graph(given, steps, x_T, noise)
            cache = self.net.window(branch_inputs(self.model, given, self.guidance))
            return run_steps(steps, lambda x, t: self.predict(x, self.net.steps[t], cache), x_T, noise)

    def _run_graph(self, given: Conditions, steps: list[Step], x_T: Tensor, noise: Noise) -> Tensor:
        """One window by CUDA graphs of a few batch sizes; a batch in between is filled up with any windows."""
        size = self.batch_size(len(x_T))
        key = (size, x_T.shape[1], tuple(steps))
        graph = self._graphs.pop(key, None)
        if graph is None:
            index = torch.arange(size, device=x_T.device).clamp(max=len(x_T) - 1)
            graph = _StepGraph(self, branch_inputs(self.model, given[index], self.guidance), steps, x_T[index])
        self._graphs[key] = graph  # now the most recent in the dictionary
        while len(self._graphs) > _MAX_GRAPHS * max(1, len(self.config.batches)):
            del self._graphs[next(iter(self._graphs))]
        return graph.run(branch_inputs(self.model, given, self.guidance), x_T, noise)


def graph_size(n: int) -> int:
    """The batch size that n windows are filled up to: 1, 2, 4, 8, 16, 24, 32, ..."""
    return 1 << (n - 1).bit_length() if n <= 8 else -(-n // 8) * 8


def graph_length(steps: int) -> int:
    """Steps per graph for this number of steps: 8 to 16, chosen to need few idle steps at the end."""
    return steps if steps <= 16 else min(range(16, 7, -1), key=lambda length: -steps % length)


class _StepGraph:
    """The constants of a window, and some steps of a solver, captured once.

    Each step reads its row of a table of numbers and updates x.
    """

    def __init__(self, engine: Engine, given: BranchInputs, steps: list[Step], x_T: Tensor) -> None:
        self.engine, self.length = engine, graph_length(len(steps))
        idle = Step(t=1, keep=1.0, data=0.0)
        self.steps = steps + [idle] * (-len(steps) % self.length)
        self.uses_x = any((s.from_x, s.from_out) != (0.0, 1.0) for s in steps)
        self.uses_before, self.uses_noise = any(s.previous for s in steps), any(s.noise for s in steps)
        numbers = torch.tensor([s.numbers for s in self.steps], device=x_T.device)
        self.table = torch.cat([numbers, engine.net.steps[[s.t for s in self.steps]]], dim=1)  # (K, 6 + d)
        self.line = torch.zeros(1, dtype=torch.long, device=x_T.device)
        self.x, self.before = x_T.clone(), torch.zeros_like(x_T)
        self.noise = torch.zeros(self.length, *x_T.shape, device=x_T.device)
        self.given = given.map(torch.clone)
        self.cache = engine.net.window(given).clone()
        self.fused = self._fused(engine.guidance.weights())
        self.opening, self.graph = self._capture(self.open), self._capture(self.some_steps)

    def _fused(self, weights: list[float] | None) -> "FusedStep | None":
        """CUDA kernels for the work around the network; None without CUDA, or if guidance is not a weighted sum."""
        net = self.engine.net
        if weights is None or net.kernels is None:
            return None
        assert net.motion_out.bias is not None
        matrices = net.motion_in.weight, net.motion_out.weight, net.motion_out.bias
        return net.kernels.fused_step(*matrices, weights, self.table, self.line)

    def _start(self) -> None:
        """Reset the row counter before the first step."""
        self.line.zero_()
        if self.fused is not None:
            self.fused.start()

    def _capture(self, work: Callable[[], None]) -> "torch.cuda.CUDAGraph":
        """Warm up on a side stream, since libraries allocate and compile at first use, then record."""
        with side_stream():
            for _ in range(3):
                self.open()
                self.step(self.noise[0])
        graph = torch.cuda.CUDAGraph()
        with recording(graph):
            work()
        return graph

    def open(self) -> None:
        """What comes before the first step."""
        self.cache.copy_(self.engine.net.window(self.given))
        self.before.zero_()
        self._start()

    def some_steps(self) -> None:
        """The steps of one graph."""
        for noise in self.noise:
            self.step(noise)

    def step(self, z: Tensor) -> None:
        """Replace x by the next x, with noise z (N, L, D); see `models.diffusion.solvers` for the numbers."""
        if self.fused is not None:
            hidden = self.engine.net.hidden(self.fused.tokens(self.x, self.cache), self.cache)
            self.fused.update(hidden, self.x, self.before, z)
            return
        row = self.table.index_select(0, self.line)[0]
        from_x, from_out, keep, data, previous, noise = row[:6].unbind()
        value = self.engine.predict(self.x, row[6:], self.cache)
        if self.uses_x:
            value = from_x * self.x + from_out * value
        self.x.mul_(keep).addcmul_(value, data)
        if self.uses_before:
            self.x.addcmul_(self.before, previous)
            self.before.copy_(value)
        if self.uses_noise:
            self.x.addcmul_(z, noise)
        self.line.add_(1)

    def run(self, given: BranchInputs, x_T: Tensor, noise: Noise) -> Tensor:
        """Run a whole window of n items, at most as many as were captured -> (n, L, D)."""
        n = len(x_T)
        self.given.copy_(given)
        self.x[:n].copy_(x_T)
        self.opening.replay()
        for start in range(0, len(self.steps), self.length):
            drawn = [noise(s.t, self.x[:n]) if s.noise else None for s in self.steps[start : start + self.length]]
            if any(z is not None for z in drawn):
                nothing = torch.zeros_like(self.x[:n])
                torch.stack([nothing if z is None else z for z in drawn], out=self.noise[:, :n])
            self.graph.replay()
        return self.x[:n].clone()
