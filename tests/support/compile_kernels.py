"""Compile every Triton kernel that sampling launches for an H100, on a machine without a GPU: nothing is run.

The interpreter, which the other tests use, takes what the compiler refuses.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

import models.fast.engine
import models.fast.frozen_linear
from models.diffusion.guidance import Guidance
from models.diffusion.schedule import Schedule
from models.diffusion.solvers import SamplerConfig, gaussian_noise, solver_steps
from models.fast.engine import Engine, EngineConfig, _StepGraph
from models.fast.kernels import launch
from models.fast.kernels.select import all_kernels
from tests.support.random_windows import conditions, talker


class Driver:
    """As much of a GPU as the compiler asks for."""

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0


if __name__ == "__main__":
    triton.runtime.driver.set_active(Driver())
    compiled = []

    def compile_only(kernel, grid):
        def compiling(*args, **options):
            compiled.append((kernel.__name__, kernel.run(*args, grid=grid, warmup=True, **options)))

        return compiling

    JITFunction.__getitem__ = compile_only
    models.fast.engine.kernels_for = lambda device: all_kernels()
    models.fast.frozen_linear._pack = lambda weight: None
    EngineConfig.on = lambda self, device: self
    _StepGraph._capture = lambda self, work: SimpleNamespace(replay=work)
    launch.can_overlap = lambda device: True
    model = talker(feature_dim=128, n_heads=4, n_layers=2)
    steps = solver_steps(SamplerConfig("ddim", 1), Schedule.make("cosine", 6), "sample")
    for precision in ("float32", "tf32", "bf16", "fp16"):
        for n in (1, 16):
            engine = Engine(model, Guidance(), EngineConfig(precision))
            engine.run(conditions(model, n), steps, torch.zeros(n, 100, 54), gaussian_noise([0] * n, "cpu"))
    binaries = {(name, binary.hash) for name, binary in compiled}
    print(f"{len(binaries)} kernels:", *sorted({name for name, _ in binaries}))
