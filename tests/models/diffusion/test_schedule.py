"""Properties of diffusion and of the solvers (see also test_solvers; golden numbers are in test_golden_networks)."""

import numpy as np
import pytest
import torch

from models.diffusion.schedule import SCHEDULES, Schedule, make_betas
from models.diffusion.solvers import SamplerConfig, ddpm_steps, gaussian_noise
from tests.support.golden_weights import array
from tests.support.sampling import ddim, ddpm


def double(kind: str, n_steps: int) -> Schedule:
    """A schedule in double precision, its tables from their definitions, one by one."""
    betas = [0.0, *make_betas(kind, n_steps).tolist()]
    alpha_bars, sigmas = [1.0], [0.0]
    for beta in betas[1:]:
        alpha_bars.append(alpha_bars[-1] * (1 - beta))
        sigmas.append(((1 - alpha_bars[-2]) / (1 - alpha_bars[-1]) * beta) ** 0.5)
    tables = (betas, [1 - b for b in betas], alpha_bars, sigmas)
    return Schedule(*(torch.tensor(table, dtype=torch.float64) for table in tables))


def draw(name: str, *shape: int) -> torch.Tensor:
    return torch.from_numpy(array(f"generation:{name}", shape)).double()


@pytest.mark.parametrize("kind", SCHEDULES)
def test_tables_follow_from_the_betas(kind):
    schedule, slow = Schedule.make(kind, 50), double(kind, 50)
    for name in ("betas", "alphas", "alpha_bars", "sigmas"):
        np.testing.assert_allclose(getattr(schedule, name).numpy(), getattr(slow, name).numpy(), rtol=2e-6)
    assert schedule.n_steps == 50
    assert (schedule.alpha_bars.diff() < 0).all()


def test_unknown_schedule():
    with pytest.raises(ValueError, match="'square' is unknown; use one of linear"):
        make_betas("square", 10)


def test_q_sample_at_both_ends():
    schedule = double("cosine", 100)
    x0, noise = draw("x0", 3, 4, 5), draw("noise", 3, 4, 5)
    assert torch.equal(schedule.q_sample(x0, torch.zeros(3, dtype=torch.long), noise), x0)
    last = schedule.q_sample(x0, torch.full((3,), 100), noise)
    torch.testing.assert_close(last, noise, atol=1e-2, rtol=0)
    each = schedule.q_sample(x0, torch.tensor([1, 50, 99]), noise)
    for i, t in enumerate((1, 50, 99)):
        torch.testing.assert_close(each[i], schedule.q_sample(x0[i : i + 1], torch.tensor([t]), noise[i : i + 1])[0])


def posterior(schedule: Schedule, target: str, t: int, x_t: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
    """E[x_{t-1} | x_t, x_0] as ancestral sampling takes it, from x_0 (target sample) or the noise."""
    step = ddpm_steps(schedule, target)[schedule.n_steps - t]
    assert step.t == t and step.noise == schedule.sigmas[t]
    return step.keep * x_t + step.data * predicted


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("t", [1, 2, 30, 50])
def test_posterior_is_bayes(kind, t):
    """q(x_{t-1} | x_t, x_0) from the product of the two Gaussians it is defined by."""
    schedule = double(kind, 50)
    x_t, x0 = draw("x_t", 2, 3), draw("x0", 2, 3)
    alpha, beta, abar_prev = schedule.alphas[t], schedule.betas[t], schedule.alpha_bars[t - 1]
    if t == 1:
        torch.testing.assert_close(posterior(schedule, "sample", 1, x_t, x0), x0)
        assert schedule.sigmas[1] == 0
        return
    precision = alpha / beta + 1 / (1 - abar_prev)
    mean = (alpha.sqrt() / beta * x_t + abar_prev.sqrt() / (1 - abar_prev) * x0) / precision
    torch.testing.assert_close(posterior(schedule, "sample", t, x_t, x0), mean)
    torch.testing.assert_close(schedule.sigmas[t] ** 2, 1 / precision)


@pytest.mark.parametrize("t", [2, 25, 50])
def test_both_parametrisations_agree(t):
    schedule = double("linear", 50)
    x0, noise = draw("x0", 2, 3), draw("noise", 2, 3)
    x_t = schedule.q_sample(x0, torch.full((2,), t), noise)
    from_sample, from_noise = posterior(schedule, "sample", t, x_t, x0), posterior(schedule, "noise", t, x_t, noise)
    torch.testing.assert_close(from_sample, from_noise, atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 3, 20])
def test_ddim_with_a_perfect_network_is_exact(kind, steps):
    x0 = draw("x0", 2, 4, 5)
    schedule = double(kind, 20)
    torch.testing.assert_close(ddim(lambda x, t: x0, draw("x_T", 2, 4, 5), schedule, "sample", steps), x0)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_ddpm_with_a_perfect_network_is_exact(kind):
    x0 = draw("x0", 2, 4, 5)
    noise = gaussian_noise([1, 2], torch.device("cpu"))
    torch.testing.assert_close(ddpm(lambda x, t: x0, draw("x_T", 2, 4, 5), double(kind, 20), "sample", noise), x0)


@pytest.mark.parametrize("steps", [4, 20])
def test_ddim_from_noise_prediction_inverts_q_sample(steps):
    schedule = double("linear", 20)
    x0, noise = draw("x0", 2, 4, 5), draw("noise", 2, 4, 5)
    x_T = schedule.q_sample(x0, torch.full((2,), 20), noise)
    torch.testing.assert_close(ddim(lambda x, t: noise, x_T, schedule, "noise", steps), x0)


def test_ddim_visits_evenly_spread_steps():
    seen = []

    def denoise(x, t):
        seen.append(t)
        return x

    ddim(denoise, draw("x_T", 1, 2, 3), double("linear", 500), "sample", 5)
    assert seen == [500, 400, 300, 200, 100]
    seen.clear()
    ddim(denoise, draw("x_T", 1, 2, 3), double("linear", 8), "sample", 8)
    assert seen == [8, 7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize("steps", [0, 9])
def test_ddim_refuses_impossible_steps(steps):
    with pytest.raises(ValueError, match="use 1 to 8"):
        ddim(lambda x, t: x, draw("x_T", 1, 2, 3), double("linear", 8), "sample", steps)


def test_ddpm_draws_no_noise_at_the_last_step():
    asked = []

    def noise(t, like):
        asked.append(t)
        return torch.zeros_like(like)

    ddpm(lambda x, t: x, draw("x_T", 1, 2, 3), double("linear", 5), "sample", noise)
    assert asked == [5, 4, 3, 2]


def test_ddpm_keeps_the_variance_of_the_forward_process():
    """For data N(0, 1) the best prediction is sqrt(abar) x_t; the samples must then be N(0, 1) again."""
    schedule = double("linear", 200)
    x = ddpm(
        lambda x, t: schedule.alpha_bars[t].sqrt() * x,
        torch.randn(1, 2000, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64),
        schedule, "sample", gaussian_noise([3], torch.device("cpu")),
    )  # fmt: skip
    assert x.std().item() == pytest.approx(1, abs=0.03)


def test_unknown_sampler():
    with pytest.raises(ValueError, match="'euler' is unknown"):
        SamplerConfig("euler")
