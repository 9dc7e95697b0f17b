"""The decoder's form for training against PyTorch's own: values, gradients, dropout, and when it is used."""

import copy
from dataclasses import replace

import pytest
import torch

from models.networks import denoiser
from models.networks.denoiser import Denoiser, DenoiserConfig
from models.networks.fast_decoder import aligned_attention
from tests.support.golden_weights import array

CONFIG = DenoiserConfig(54, 100, n_diff_steps=6, feature_dim=32, n_heads=4, n_layers=3, n_motions=12, n_prev_motions=3)


def twins(config: DenoiserConfig = CONFIG) -> tuple[Denoiser, Denoiser]:
    """The fast and the plain one, in double precision and eval mode: without dropout."""
    torch.manual_seed(0)
    fast = Denoiser(config).double().eval()
    with torch.no_grad():
        for parameter in fast.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # biases start at zero
    plain = copy.deepcopy(fast)
    plain.fast = False
    return fast, plain


def inputs(config: DenoiserConfig = CONFIG) -> list[torch.Tensor | None]:
    n, p, dim = config.n_motions, config.n_prev_motions, config.feature_dim
    shapes = {"motion": (2, p + n, 54), "memory": (2, p + n, dim), "person": (2, 100)}
    tensors = [torch.from_numpy(array(f"fast:{k}", shape)).double() for k, shape in shapes.items()]
    return [*(t.requires_grad_() for t in tensors), torch.tensor([1, 5]), None]


@pytest.mark.parametrize("change", [{}, {"learnable_positions": False}, {"n_layers": 1, "n_heads": 1}])
def test_values_and_gradients(change):
    config = replace(CONFIG, **change)
    given = inputs(config)
    results = []
    for net in twins(config):
        out = net(*given)
        outside = torch.from_numpy(array("fast:outside", tuple(out.shape))).double()
        names, parameters = zip(*net.named_parameters())
        gradients = torch.autograd.grad(out, [*given[:3], *parameters], outside)
        results.append({"out": out, **dict(zip(["motion", "memory", "person", *names], gradients))})
    assert results[1]["memory"].abs().max() > 1e-3
    for name, expected in results[1].items():
        torch.testing.assert_close(
            results[0][name], expected, rtol=0, atol=1e-12 * max(1.0, expected.abs().max().item())
        )


@pytest.mark.parametrize("width,gradients,wanted", [(1, True, 1), (1, False, 0), (2, True, 0), (0, True, 0)])
def test_when_it_is_used(width, gradients, wanted, monkeypatch):
    """For alignment width 1, with gradients; and otherwise the plain one gives the same as ever."""
    calls, decode = [], denoiser.decode
    monkeypatch.setattr(denoiser, "decode", lambda *given: calls.append(1) or decode(*given))
    fast, plain = twins(replace(CONFIG, align_mask_width=width))
    with torch.set_grad_enabled(gradients):
        torch.testing.assert_close(fast(*inputs()), plain(*inputs()), rtol=0, atol=1e-12)
    assert len(calls) == wanted


@pytest.mark.parametrize("width", [1, 2])
def test_compiled_layers(width):
    """Traced without a break, once for all layers, and the same; whole where PyTorch's decoder is used."""
    config, traced = replace(CONFIG, align_mask_width=width), []
    compiled, plain = twins(config)
    compiled.compile_layers(fullgraph=True, backend=lambda graph, _: traced.append(1) or graph.forward)
    given = inputs(config)
    results = [net(*given) for net in (compiled, plain)]
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad(out.sum(), given[:3]) for out in results]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)
    assert len(traced) == 1


def test_dropped_attention_is_distributed_as_in_pytorch():
    """Mean and spread of every token's cross-attention over random draws."""
    torch.manual_seed(0)
    attention = torch.nn.MultiheadAttention(16, 4, dropout=0.3, batch_first=True).train()
    draws, frames = 20000, 3
    tokens, memory = torch.randn(1, 1 + frames, 16), torch.randn(1, frames, 16)
    tokens, memory = tokens.expand(draws, -1, -1), memory.expand(draws, -1, -1)
    mask = denoiser.alignment_mask(frames, 1)
    with torch.no_grad():
        plain = attention(tokens, memory, memory, attn_mask=mask, need_weights=False)[0]
        fast = aligned_attention(attention, tokens[:, :1], memory)
    scale = plain.std(0).max()
    assert scale > 0.05
    torch.testing.assert_close(fast.mean(0), plain.mean(0), rtol=0, atol=0.05 * scale.item())
    torch.testing.assert_close(fast.std(0), plain.std(0), rtol=0, atol=0.05 * scale.item())
    still = attention.eval()
    with torch.no_grad():
        expected = still(tokens[:1], memory[:1], memory[:1], attn_mask=mask)[0]
        torch.testing.assert_close(aligned_attention(still, tokens[:1, :1], memory[:1]), expected)


def test_motion_is_written_in_single_precision_under_autocast():
    """Neighbouring frames that are nearly alike must not fall on the same 16 bit number."""
    fast = twins()[0].float()
    given = [x.float() if x is not None and x.is_floating_point() else x for x in inputs()]
    exact = fast(*given)
    with torch.autocast("cpu", torch.bfloat16):
        motion = fast(*given)
    assert motion.dtype == torch.float32
    assert not torch.equal(motion, motion.bfloat16().float())
    assert (motion - exact).norm() < 0.02 * exact.norm()
