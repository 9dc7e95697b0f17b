"""The CUDA kernels against their plain twins; on a machine without a GPU, in Triton's interpreter."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

import models.fast.engine
import models.fast.frozen_linear
import models.fast.kernels.select
from models.diffusion.guidance import DynamicThreshold, Guidance
from models.diffusion.plain import guided_denoiser
from models.diffusion.schedule import Schedule
from models.diffusion.solvers import SamplerConfig, gaussian_noise, run_steps, solver_steps
from models.diffusion.window import Branches, branch_inputs
from models.fast.cached_denoiser import CachedDenoiser
from models.fast.engine import Engine, EngineConfig, _StepGraph
from models.fast.frozen_linear import FrozenLinear
from tests.support.random_windows import conditions, draw, relative, talker

pytest.importorskip("triton", reason="the kernels are written in Triton, which there is for Linux")

from models.fast.kernels import launch
from models.fast.kernels import products as fused_products
from models.fast.kernels import step as fused_step
from models.fast.kernels import token_wise as fused_layer  # noqa: E402
from models.fast.kernels.select import KernelSet, all_kernels, kernels_for

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TOLERANCES = {torch.float32: 2e-6, torch.float16: 2e-3}
if DEVICE.type == "cuda":  # the interpreter multiplies bfloat16 as if they were whole numbers
    TOLERANCES[torch.bfloat16] = 1.6e-2
DTYPES = pytest.mark.parametrize("dtype", TOLERANCES, ids=str)


def given(name: str, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return draw(f"kernels:{name}", *shape).to(DEVICE, dtype)


@DTYPES
@pytest.mark.parametrize("first", [0, 11])
@pytest.mark.parametrize(("tokens", "width"), [(37, 16), (111, 64)])
def test_attention(dtype, first, tokens, width):
    qkv = given("qkv", 2, tokens, 3 * 2 * width, dtype=dtype)
    assert fused_products.can_attend(qkv, 2)
    q, k, v = qkv.float().unflatten(2, (3, 2, width)).permute(2, 0, 3, 1, 4)
    twin = F.scaled_dot_product_attention(q[:, :, first:], k, v).transpose(1, 2).flatten(2)
    assert relative(fused_products.attention(qkv, 2, first).float(), twin) < TOLERANCES[dtype]


def test_what_attention_does_not_take():
    assert not fused_products.can_attend(torch.empty(1, 129, 96), 2)  # too long
    assert not fused_products.can_attend(torch.empty(1, 100, 3 * 48), 2)  # 24 wide heads


@DTYPES
def test_partial_products_and_their_norm(dtype):
    hidden, weight = given("hidden", 1, 70, 512, dtype=dtype), given("down", 128, 512, dtype=dtype) / 16
    x, (gain, shift) = given("x", 1, 70, 128, dtype=dtype), given("norm", 2, 128, dtype=dtype)
    assert fused_products.can_split(hidden, weight)
    partial = fused_products.partial_products(hidden, weight)
    assert (partial.dim(), partial.dtype) == (3, torch.float32)
    total = x.float() + hidden.float() @ weight.float().T
    assert relative(partial.sum(0), (total - x.float())[0]) < 1e-6
    for sums, twin in ((partial, total), (None, x.float())):
        found = fused_layer.norm_of_sum(x, sums, (gain, shift, 1e-5))
        assert found.dtype == dtype
        assert (
            relative(found.float(), F.layer_norm(twin, (128,), gain.float(), shift.float(), 1e-5)) < TOLERANCES[dtype]
        )


@pytest.mark.parametrize(("person", "early"), [(False, False), (True, True), (True, False)])
@pytest.mark.parametrize("rows", [1, 4])
def test_between_attention_and_feed_forward(monkeypatch, rows, person, early):
    """Two samples of three branches, two persons, two memories. And twice: a launch leaves its tickets as they were."""
    monkeypatch.setattr(fused_layer, "_cross_tile", lambda *_: fused_layer._CrossTile(4, rows, early))
    net = talker(n_layers=1).to(DEVICE).denoising_net
    plain, layer = (CachedDenoiser(net, kernels=kernels).layers[0] for kernels in (None, all_kernels()))
    x, known, keys, values = (given(name, 4, 11, 32) for name in ("x", "known", "keys", "values"))
    keys, values = (t[:, :10].unflatten(2, (4, 8)).transpose(1, 2) for t in (keys, values))
    branches = Branches(person_of=(0, 0, 1), memory_of=(0, 1, 1))
    spread = [t[[0, 1, 2, 3, 2, 3]] for t in (keys, values, known)]
    twin = plain.cross_block(x, spread, None, int(person), branches)
    alone = plain.cross_block(x[2:], [t[4:] for t in spread], None, int(person), Branches((0,), (0,)))
    assert len(twin) == 6 and relative(twin[4:], alone) < 1e-6
    for _ in range(2):
        found = layer.cross_block(x, [keys, values, known], None, int(person), branches)
        assert relative(found, twin) < 2e-6
        assert relative(found[:, :1], twin[:, :1]) < 2e-6
        assert not layer.cross_kernel.tickets.any()


def test_products_that_are_not_split():
    assert not fused_products.can_split(torch.empty(8, 129, 512), torch.empty(128, 512))  # enough rows as it is
    assert not fused_products.can_split(torch.empty(1, 70, 256), torch.empty(128, 256))  # short


@pytest.mark.parametrize("rows", [40, 1025])
def test_float32_products(monkeypatch, rows):
    monkeypatch.setattr(models.fast.frozen_linear, "_pack", lambda weight: None)
    weight, bias, x = given("w", 64, 128) / 11, given("b", 64), given("rows", rows, 128)
    kernels, called = counting("float32_product")
    layer, plain = FrozenLinear(weight, bias, kernels), FrozenLinear(weight, None, kernels)
    exact = x.double() @ weight.double().T
    assert relative(layer(x[None]), (exact + bias)[None].float()) < 1e-6
    assert relative(layer.gelu(x[None]), F.gelu(exact + bias)[None].float()) < 2e-6
    total = given("total", rows, 3, 64)
    before = total.clone()
    plain.add_to(total[:, 1], x)  # rows that do not lie side by side
    assert relative(total[:, 1], (before[:, 1] + exact).float()) < 1e-6
    assert torch.equal(total[:, ::2], before[:, ::2])
    assert len(called) == 3
    torch.set_float32_matmul_precision("high")  # less is asked for: not our kernel's work
    try:
        assert relative(layer(x), (exact + bias).float()) < 1e-2
    finally:
        torch.set_float32_matmul_precision("highest")
    assert relative(FrozenLinear(weight[:54], bias[:54], kernels)(x), (exact + bias)[:, :54].float()) < 1e-6
    assert len(called) == 3


def counting(*names: str) -> tuple[KernelSet, list[str]]:
    """The kernels, and a list that the calls of these are written down in."""
    kernels, called = all_kernels(), []

    def counted(name: str):
        return lambda *args: called.append(name) or getattr(kernels, name)(*args)

    return replace(kernels, **{name: counted(name) for name in names}), called


@pytest.fixture
def coarse(monkeypatch):
    """Norms of many tokens at once: the interpreter takes its time for each program, whatever there is to do."""
    monkeypatch.setattr(fused_layer, "_rows_of_program", lambda rows: (64, 4))
    monkeypatch.setattr(fused_layer, "_cross_tile", lambda *_: fused_layer._CrossTile(4, 64))


@pytest.fixture
def kernels(monkeypatch, coarse):
    """Whatever there are kernels for is done by them, and recording a graph is left out."""

    def capture(self, work):
        return SimpleNamespace(replay=work)

    monkeypatch.setattr(models.fast.engine, "kernels_for", lambda device: all_kernels())
    monkeypatch.setattr(models.fast.frozen_linear, "_pack", lambda weight: None)
    monkeypatch.setattr(_StepGraph, "_capture", capture)
    monkeypatch.setattr(EngineConfig, "on", lambda self, device: self)


@pytest.mark.parametrize(
    "changes",
    [{}, {"n_layers": 1}, {"use_indicator": False}, {"align_mask_width": 3}, {"feature_dim": 48, "n_heads": 2}],
    ids=str,
)
def test_the_network(coarse, changes):
    """Sizes that the products take, and (48) that they do not."""
    model = talker(**{"feature_dim": 128, "n_heads": 4, "n_layers": 2} | changes).to(DEVICE)
    window, x = branch_inputs(model, on_device(conditions(model, 1)), Guidance()), given("motion", 1, 100, 54)
    plain = CachedDenoiser(model.denoising_net)
    expected = plain(x, plain.steps[5], plain.window(window))
    kernels, called = counting("attention", "partial_products")
    net = CachedDenoiser(model.denoising_net, kernels=kernels)
    assert relative(net(x, net.steps[5], net.window(window)), expected) < 2e-6
    layers = 0 if "feature_dim" in changes else len(net.layers)
    assert called == ["attention", "partial_products"] * layers


def on_device(conditions):
    return conditions.map(lambda value: value.to(DEVICE))


@pytest.mark.parametrize(
    ("precision", "target", "sampler", "tolerance"),
    [
        ("float32", "noise", SamplerConfig("ddpm", 2), 2e-6),
        ("float32", "sample", SamplerConfig("dpmpp_2m", 3), 2e-6),
        ("fp16", "sample", SamplerConfig("ddpm", 2), 3e-3),
    ],
)
def test_whole_steps(kernels, monkeypatch, precision, target, sampler, tolerance):
    """In 16 bits two windows one after the other: nothing of the first is left over."""
    model = talker(feature_dim=128, n_heads=4, n_layers=1, target=target).to(DEVICE)
    guidance = Guidance(mode="independent" if precision == "fp16" else "incremental", scales={"style": 1.5})
    steps = solver_steps(sampler, Schedule.make("cosine", 6), target)
    engine, windows = Engine(model, guidance, EngineConfig(precision)), on_device(conditions(model, 2))
    for i in range(2 if precision == "fp16" else 1):
        window, x_T = windows[torch.tensor([i], device=DEVICE)], given(f"x{i}", 1, 100, 54)
        found = engine.run(window, steps, x_T, gaussian_noise([i], DEVICE))
        twin = run_steps(steps, guided_denoiser(model, window, guidance), x_T, gaussian_noise([i], DEVICE))
        assert relative(found, twin) < tolerance
    (graph,) = engine._graphs.values()
    assert graph.fused is not None


def test_guidance_that_is_no_weighted_sum_goes_without(kernels):
    model = talker(n_layers=1).to(DEVICE)
    steps = solver_steps(SamplerConfig("ddim", 2), Schedule.make("cosine", 6), "sample")
    guidance = Guidance(threshold=DynamicThreshold(0.9, 0.1, 4.0))
    engine, window, x_T = Engine(model, guidance), on_device(conditions(model, 1)), given("x0", 1, 100, 54)
    found = engine.run(window, steps, x_T, gaussian_noise([0], DEVICE))
    assert relative(found, run_steps(steps, guided_denoiser(model, window, guidance), x_T)) < 2e-5
    (graph,) = engine._graphs.values()
    assert graph.fused is None


@pytest.mark.parametrize("mode", ["incremental", "independent"])
@pytest.mark.parametrize("conditions_", [("audio", "style"), ("style",), ()])
def test_guidance_weights(mode, conditions_):
    guidance = Guidance(conditions_, mode)
    predictions = [draw(f"prediction{i}", 2, 3, 4) for i in range(len(guidance.branches()))]
    weighted = sum(w * p for w, p in zip(guidance.weights(), predictions, strict=True))
    torch.testing.assert_close(weighted, guidance.combine(predictions))
    assert sum(guidance.weights()) == pytest.approx(1)


def test_guidance_without_weights():
    assert Guidance(scales={"style": torch.ones(2, 1, 1)}).weights() is None
    assert Guidance(threshold=DynamicThreshold(0.9)).weights() is None
    assert Guidance(folded=True).weights() == [1.0]


def test_without_kernels_where_they_fail(monkeypatch, caplog):
    """Say, on a machine with a GPU but without a C compiler."""
    probed = models.fast.kernels.select._probed.__wrapped__
    assert probed(DEVICE) == all_kernels()

    def fail(*args):
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC environment variable")

    monkeypatch.setattr(fused_layer, "norm_of_sum", fail)
    assert probed(DEVICE) is None
    assert caplog.messages == [
        "using PyTorch's kernels, which are slower, because Triton fails here: Failed to find C compiler."
    ]
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    for expected in (None, all_kernels()):
        monkeypatch.setattr(models.fast.kernels.select, "_probed", lambda device, expected=expected: expected)
        assert kernels_for(torch.device("cuda")) is expected
    assert kernels_for(torch.device("cpu")) is None


@pytest.mark.parametrize(("capability", "expected"), [((9, 0), True), ((8, 6), False)])
def test_whether_kernels_overlap_is_asked_of_the_device_they_run_on(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(launch, "gdc_wait", object())
    can_overlap = launch.can_overlap.__wrapped__
    assert can_overlap(torch.device("cuda", 1)) is expected
    assert not can_overlap(torch.device("cpu"))
    monkeypatch.setattr(launch, "can_overlap", lambda device: expected)
    tokens = torch.empty(1, 111, 64, dtype=torch.float16)
    assert launch.launch(tokens).get("launch_pdl", False) is expected
    assert not launch.launch(tokens.float())["OVERLAP"]
    assert not launch.launch(tokens, few=False)["OVERLAP"]


def test_the_compiler_takes_every_kernel():
    """For an H100, whatever machine this is: the interpreter takes what the compiler refuses."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, str(Path(__file__).resolve().parents[2] / "support" / "compile_kernels.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    kernels = {name for module in (fused_layer, fused_products, fused_step) for name in vars(module)}
    assert set(done.stdout.split(":")[1].split()) == {name for name in kernels if name.endswith("_kernel")}
