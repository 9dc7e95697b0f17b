"""Solvers of the reverse process, each as a table of numbers, and the loop that runs any of them.

A step at diffusion time t evaluates the network once, `out = denoise(x, t)`, and moves on linearly:

    value = from_x x + from_out out                       (the solver extrapolates x_0, or the noise)
    x'    = keep x + data value + previous value_before + noise z

All numbers depend on the schedule alone. So a solver is a short function, and one CUDA graph can run any of them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.diffusion.schedule import Schedule

Denoise = Callable[[Tensor, int], Tensor]
Noise = Callable[[int, Tensor], Tensor]  # (t, like) -> z_t of the shape of `like`

SAMPLERS = ("ddpm", "ddim", "dpmpp_2m")
MIN_LOG_SNR = -5.0  # noise with 0.7 % signal; steps at noisier times would be wasted
NOISE_BLOCK = 16  # steps whose noise is drawn at once, for fewer and larger calls of the generator


@dataclass(frozen=True)
class SamplerConfig:
    """The solver, and the number of network evaluations (None: one for every diffusion step)."""

    name: str = "ddpm"
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.name not in SAMPLERS:
            raise ValueError(f"sampler {self.name!r} is unknown; use one of {', '.join(SAMPLERS)}")


@dataclass(frozen=True)
class Step:
    """One step of a solver; see the module's docstring."""

    t: int
    keep: float
    data: float
    previous: float = 0.0
    noise: float = 0.0
    from_x: float = 0.0
    from_out: float = 1.0

    @property
    def numbers(self) -> tuple[float, ...]:
        return self.from_x, self.from_out, self.keep, self.data, self.previous, self.noise


def gaussian_noise(sources: list[int | torch.Generator], device: torch.device) -> Noise:
    """z ~ N(0, I) for a batch of len(sources) samples; each source is a generator, or the seed of a new one.

    A sample's noise does not depend on the other samples. Noise for several steps is drawn in advance, so nothing else
    may use the generators while this function is in use.
    """
    generators = [s if isinstance(s, torch.Generator) else torch.Generator(device).manual_seed(s) for s in sources]
    waiting: list[Tensor] = []

    def noise(t: int, like: Tensor) -> Tensor:
        if not waiting:
            size = (NOISE_BLOCK, *like.shape[1:])
            block = [torch.randn(size, generator=g, device=like.device, dtype=like.dtype) for g in generators]
            waiting.extend(torch.stack(block, dim=1).flip(0))
        return waiting.pop()

    return noise


# Solvers


def even_times(n_steps: int, steps: int) -> list[int]:
    """`steps` + 1 evenly spread diffusion times from T to 0.

    Raises:
        ValueError: fewer than 1 step, or more than the model has.
    """
    if not 1 <= steps <= n_steps:
        raise ValueError(f"{steps} sampling steps: the model has {n_steps}; use 1 to {n_steps}")
    return torch.linspace(n_steps, 0, steps + 1, dtype=torch.float64).round().long().tolist()


def log_snr_times(schedule: Schedule, steps: int) -> list[int]:
    """`steps` + 1 times with evenly spread log signal-to-noise ratios, as multistep solvers need them.

    They run from T (which counts as MIN_LOG_SNR if it is noisier) to 1, then to 0. Fewer than 4 steps are spread evenly
    over time instead, because the step at t = 1 would change almost nothing.
    """
    even = even_times(schedule.n_steps, steps)
    if steps < 4:
        return even
    log_snr = _log_snr(schedule.alpha_bars.double())[1:]  # of t = 1..T, falling
    nodes = torch.linspace(max(log_snr[-1].item(), MIN_LOG_SNR), log_snr[0].item(), steps, dtype=torch.float64)
    nearest = 1 + (log_snr[None] - nodes[:, None]).abs().argmin(dim=1)
    times = [schedule.n_steps]
    for left, t in zip(range(steps - 1, 0, -1), nearest[1:].tolist()):
        times.append(min(max(t, left), times[-1] - 1))  # distinct times, with room for those that follow
    return [*times, 0]


def _log_snr(abar: Tensor) -> Tensor:
    """lambda = log(sqrt(abar) / sqrt(1 - abar))."""
    return torch.logit(abar) / 2


def _steps(times: list[int], columns: dict[str, Tensor]) -> list[Step]:
    """One step per time but the last; `columns` name the fields of `Step`."""
    rows = zip(*(column.tolist() for column in columns.values()))
    return [Step(t, **dict(zip(columns, row))) for t, row in zip(times, rows)]


