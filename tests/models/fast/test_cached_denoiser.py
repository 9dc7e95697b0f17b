"""The fast ways of computing a window against the plain twin."""

from types import SimpleNamespace

import pytest
import torch

import models.fast.engine
import models.fast.frozen_linear
from models.diffusion.guidance import DynamicThreshold, Guidance
from models.diffusion.plain import guided_denoiser
from models.diffusion.schedule import Schedule
from models.diffusion.solvers import SamplerConfig, gaussian_noise, run_steps, solver_steps
from models.diffusion.window import Branches, BranchInputs, branch_inputs
from models.fast.cached_denoiser import CachedDenoiser
from models.fast.engine import Engine, EngineConfig
from models.fast.frozen_linear import FrozenLinear
from tests.support.random_windows import CPU, conditions, draw, relative, talker
from tests.support.tiny_talker import make_talker

KINDS = {
    "width 1": {},
    "width 3": {"align_mask_width": 3},
    "no mask": {"align_mask_width": 0},
    "sinusoidal": {"no_use_learnable_pe": True},
    "published sinusoidal": {"no_use_learnable_pe": True, "positional_encoding": "sequence_length_row"},
    "no indicator": {"use_indicator": False},
    "no style": {"style_enc_ckpt": None},
    "no head": {"no_head_pose": True},
    "one layer": {"n_layers": 1},
}
GUIDANCES = {
    "incremental": Guidance(),
    "independent": Guidance(mode="independent", scales={"style": 1.5}),
    "audio": Guidance(("audio",)),
    "style": Guidance(("style",)),
    "none": Guidance(()),
    "threshold": Guidance(threshold=DynamicThreshold(0.9, 0.1, 4.0)),
}


@pytest.fixture(params=["packed", "plain weights"])
def weights(request, monkeypatch):
    """Both ways of multiplying: oneDNN's packed weights, and the way of GPUs."""
    if request.param == "plain weights":
        monkeypatch.setattr(models.fast.frozen_linear, "_pack", lambda weight: None)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_denoiser(kind, weights):
    model = talker(**KINDS[kind])
    given = conditions(model, 2)
    x = draw("x", 2, 100, model.config.layout.motion_dim)
    plain = guided_denoiser(model, given, Guidance(model.config.conditions))
    engine = Engine(model, Guidance(model.config.conditions))
    cache = engine.net.window(branch_inputs(model, given, engine.guidance))
    with torch.no_grad():
        for t in (1, 6):
            assert relative(engine.predict(x, engine.net.steps[t], cache), plain(x, t)) < 3e-6


@pytest.mark.parametrize("name", GUIDANCES)
@pytest.mark.parametrize("target", ["sample", "noise"])
def test_every_guidance_over_a_whole_window(name, target):
    model = talker(target=target)
    given, guidance = conditions(model, 2), GUIDANCES[name]
    schedule = Schedule.make("cosine", 6)
    x_T = draw("x", 2, 100, 54)
    for config in (SamplerConfig(), SamplerConfig("ddim", 3), SamplerConfig("dpmpp_2m", 4)):
        steps = solver_steps(config, schedule, target)
        found = Engine(model, guidance).run(given, steps, x_T, gaussian_noise([1, 2], CPU))
        twin = run_steps(steps, guided_denoiser(model, given, guidance), x_T, gaussian_noise([1, 2], CPU))
        assert relative(found, twin) < 2e-5


def test_the_network_is_evaluated_for_each_distinct_memory_and_person_once():
    model = talker()
    inputs = branch_inputs(model, conditions(model, 2), Guidance())
    assert (len(inputs.memories), len(inputs.person)) == (2, 2 * 2)
    assert inputs.branches == Branches(person_of=(0, 0, 1), memory_of=(0, 1, 1))
    assert inputs.branches.separated() == Branches((0, 1, 2), (0, 1, 1))
    assert torch.equal(inputs.memories[0][:, :10], inputs.memories[1][:, :10])
    for guidance, branches in (
        (Guidance(mode="independent"), Branches((0, 0, 1), (0, 1, 0))),
        (Guidance(("style",)), Branches((0, 1), (0, 0))),
        (Guidance(("audio",)), Branches((0, 0), (0, 1))),
        (Guidance(()), Branches((0,), (0,))),
    ):
        assert branch_inputs(model, conditions(model, 2), guidance).branches == branches


def test_a_changed_window_changes_its_constants():
    """Nothing of one window is left over in the next one of the same engine."""
    model = talker()
    engine, schedule = Engine(model, Guidance()), Schedule.make("cosine", 6)
    steps, x_T = solver_steps(SamplerConfig("ddim", 2), schedule, "sample"), draw("x", 2, 100, 54)
    first = conditions(model, 2)
    second = first[torch.tensor([1, 0])]
    a, b = (engine.run(given, steps, x_T, gaussian_noise([1, 2], CPU)) for given in (first, second))
    assert relative(a, b) > 0.01
    assert torch.equal(engine.run(first, steps, x_T, gaussian_noise([1, 2], CPU)), a)


