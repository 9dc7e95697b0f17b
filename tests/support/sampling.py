"""Whole solvers in one call, as the tests use them."""

from __future__ import annotations

from torch import Tensor

from models.diffusion.schedule import Schedule
from models.diffusion.solvers import (
    Denoise,
    Noise,
    SamplerConfig,
    ddim_steps,
    ddpm_steps,
    even_times,
    run_steps,
    solver_steps,
)


def ddpm(denoise: Denoise, x_T: Tensor, schedule: Schedule, target: str, noise: Noise) -> Tensor:
    """See `ddpm_steps`."""
    return run_steps(ddpm_steps(schedule, target), denoise, x_T, noise)


def ddim(denoise: Denoise, x_T: Tensor, schedule: Schedule, target: str, steps: int) -> Tensor:
    """See `ddim_steps`; on evenly spread times."""
    return run_steps(ddim_steps(schedule, target, even_times(schedule.n_steps, steps)), denoise, x_T)


def sample(
    config: SamplerConfig, denoise: Denoise, x_T: Tensor, schedule: Schedule, target: str, noise: Noise
) -> Tensor:
    """Run the configured solver from x_T (B, L, D) to x_0."""
    return run_steps(solver_steps(config, schedule, target), denoise, x_T, noise)
