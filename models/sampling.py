"""Samplers: `(denoise, x_T, schedule, ...) -> x_0`. `denoise(x_t, t)` is a guided network evaluation."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.diffusion import Schedule

Denoise = Callable[[Tensor, int], Tensor]
Noise = Callable[[int, Tensor], Tensor]  # (t, like) -> z_t of the shape of `like`

SAMPLERS = ("ddpm", "ddim")


@dataclass(frozen=True)
class SamplerConfig:
    """Which sampler, and how many network evaluations (None: one for every diffusion step)."""

    name: str = "ddpm"
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.name not in SAMPLERS:
            raise ValueError(f"sampler {self.name!r} is unknown; use one of {', '.join(SAMPLERS)}")
        if self.name == "ddpm" and self.steps is not None:
            raise ValueError("ddpm takes all diffusion steps; for fewer use --sampler ddim --steps N")


def gaussian_noise(sources: list[int | torch.Generator], device: torch.device) -> Noise:
    """z ~ N(0, I) for a batch of len(sources) samples, each from its own generator, or from a new one of that seed."""
    generators = [s if isinstance(s, torch.Generator) else torch.Generator(device).manual_seed(s) for s in sources]

    def noise(t: int, like: Tensor) -> Tensor:
        options = {"device": like.device, "dtype": like.dtype}
        return torch.stack([torch.randn(like.shape[1:], generator=g, **options) for g in generators])

    return noise


@torch.no_grad()
def ddpm(denoise: Denoise, x_T: Tensor, schedule: Schedule, target: str, noise: Noise) -> Tensor:
    """Ancestral sampling through all T steps (Ho et al. 2020, algorithm 2); no noise is added at t = 1."""
    mean = schedule.posterior_mean if target == "sample" else schedule.posterior_mean_from_noise
    x = x_T
    for t in range(schedule.n_steps, 0, -1):
        x = mean(x, denoise(x, t), t)
        if t > 1:
            x = x + schedule.sigmas[t] * noise(t, x)
    return x


@torch.no_grad()
def ddim(denoise: Denoise, x_T: Tensor, schedule: Schedule, target: str, steps: int) -> Tensor:
    """Deterministic sampling on `steps` evenly spread diffusion steps (Song et al. 2021, eq. 12 with eta 0)."""
    if not 1 <= steps <= schedule.n_steps:
        raise ValueError(f"ddim with {steps} steps: the model has {schedule.n_steps}; use 1 to {schedule.n_steps}")
    times = torch.linspace(schedule.n_steps, 0, steps + 1).round().long().tolist()
    x = x_T
    for t, t_next in zip(times[:-1], times[1:]):
        prediction = denoise(x, t)
        abar, abar_next = schedule.alpha_bars[t], schedule.alpha_bars[t_next]
        if target == "sample":
            x0, eps = prediction, (x - abar.sqrt() * prediction) / (1 - abar).sqrt()
        else:
            x0, eps = (x - (1 - abar).sqrt() * prediction) / abar.sqrt(), prediction
        x = abar_next.sqrt() * x0 + (1 - abar_next).sqrt() * eps
    return x


def sample(
    config: SamplerConfig, denoise: Denoise, x_T: Tensor, schedule: Schedule, target: str, noise: Noise
) -> Tensor:
    """Run the configured sampler from x_T (B, L, D) to x_0."""
    if config.name == "ddim":
        return ddim(denoise, x_T, schedule, target, config.steps or schedule.n_steps)
    return ddpm(denoise, x_T, schedule, target, noise)
