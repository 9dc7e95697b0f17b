"""Solvers of the reverse process on a model whose answers are known: data that is Gaussian."""

import math

import pytest
import torch

from models.diffusion.schedule import SCHEDULES, Schedule, make_betas
from models.diffusion.solvers import (
    NOISE_BLOCK,
    SAMPLERS,
    SamplerConfig,
    ddim_steps,
    ddpm_steps,
    dpmpp_2m_steps,
    even_times,
    gaussian_noise,
    log_snr_times,
    respaced_ddpm_steps,
    run_steps,
    solver_steps,
)
from tests.support.golden_weights import array
from tests.support.sampling import ddim, ddpm, sample

MEAN, STD = 0.7, 0.3  # of the data
CPU = torch.device("cpu")


def exact(kind: str, n_steps: int) -> Schedule:
    """A schedule in double precision."""
    betas = torch.cat([torch.zeros(1, dtype=torch.float64), make_betas(kind, n_steps)])
    abars = torch.cumprod(1 - betas, 0)
    sigmas = torch.zeros_like(betas)
    sigmas[1:] = ((1 - abars[:-1]) / (1 - abars[1:]) * betas[1:]).sqrt()
    return Schedule(betas, 1 - betas, abars, sigmas)


class Gaussian:
    """Data N(MEAN, STD^2): the best prediction, and where the probability flow leads, in closed form."""

    def __init__(self, schedule: Schedule, target: str = "sample") -> None:
        self.schedule, self.target = schedule, target

    def moments(self, t: int) -> tuple[float, float]:
        """Mean and standard deviation of x_t."""
        abar = self.schedule.alpha_bars[t].item()
        return math.sqrt(abar) * MEAN, math.sqrt(abar * STD**2 + 1 - abar)

    def denoise(self, x: torch.Tensor, t: int) -> torch.Tensor:
        abar = self.schedule.alpha_bars[t].item()
        mean, std = self.moments(t)
        clean = MEAN + math.sqrt(abar) * STD**2 / std**2 * (x - mean)
        return clean if self.target == "sample" else (x - math.sqrt(abar) * clean) / math.sqrt(1 - abar)

    def flow(self, x: torch.Tensor, t: int, t_next: int) -> torch.Tensor:
        """The flow keeps every sample at its own quantile."""
        (mean, std), (mean_next, std_next) = self.moments(t), self.moments(t_next)
        return mean_next + std_next / std * (x - mean)


def start(schedule: Schedule, t: int) -> torch.Tensor:
    mean, std = Gaussian(schedule).moments(t)
    return mean + std * torch.from_numpy(array("solvers:x", (2, 5, 4))).double()


def errors(solver, target: str, counts: list[int]) -> list[float]:
    """Distance to the flow between two times of a schedule so fine that rounding times to integers is nothing."""
    schedule = exact("linear", 4000)
    model, x = Gaussian(schedule, target), start(schedule, 3200)
    found = []
    for n in counts:
        times = torch.linspace(3200, 400, n + 1).round().long().tolist()
        end = run_steps(solver(schedule, target, times), model.denoise, x)
        found.append((end - model.flow(x, 3200, 400)).abs().max().item())
    return found


@pytest.mark.parametrize("target", ["sample", "noise"])
def test_ddim_converges_with_first_order(target):
    coarse, fine = errors(ddim_steps, target, [40, 80])
    assert 1.8 < coarse / fine < 2.2


@pytest.mark.parametrize("target", ["sample", "noise"])
def test_dpmpp_2m_converges_with_second_order(target):
    coarse, fine = errors(dpmpp_2m_steps, target, [40, 80])
    assert 3.3 < coarse / fine < 4.7
    assert fine < errors(ddim_steps, target, [80])[0] / 5


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_few_steps_all_the_way(kind):
    """From pure noise to t = 0, where the last step is of first order: 2M with 20 steps beats ddim with 20."""
    schedule = exact(kind, 500)
    model, x = Gaussian(schedule), start(schedule, 500)
    goal = model.flow(x, 500, 0)
    times = even_times(500, 20)
    second, first = (
        (run_steps(solver(schedule, "sample", times), model.denoise, x) - goal).abs().max().item()
        for solver in (dpmpp_2m_steps, ddim_steps)
    )
    assert second < first
    assert second < 0.1


