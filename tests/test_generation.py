"""Properties of diffusion, guidance, sampling and the window loop (the golden numbers are in test_golden_networks)."""

import numpy as np
import pytest
import torch

from models.denoiser import alignment_mask
from models.diffusion import SCHEDULES, Schedule, make_betas
from models.engine import Engine, EngineConfig
from models.generation import Conditions, GenerationConfig, encode_speech, generate, pad_to_windows
from models.guidance import CONDITIONS, DynamicThreshold, Guidance
from models.guided import guided_denoiser
from models.positional import SinusoidalEncoding, sinusoidal_rows
from models.sampling import SamplerConfig, ddim, ddpm, gaussian_noise
from tests.golden_weights import array
from tests.tiny_talker import make_talker
from utils.timebase import plan_windows

FAST = GenerationConfig(sampler=SamplerConfig("ddim", 2))
PLAIN = GenerationConfig(sampler=SamplerConfig("ddim", 2), engine=EngineConfig(cached=False))


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


# Diffusion


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


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("t", [1, 2, 30, 50])
def test_posterior_is_bayes(kind, t):
    """q(x_{t-1} | x_t, x_0) from the product of the two Gaussians it is defined by."""
    schedule = double(kind, 50)
    x_t, x0 = draw("x_t", 2, 3), draw("x0", 2, 3)
    alpha, beta, abar_prev = schedule.alphas[t], schedule.betas[t], schedule.alpha_bars[t - 1]
    if t == 1:
        torch.testing.assert_close(schedule.posterior_mean(x_t, x0, 1), x0)
        assert schedule.sigmas[1] == 0
        return
    precision = alpha / beta + 1 / (1 - abar_prev)
    mean = (alpha.sqrt() / beta * x_t + abar_prev.sqrt() / (1 - abar_prev) * x0) / precision
    torch.testing.assert_close(schedule.posterior_mean(x_t, x0, t), mean)
    torch.testing.assert_close(schedule.sigmas[t] ** 2, 1 / precision)


@pytest.mark.parametrize("t", [2, 25, 50])
def test_both_parametrisations_agree(t):
    schedule = double("linear", 50)
    x0, noise = draw("x0", 2, 3), draw("noise", 2, 3)
    x_t = schedule.q_sample(x0, torch.full((2,), t), noise)
    torch.testing.assert_close(
        schedule.posterior_mean(x_t, x0, t), schedule.posterior_mean_from_noise(x_t, noise, t), atol=1e-10, rtol=1e-9
    )


# Samplers


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


# Guidance


def test_incremental_at_scale_one_is_the_full_condition():
    predictions = [draw(f"p{i}", 2, 3, 4) for i in range(3)]
    torch.testing.assert_close(Guidance(audio_scale=1, style_scale=1).combine(predictions), predictions[2])


@pytest.mark.parametrize("mode", ["incremental", "independent"])
def test_scale_zero_is_the_null_branch(mode):
    predictions = [draw(f"p{i}", 2, 3, 4) for i in range(3)]
    assert torch.equal(Guidance(mode=mode, audio_scale=0, style_scale=0).combine(predictions), predictions[0])


def test_formulas_of_both_modes():
    n, a, b = (draw(f"p{i}", 2, 3, 4) for i in range(3))
    scales = {"audio_scale": 1.5, "style_scale": -2.0}
    torch.testing.assert_close(Guidance(**scales).combine([n, a, b]), n + 1.5 * (a - n) - 2 * (b - a))
    independent = Guidance(mode="independent", **scales).combine([n, a, b])
    torch.testing.assert_close(independent, n + 1.5 * (a - n) - 2 * (b - n))


def test_branches():
    every = frozenset(CONDITIONS)
    assert Guidance().branches() == [frozenset(), {"audio"}, every]
    assert Guidance(mode="independent").branches() == [frozenset(), {"audio"}, {"style"}]
    assert Guidance(("style", "audio")).branches() == Guidance().branches()
    assert Guidance(("style",)).branches() == [{"audio"}, every]
    assert Guidance(("audio",)).branches() == [{"style"}, every]
    assert Guidance(()).branches() == [every]


def test_guidance_errors():
    with pytest.raises(ValueError, match="'mood' is unknown"):
        Guidance(("mood",))
    with pytest.raises(ValueError, match="'both' is unknown"):
        Guidance(mode="both")


def test_inputs_are_not_changed():
    predictions = [draw(f"p{i}", 2, 3, 4) for i in range(3)]
    copies = [p.clone() for p in predictions]
    Guidance(mode="independent", threshold=DynamicThreshold(0.5, 0.1, 4)).combine(predictions)
    assert all(torch.equal(a, b) for a, b in zip(predictions, copies))