def test_bf16_is_close(monkeypatch):
    monkeypatch.setattr(models.fast.engine, "_SLOW_BF16", False)
    model = talker()
    given, x_T = conditions(model, 2), draw("x", 2, 100, 54)
    steps = solver_steps(SamplerConfig("ddim", 3), Schedule.make("cosine", 6), "sample")
    exact, rounded = (
        Engine(model, Guidance(), EngineConfig(p)).run(given, steps, x_T, None) for p in ("float32", "bf16")
    )
    assert rounded.dtype == torch.float32
    assert 1e-5 < relative(rounded, exact) < 5e-2


def test_training_mode_is_refused():
    with pytest.raises(AssertionError, match="dropout"):
        CachedDenoiser(make_talker().denoising_net.train())


def test_precisions(caplog, monkeypatch):
    with pytest.raises(ValueError, match="'fp8' is unknown; use one of fp32"):
        EngineConfig("fp8")
    with pytest.raises(ValueError, match="needs the cached network"):
        EngineConfig("bf16", cached=False)
    for name in ("tf32", "fp16"):
        assert EngineConfig(name).on(CPU) == EngineConfig(graph=False)
        assert f"{name} is for GPUs" in caplog.text
    monkeypatch.setattr(models.fast.engine, "_SLOW_BF16", False)
    assert EngineConfig("bf16").on(CPU) == EngineConfig("bf16", graph=False)
    monkeypatch.setattr(models.fast.engine, "_SLOW_BF16", True)
    assert EngineConfig("bf16").on(CPU) == EngineConfig(graph=False)
    assert "bf16 is for processors with AVX-512" in caplog.text
    assert EngineConfig("tf32").on(torch.device("cuda")) == EngineConfig("tf32")
    assert torch.get_float32_matmul_precision() == "highest"


def test_frozen_linear(weights):
    weight, bias, x = draw("w", 7, 5), draw("b", 7), draw("in", 3, 4, 5)
    layer = FrozenLinear(weight, bias)
    torch.testing.assert_close(layer(x), torch.nn.functional.linear(x, weight, bias))
    torch.testing.assert_close(layer(x[:, 1:3]), torch.nn.functional.linear(x[:, 1:3], weight, bias))
    expected = torch.nn.functional.gelu(torch.nn.functional.linear(x, weight, bias))
    torch.testing.assert_close(layer.gelu(x), expected, atol=1e-6, rtol=1e-5)
    total = draw("total", 3, 6, 7)
    expected = total[:, 0] + x[:, 1] @ weight.T
    rest = total[:, 1:].clone()
    FrozenLinear(weight, None).add_to(total[:, 0], x[:, 1])  # rows that do not lie side by side
    torch.testing.assert_close(total[:, 0], expected)
    assert torch.equal(total[:, 1:], rest)


@pytest.mark.parametrize("fused", [True, False])
def test_gelu_of_packed_products(monkeypatch, fused):
    monkeypatch.setattr(models.fast.frozen_linear, "_FUSE_GELU", fused)
    weight, bias, x = draw("w", 7, 5), draw("b", 7), draw("in", 3, 4, 5)
    expected = torch.nn.functional.gelu(torch.nn.functional.linear(x, weight, bias))
    torch.testing.assert_close(FrozenLinear(weight, bias).gelu(x), expected, atol=1e-6, rtol=1e-5)


def test_packing_can_be_absent(monkeypatch):
    """An internal operator of PyTorch: a version without it, or with another one, must do."""

    class Other:
        @staticmethod
        def _reorder_linear_weight(weight):
            return 2 * weight

        @staticmethod
        def _linear_pointwise(x, weight, bias, *_):
            return torch.nn.functional.linear(x, weight, bias)

    for ops in (SimpleNamespace(), SimpleNamespace(mkldnn=Other)):
        monkeypatch.setattr(torch, "ops", ops)
        assert FrozenLinear(draw("w", 7, 5), None).packed is None


def test_cached_denoiser_takes_inputs_without_guidance():
    model = talker()
    given = conditions(model, 2)
    net = CachedDenoiser(model.denoising_net)
    memory, person = torch.cat([given.prev_audio, given.audio], 1), model.person_vector(given.person)
    cache = net.window(BranchInputs(Branches((0,), (0,)), [memory], person, given.prev_motion, given.indicator))
    x = draw("x", 2, 100, 54)
    with torch.no_grad():
        twin = model.denoising_net(
            torch.cat([given.prev_motion, x], 1), memory, person, torch.full((2,), 5), given.indicator
        )
        assert relative(net(x, net.steps[5], cache), twin[:, 10:]) < 1e-6