@pytest.mark.parametrize("target", ["sample", "noise"])
@pytest.mark.parametrize("steps", [25, 200])
def test_ancestral_samples_have_the_datas_moments(target, steps):
    """Respaced or not; with few steps the posterior's variance falls a little short, as it should."""
    schedule = exact("linear", 200)
    model = Gaussian(schedule, target)
    x_T = torch.randn(1, 4000, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = sample(SamplerConfig("ddpm", steps), model.denoise, x_T, schedule, target, gaussian_noise([3], CPU))
    assert x.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert x.std().item() == pytest.approx(STD, abs=0.05 * STD if steps == 200 else 0.2 * STD)


@pytest.mark.parametrize("target", ["sample", "noise"])
@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_respaced_ddpm_at_full_steps_is_ddpm(kind, target):
    schedule = exact(kind, 30)
    every = even_times(30, 30)
    for a, b in zip(ddpm_steps(schedule, target), respaced_ddpm_steps(schedule, target, every), strict=True):
        assert a.t == b.t
        assert a.numbers == pytest.approx(b.numbers, abs=1e-9)
    model, x = Gaussian(schedule, target), start(schedule, 30)
    plain = ddpm(model.denoise, x, schedule, target, gaussian_noise([1, 2], CPU))
    every_step = SamplerConfig("ddpm", 30)
    assert torch.equal(sample(every_step, model.denoise, x, schedule, target, gaussian_noise([1, 2], CPU)), plain)
    assert torch.equal(sample(SamplerConfig(), model.denoise, x, schedule, target, gaussian_noise([1, 2], CPU)), plain)


@pytest.mark.parametrize("name", SAMPLERS)
def test_both_targets_agree(name):
    """The same model told as x_0 or as noise gives the same samples."""
    schedule = exact("linear", 40)
    x = start(schedule, 40)
    for steps in (1, 7, 40):
        config = SamplerConfig(name, steps)
        told = [
            sample(config, Gaussian(schedule, t).denoise, x, schedule, t, gaussian_noise([1, 2], CPU))
            for t in ("sample", "noise")
        ]
        torch.testing.assert_close(*told, atol=1e-8, rtol=1e-8)


def test_dpmpp_2m_starts_and_ends_with_first_order():
    schedule = exact("cosine", 100)
    first, second = dpmpp_2m_steps(schedule, "sample", [100, 50, 0])
    assert (first.previous, second.previous) == (0, 0)
    assert (second.keep, second.data) == (0, 1)  # the last step returns x_0 itself
    x = start(schedule, 100)
    model = Gaussian(schedule)
    torch.testing.assert_close(  # two steps are spread evenly by both
        sample(SamplerConfig("dpmpp_2m", 2), model.denoise, x, schedule, "sample", None),
        ddim(model.denoise, x, schedule, "sample", 2),
    )


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("steps", [4, 10, 37, 150, 499, 500])
def test_times_of_evenly_spread_log_snr(kind, steps):
    schedule = Schedule.make(kind, 500)
    times = log_snr_times(schedule, steps)
    assert (times[0], times[-2:], len(times)) == (500, [1, 0], steps + 1)
    assert all(a > b for a, b in zip(times, times[1:]))
    if steps == 10:
        ratios = torch.logit(schedule.alpha_bars.double()[times[:-1]]) / 2
        ratios[0] = ratios[0].clamp(min=-5)
        h = ratios.diff()
        assert h.max() / h.min() < (3 if kind == "quadratic" else 1.7)  # times are integers


def test_few_steps_are_spread_evenly():
    schedule = Schedule.make("cosine", 500)
    assert log_snr_times(schedule, 3) == even_times(500, 3) == [500, 333, 167, 0]


def test_log_snr_spacing_pays():
    """The published schedule, data with structure down to a fine scale."""
    schedule = exact("cosine", 500)
    model, x = Gaussian(schedule), start(schedule, 500)
    goal = model.flow(x, 500, 0)
    even, spread = (
        (run_steps(dpmpp_2m_steps(schedule, "sample", times), model.denoise, x) - goal).abs().max().item()
        for times in (even_times(500, 12), log_snr_times(schedule, 12))
    )
    assert spread < even / 2


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 9, 500, None])
def test_one_evaluation_per_step(name, steps):
    seen = []
    schedule = Schedule.make("cosine", 500)
    x = sample(
        SamplerConfig(name, steps), lambda x, t: seen.append(t) or 0 * x, torch.ones(1, 2, 3), schedule, "sample",
        lambda t, like: torch.zeros_like(like),
    )  # fmt: skip
    assert torch.isfinite(x).all()
    assert len(seen) == len(set(seen)) == (steps or 500)
    assert seen == sorted(seen, reverse=True)
    assert seen[0] == 500


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [501, 0, -1])
def test_impossible_steps(name, steps):
    with pytest.raises(ValueError, match="use 1 to 500"):
        solver_steps(SamplerConfig(name, steps), Schedule.make("cosine", 500), "sample")


def test_noise_of_a_sample_is_its_own():
    """However many samples are drawn beside it, and across the blocks in which noise is drawn."""
    like = torch.empty(3, 4, 5)
    together, alone = gaussian_noise([7, 8, 9], CPU), gaussian_noise([torch.Generator().manual_seed(8)], CPU)
    steps = []
    for t in range(2 * NOISE_BLOCK + 1):
        z = together(t, like)
        assert torch.equal(z[1], alone(t, like[:1])[0])
        assert not torch.equal(z[0], z[1])
        steps.append(z)
    drawn = torch.stack(steps)
    assert len({float(x) for x in drawn[:, 0, 0, 0]}) == len(drawn)
    assert drawn.std().item() == pytest.approx(1, abs=0.05)
