"""The benchmark of sampling runs, and counts operations rightly."""

import json

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import models.fast.frozen_linear
from benchmarks.report import matrix_rate
from benchmarks.speed import sampling
from models.diffusion.guidance import Guidance
from models.diffusion.solvers import Step
from models.fast.engine import Engine, EngineConfig
from tests.support.tiny_talker import make_talker


@pytest.mark.parametrize("width", [1, 3, 0])
@pytest.mark.parametrize("cached", [False, True], ids=["plain", "cached"])
def test_operations_are_those_of_the_network(monkeypatch, width, cached):
    """PyTorch's own counter, the cost of another step being the difference between two steps and one."""
    # The counter knows no packed products, no sums into a product, no fused attention.
    monkeypatch.setattr(models.fast.frozen_linear, "_pack", lambda weight: None)
    monkeypatch.setattr(models.fast.frozen_linear.FrozenLinear, "add_to", lambda self, total, x: total.add_(self(x)))
    fast_attention = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        model = make_talker(feature_dim=32, n_heads=4, n_layers=2, align_mask_width=width)
        engine = Engine(model, Guidance(), EngineConfig(cached=cached))
        counts = []
        for n_steps in (1, 2):
            with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
                engine.run(
                    sampling.make_conditions(model, 2), [Step(t, 0.5, 0.5) for t in range(n_steps, 0, -1)],
                    torch.zeros(2, 100, 54), None,
                )  # fmt: skip
            counts.append(counter.get_total_flops())
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_attention)
    assert sampling.step_flop(model.denoising_net.config, 2, 3, 2, cached) == counts[1] - counts[0]


def test_the_whole_benchmark(tmp_path, capsys):
    path = tmp_path / "figures.json"
    arguments = ["--size", "tiny", "--samples", "1", "2", "--repeats", "1", "--device", "cpu", "--json", str(path)]
    sampling.main([*arguments, "--sampler", "dpmpp_2m", "--steps", "3"])
    printed = capsys.readouterr().out
    content = json.loads(path.read_text())
    assert "tiny network, dpmpp_2m 3 steps" in content["title"]
    assert content["title"] in printed
    assert [(r["mode"], r["samples"]) for r in content["rows"]] == [
        (mode, n) for n in (1, 2) for mode in sampling.CPU_MODES
    ]
    for row in content["rows"]:
        assert row["seconds"] > 0
        assert row["real_time"] == pytest.approx(4 * row["samples"] / row["seconds"])
        assert row["error"] < {"plain": 1e-12, "cached": 1e-5, "cached bf16": 0.1}[row["mode"]]
        assert row["kernels_per_step"] is None
    assert content["matrix_gflops"]["fp32"] > 1


def test_a_mode_that_fails_leaves_the_others(monkeypatch, capsys, caplog):
    inner = Engine.__init__

    def init(self, model, guidance, config=None):
        if config == sampling.MODES["cached"]:
            raise RuntimeError("out of memory")
        inner(self, model, guidance, config)

    monkeypatch.setattr(Engine, "__init__", init)
    sampling.main(["--size", "tiny", "--samples", "1", "--repeats", "1", "--device", "cpu", "--modes", "cached"])
    assert "cached, 1 samples: out of memory" in caplog.text
    assert "plain" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [["--steps", "9"], ["--samples", "0"], ["--repeats", "0"]])
def test_bad_numbers(flags, capsys):
    with pytest.raises(SystemExit) as caught:
        sampling.main(["--size", "tiny", "--device", "cpu", *flags])
    assert caught.value.code == 2
    assert "must be at least 1" in capsys.readouterr().err


def test_whole_call_of_the_embedded_model():
    found = sampling.whole_call("embedded", sampling.SamplerConfig("ddim", 1), "cached", 1)
    assert found["real_time"] == pytest.approx(found["speech_seconds"] / found["seconds"])
    assert found["speech_seconds"] == pytest.approx(5.3, abs=0.1)


def test_matrix_rate():
    assert matrix_rate("float32", torch.device("cpu"), 64) > 1e8
    assert torch.get_float32_matmul_precision() == "highest"