def _ancestral(target: str, alpha: Tensor, abar: Tensor, abar_next: Tensor) -> dict[str, Tensor]:
    """The posterior mean (Ho et al. 2020, eq. 7; for the noise, eq. 11)."""
    if target == "sample":
        keep = (1 - abar_next) * alpha.sqrt() / (1 - abar)
        return {"keep": keep, "data": (1 - alpha) * abar_next.sqrt() / (1 - abar)}
    return {"keep": 1 / alpha.sqrt(), "data": -(1 - alpha) / ((1 - abar).sqrt() * alpha.sqrt())}


def ddpm_steps(schedule: Schedule, target: str) -> list[Step]:
    """Ancestral sampling through all T steps (Ho et al. 2020, algorithm 2), from the schedule's own tables.

    No noise is added at t = 1.
    """
    tables = (schedule.alphas[1:], schedule.alpha_bars[1:], schedule.alpha_bars[:-1])
    columns = _ancestral(target, *(table.flip(0) for table in tables))
    return _steps(even_times(schedule.n_steps, schedule.n_steps), columns | {"noise": schedule.sigmas[1:].flip(0)})


def _from_to(schedule: Schedule, times: list[int]) -> tuple[Tensor, Tensor]:
    """abar (float64) before and after every step."""
    abars = schedule.alpha_bars.double()[times]
    return abars[:-1], abars[1:]


def respaced_ddpm_steps(schedule: Schedule, target: str, times: list[int]) -> list[Step]:
    """Ancestral sampling on fewer steps (Nichol & Dhariwal 2021, section 4): alpha = abar_t / abar_next."""
    abar, abar_next = _from_to(schedule, times)
    alpha = abar / abar_next
    sigma = ((1 - abar_next) / (1 - abar) * (1 - alpha)).sqrt()
    return _steps(times, _ancestral(target, alpha, abar, abar_next) | {"noise": sigma})


def _flow(target: str, abar: Tensor, abar_next: Tensor) -> dict[str, Tensor]:
    """One step along the probability flow with x_0 held fixed at the network's prediction."""
    keep = ((1 - abar_next) / (1 - abar)).sqrt()
    columns = {"keep": keep, "data": abar_next.sqrt() - keep * abar.sqrt()}
    if target == "noise":
        columns |= {"from_x": 1 / abar.sqrt(), "from_out": -((1 - abar) / abar).sqrt()}
    return columns


def ddim_steps(schedule: Schedule, target: str, times: list[int]) -> list[Step]:
    """Deterministic sampling (Song et al. 2021, eq. 12 with eta 0): the first-order solver of the probability flow."""
    return _steps(times, _flow(target, *_from_to(schedule, times)))


def dpmpp_2m_steps(schedule: Schedule, target: str, times: list[int]) -> list[Step]:
    """DPM-Solver++(2M), the second-order multistep solver in x_0 (Lu et al. 2022, algorithm 2).

    With lambda = log(sqrt(abar) / sqrt(1 - abar)), h its increment and r = h_before / h, x_0 of the first-order step
    is replaced by (1 + 1/2r) x_0 - 1/2r x_0_before. The first step has no predecessor, and for a last step to t = 0
    h is infinite; both stay of first order.
    """
    abar, abar_next = _from_to(schedule, times)
    columns = _flow(target, abar, abar_next)
    h = _log_snr(abar_next) - _log_snr(abar)
    share = torch.zeros_like(h)
    share[1:] = h[1:] / (2 * h[:-1])
    share[abar_next == 1] = 0
    columns |= {"previous": -columns["data"] * share, "data": columns["data"] * (1 + share)}
    return _steps(times, columns)


def solver_steps(config: SamplerConfig, schedule: Schedule, target: str) -> list[Step]:
    """The steps of a configured solver.

    Raises:
        ValueError: fewer than 1 step, or more than the model has.
    """
    count = schedule.n_steps if config.steps is None else config.steps
    if config.name == "dpmpp_2m":
        return dpmpp_2m_steps(schedule, target, log_snr_times(schedule, count))
    times = even_times(schedule.n_steps, count)
    if config.name == "ddim":
        return ddim_steps(schedule, target, times)
    return ddpm_steps(schedule, target) if count == schedule.n_steps else respaced_ddpm_steps(schedule, target, times)


# Running the steps


@torch.no_grad()
def run_steps(steps: Iterable[Step], denoise: Denoise, x_T: Tensor, noise: Noise | None = None) -> Tensor:
    """x_T (B, L, D) -> x_0. Deterministic solvers need no `noise`."""
    x, before = x_T, None
    for step in steps:
        value = denoise(x, step.t)
        if (step.from_x, step.from_out) != (0.0, 1.0):
            value = step.from_x * x + step.from_out * value
        x = step.keep * x + step.data * value
        if step.previous:
            assert before is not None, "the first step has no predecessor"
            x = x + step.previous * before
        if step.noise:
            assert noise is not None, "this solver draws noise"
            x = x + step.noise * noise(step.t, x)
        before = value
    return x