def test_dynamic_threshold():
    x = draw("x", 3, 10, 7) * torch.tensor([0.01, 1.0, 100.0], dtype=torch.float64)[:, None, None]
    y = DynamicThreshold(0.9, 0.5, 4.0)(x)
    limits = torch.quantile(x.abs().flatten(1), 0.9, dim=1).clamp(0.5, 4.0)
    assert torch.equal(y[0], x[0])  # small values are below the minimum
    assert 0.5 < limits[1] < 4
    assert limits[2] == 4
    torch.testing.assert_close(y.abs().amax((1, 2))[1:], limits[1:])
    inside = x.abs() <= limits[:, None, None]
    assert torch.equal(y[inside], x[inside])
    assert torch.equal(y.sign(), x.sign())
    assert torch.equal(DynamicThreshold(1.0, 0.0, 1e9)(x), x)


# Positions and mask


def test_sinusoidal_rows():
    rows = sinusoidal_rows(torch.tensor([0, 5]), 8)
    assert torch.equal(rows[0], torch.tensor([0.0, 1] * 4))
    for i in range(4):
        angle = torch.tensor(5 * 10000 ** (-2 * i / 8))
        torch.testing.assert_close(rows[1, 2 * i : 2 * i + 2], torch.stack([angle.sin(), angle.cos()]))


def test_two_ways_of_adding_positions():
    x = torch.zeros(1, 7, 6)
    per_frame = SinusoidalEncoding(6, "per_frame").eval()(x)[0]
    torch.testing.assert_close(per_frame, sinusoidal_rows(torch.arange(7), 6))
    one_row = SinusoidalEncoding(6, "sequence_length_row").eval()(x)[0]
    torch.testing.assert_close(one_row, sinusoidal_rows(torch.tensor([7]), 6).expand(7, -1))
    with pytest.raises(ValueError, match="600 tokens is too long"):
        SinusoidalEncoding(6, "per_frame")(torch.zeros(1, 600, 6))
    with pytest.raises(ValueError, match="'row' is unknown"):
        SinusoidalEncoding(6, "row")


@pytest.mark.parametrize("width", [1, 2, 5])
def test_alignment_mask(width):
    mask = alignment_mask(6, width)
    assert mask.shape == (7, 6)
    assert not mask[0].any()
    for i in range(6):
        for j in range(6):
            assert mask[1 + i, j] == (abs(i - j) >= width)


@pytest.mark.parametrize("width", [0, -1])
def test_no_alignment_mask(width):
    assert alignment_mask(6, width) is None


def test_width_one_confines_audio_to_its_frame():
    """With one layer without self-attention spill, another frame's audio cannot reach a frame's memory lookup."""
    model = make_talker(n_layers=1)
    config = model.config
    motion, memory = torch.zeros(1, 110, 54), torch.zeros(1, 110, config.feature_dim)
    person, step = torch.zeros(1, 228), torch.tensor([3])
    changed = memory.clone()
    changed[0, 60] += 1
    with torch.no_grad():
        a, b = (model.denoising_net(motion, m, person, step, torch.ones(1, 100)) for m in (memory, changed))
    moved = (a != b).any(-1)[0].nonzero().flatten().tolist()
    assert moved == [60]


# The window loop


def run(model, n_samples, seeds=(0,), style=True, config=FAST, audio=None):
    audio = torch.from_numpy(array("generation:audio", (n_samples,))) if audio is None else audio
    shape = torch.from_numpy(array("generation:shape", (1, 100))).expand(len(seeds), -1)
    styles = torch.from_numpy(array("generation:style", (1, 128))).expand(len(seeds), -1) if style else None
    return generate(model, audio, shape, styles, config, list(seeds))


