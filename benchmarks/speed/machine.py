"""What a machine can do at best: operations of a sampling step, rate of large matrix products, share of busy time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch

from models.networks.denoiser import DenoiserConfig


def step_flop(config: DenoiserConfig, samples: int, branches: int, persons: int, cached: bool) -> int:
    """Floating-point operations of the matrix products of one step (a multiplication and an addition each).

    Cached: without the products whose result is kept, with the first self-attention for each of the branches' distinct
    persons, and the last layer for the window's frames only.
    """
    d, frames, window = config.feature_dim, config.n_frames, config.n_motions
    tokens, batch, hidden = 1 + frames, samples * branches, d * config.mlp_ratio
    lookup = cached and config.align_mask_width == 1
    total = 0
    for layer in range(config.n_layers):
        last = cached and layer == config.n_layers - 1
        n = window if last else tokens
        asking = n if not lookup else 0 if last else 1
        attending = samples * persons if cached and layer == 0 else batch
        total += 2 * attending * (tokens * d * 3 * d + 2 * n * tokens * d + n * d * d)  # self-attention
        total += 2 * batch * (2 * asking * d * d + 2 * asking * frames * d + 2 * n * d * hidden)
        if not cached:
            total += 2 * batch * frames * d * 2 * d  # keys and values of the memory
    n, dim = (window, config.motion_dim) if cached else (frames, config.motion_dim)
    flag = 0 if cached else int(config.use_indicator)
    total += 2 * (samples if cached else batch) * n * (dim + flag) * d + batch * n * d * (d + dim)
    if not cached:
        total += 2 * batch * (2 * d * d + config.person_dim * d)  # step embedding and person
    return total


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The fastest of some runs."""
    best = float("inf")
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        run()
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    return best


def matrix_rate(precision: str, device: torch.device, size: int) -> float:
    """Operations per second of one large square product."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        a @ b
        number = 10 if seconds(lambda: a @ b, device, 1) < 0.1 else 1  # some processors only imitate bf16
        best = seconds(lambda: [a @ b for _ in range(number)], device, 3)
    finally:
        torch.set_float32_matmul_precision(before)
    return number * 2 * size**3 / best


def kernels(run: Callable[[], object], n_steps: int, device: torch.device) -> tuple[float, float]:
    """Kernels per step, and the share of the time during which one ran; NaN on a CPU."""
    if device.type != "cuda":
        return math.nan, math.nan
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as record:
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        wall = time.perf_counter() - start
    times = [e.device_time_total for e in record.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    return len(times) / n_steps, sum(times) / 1e6 / wall


def memory_gb(device: torch.device) -> tuple[float, float]:
    """Peak of the memory that tensors took, and of what was reserved; NaN on a CPU."""
    if device.type != "cuda":
        return math.nan, math.nan
    return torch.cuda.max_memory_allocated() / 1e9, torch.cuda.max_memory_reserved() / 1e9
