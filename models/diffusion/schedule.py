"""Noise schedules and the two directions of the diffusion process (DDPM, Ho et al. 2020; paper section 3.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SCHEDULES = ("linear", "quadratic", "sigmoid", "cosine")
_LO, _HI = 1e-4, 0.02


def make_betas(kind: str, n_steps: int) -> Tensor:
    """beta_1..beta_T (float64)."""
    t = torch.linspace(0, 1, n_steps, dtype=torch.float64)
    if kind == "linear":
        return _LO + (_HI - _LO) * t
    if kind == "quadratic":
        return (math.sqrt(_LO) + (math.sqrt(_HI) - math.sqrt(_LO)) * t) ** 2
    if kind == "sigmoid":
        return _LO + (_HI - _LO) * torch.sigmoid(10 * t - 5)
    if kind == "cosine":  # Nichol & Dhariwal 2021, s = 0.008
        s = 0.008
        # In float32 on purpose: early betas lose digits in 1 - ratio, which the published weights were trained with.
        f = torch.cos((torch.arange(n_steps + 1, dtype=torch.float32) / n_steps + s) / (1 + s) * math.pi / 2) ** 2
        f = f / f[0]
        return (1 - f[1:] / f[:-1]).clamp(1e-4, 0.999).double()
    raise ValueError(f"diffusion schedule {kind!r} is unknown; use one of {', '.join(SCHEDULES)}")


@dataclass(frozen=True)
class Schedule:
    """Tables with T + 1 rows; row 0 is "no noise"."""

    betas: Tensor
    alphas: Tensor
    alpha_bars: Tensor
    sigmas: Tensor  # sigma_t of the reverse step (the published `sigmas_inflex`); 0 at t = 0 and t = 1

    @classmethod
    def make(cls, kind: str, n_steps: int) -> Schedule:
        """Tables for T = n_steps, computed in float64 and kept in float32."""
        betas = torch.cat([torch.zeros(1, dtype=torch.float64), make_betas(kind, n_steps)])
        alphas = 1 - betas
        alpha_bars = torch.cumprod(alphas, 0)
        sigmas = torch.zeros_like(betas)
        sigmas[1:] = ((1 - alpha_bars[:-1]) / (1 - alpha_bars[1:]) * betas[1:]).sqrt()
        return cls(*(x.float() for x in (betas, alphas, alpha_bars, sigmas)))

    @property
    def n_steps(self) -> int:
        return len(self.betas) - 1

    def to(self, device: torch.device | str) -> Schedule:
        return Schedule(*(x.to(device) for x in (self.betas, self.alphas, self.alpha_bars, self.sigmas)))

    def q_sample(self, x0: Tensor, step: Tensor, noise: Tensor) -> Tensor:
        """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise; x0 (B, ...), step (B,)."""
        abar = self.alpha_bars[step].view(-1, *[1] * (x0.dim() - 1))
        return abar.sqrt() * x0 + (1 - abar).sqrt() * noise