@pytest.mark.parametrize("n_samples", [640, 1600, 63999, 64000, 64001, 64639, 64640, 70000, 128000, 200123])
def test_length_of_the_motion(n_samples):
    motion = run(make_talker(), n_samples)
    assert motion.shape == (1, n_samples * 25 // 16000, 54)
    assert torch.isfinite(motion).all()


def test_ten_minutes_are_planned_in_windows():
    plan = plan_windows(600 * 16000, 100)
    assert (plan.n_frames, plan.n_windows, plan.last_valid, plan.padded_frames) == (15000, 150, 100, 15000)


def test_long_audio_costs_one_window_of_network_at_a_time(monkeypatch):
    model, sizes = make_talker(), []
    forward = model.denoising_net.forward
    monkeypatch.setattr(
        model.denoising_net, "forward", lambda m, *rest: sizes.append(tuple(m.shape)) or forward(m, *rest)
    )
    assert run(model, 60 * 16000, config=PLAIN).shape[1] == 1500
    assert set(sizes) == {(3, 110, 54)}
    assert len(sizes) == 15 * 2


def test_windows_are_joined_by_their_context(monkeypatch):
    """Window 2 sees the last 10 frames and features of window 1; x_T is the same for both."""
    seen = []
    inner = Engine.run

    def record(self, given, steps, x_T, noise):
        motion = inner(self, given, steps, x_T, noise)
        seen.append((given, x_T, motion))
        return motion

    monkeypatch.setattr(Engine, "run", record)
    model = make_talker()
    motion = run(model, 640 * 230)
    assert len(seen) == 3
    assert torch.equal(seen[0][0].prev_motion, model.start_motion_feat)
    assert torch.equal(seen[0][0].prev_audio, model.start_audio_feat)
    for (before, x_T, produced), (after, x_T2, _) in zip(seen, seen[1:]):
        assert torch.equal(after.prev_motion, produced[:, -10:])
        assert torch.equal(after.prev_audio, before.audio[:, -10:])
        assert torch.equal(x_T, x_T2)
    assert torch.equal(motion, torch.cat([produced for *_, produced in seen], dim=1)[:, :230])
    assert [given.indicator.sum().item() for given, *_ in seen] == [100, 100, 30]
    assert seen[2][0].indicator[0, :30].all()


def test_a_model_without_indicator_gets_none(monkeypatch):
    model = make_talker(use_indicator=False)
    assert run(model, 640 * 30).shape == (1, 30, 54)


def test_seeds():
    model = make_talker()
    pair, again = run(model, 640 * 130, (4, 9)), run(model, 640 * 130, (4, 9))
    assert torch.equal(pair, again)
    assert (pair[0] - pair[1]).abs().max() > 0.1
    for seed, sample in zip((4, 9), pair):
        torch.testing.assert_close(run(model, 640 * 130, (seed,))[0], sample, atol=1e-5, rtol=1e-5)


def test_seeds_with_ancestral_noise():
    """Every step's noise belongs to the sample too."""
    model, config = make_talker(), GenerationConfig()
    pair = run(model, 640 * 130, (4, 9), config=config)
    torch.testing.assert_close(run(model, 640 * 130, (9,), config=config)[0], pair[1], atol=1e-5, rtol=1e-5)


def test_null_style_is_the_learnt_vector():
    model = make_talker()
    null = model.null_style_feat.detach()[0].expand(1, -1)
    shape, audio = torch.zeros(1, 100), torch.from_numpy(array("generation:audio", (6400,)))
    torch.testing.assert_close(
        generate(model, audio, shape, None, FAST, [0]), generate(model, audio, shape, null, FAST, [0])
    )
    assert (run(model, 6400) - run(model, 6400, style=False)).abs().max() > 1e-3


def test_audio_and_style_scales_matter_only_if_guided():
    model = make_talker()

    def at(conditions, **scales):
        return run(model, 6400, config=GenerationConfig(Guidance(conditions, **scales), SamplerConfig("ddim", 2)))

    assert torch.equal(at((), audio_scale=1), at((), audio_scale=5, style_scale=9))
    assert torch.equal(at(("audio",), style_scale=1), at(("audio",), style_scale=9))
    assert not torch.equal(at(("audio",), audio_scale=1), at(("audio",), audio_scale=2))


def test_null_audio_replaces_the_current_features_only():
    model = make_talker()
    given = Conditions(
        torch.from_numpy(array("generation:af", (1, 100, 16))),
        torch.from_numpy(array("generation:pa", (1, 10, 16))),
        torch.from_numpy(array("generation:pm", (1, 10, 54))),
        torch.zeros(1, 100), torch.zeros(1, 128), torch.ones(1, 100),
    )  # fmt: skip
    memories = []
    net = model.denoising_net
    net.register_forward_pre_hook(lambda module, inputs: memories.append(inputs[1]))
    with torch.no_grad():
        guided_denoiser(model, given, Guidance())(torch.zeros(1, 100, 54), 3)
    null, audio, both = memories[0]
    assert torch.equal(null[:10], given.prev_audio[0])
    assert torch.equal(null[10:], model.null_audio_feat[0].expand(100, -1))
    assert torch.equal(audio, both)
    assert torch.equal(audio, torch.cat([given.prev_audio, given.audio], dim=1)[0])


def test_whole_file_or_window_by_window():
    """The stub's features tell how much audio the encoder saw."""
    model = make_talker()
    audio = torch.from_numpy(array("generation:audio", (1, 640 * 150)))
    plan = plan_windows(640 * 150, 100)
    with torch.no_grad():
        whole, pieces = (encode_speech(model, audio, plan, whole=flag) for flag in (True, False))
    assert [x.shape for x in whole] == [x.shape for x in pieces] == [(1, 100, 16)] * 2
    lengths = [call.shape[1] for call in model.audio_encoder.calls]
    assert lengths == [640 * 200, 640 * 100, 640 * 100]
    assert not torch.allclose(whole[0], pieces[0])


@pytest.mark.parametrize("mode,tail", [("zero", 0.0), ("replicate", 7.0)])
def test_padding_to_whole_windows(mode, tail):
    audio = torch.full((1, 640 * 100 + 5), 7.0)
    plan = plan_windows(640 * 101, 100)
    padded = pad_to_windows(audio, plan, 640, mode)
    assert padded.shape == (1, 128000)
    assert (padded[:, :64005] == 7).all()
    assert (padded[:, 64005:] == tail).all()


def test_samples_short_of_a_frame_are_cut():
    plan = plan_windows(64639, 100)
    assert pad_to_windows(torch.ones(1, 64639), plan, 640, "zero").shape == (1, 64000)
