"""The audio encoder's fast forms against the transformers library's own: values, gradients, random masks."""

import copy
import time

import numpy as np
import pytest
import torch

from models.audio import hubert as audio_encoder
from models.audio import hubert_fast as fast_audio
from models.audio.hubert import _interpolate, _resample, build_audio_encoder, load_audio_encoder
from models.audio.hubert_fast import can_convolve, convolve, mask_hidden, span_mask, spectral_convolution
from tests.support.golden_weights import NAMES, array
from utils.errors import UserError

SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64,
         "conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}  # fmt: skip
DROPOUTS = ["hidden_dropout", "activation_dropout", "attention_dropout", "feat_proj_dropout"]
NO_DROPOUT = dict.fromkeys([*DROPOUTS, "layerdrop", "mask_time_prob"], 0.0)
CPU = torch.device("cpu")


def make(kind: str = "hubert", **changes):
    """A small random encoder with norms that do something."""
    torch.manual_seed(0)
    encoder = build_audio_encoder(kind, SIZES | changes)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "layer_norm" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return encoder


def audio_of(batch: int, length: int) -> torch.Tensor:
    return 0.3 + torch.from_numpy(array("encoder:audio", (batch, length)))


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float) -> None:
    torch.testing.assert_close(a, b, atol=tolerance * b.abs().max().item(), rtol=0)


# Convolutions


@pytest.mark.parametrize("kind", ["hubert", "wav2vec2"])
@pytest.mark.parametrize("length,piece", [(16080, 640), (64080, 9999), (64399, 50000), (16080, 10**6), (400, 10**6)])
def test_convolutions(kind, length, piece):
    extractor = make(kind).eval().backbone.feature_extractor
    audio = audio_of(2, length)
    audio[1] *= 1e-3  # the norm's epsilon counts here
    with torch.no_grad():
        close(convolve(extractor, audio, piece), extractor(audio).transpose(1, 2), 1e-5)


def test_convolutions_with_other_kernels_and_biases():
    odd = {"conv_kernel": [7, 5, 4, 3, 1, 2, 2], "conv_stride": [4, 2, 3, 2, 1, 2, 2], "conv_bias": True}
    extractor = make(**odd).eval().backbone.feature_extractor
    with torch.no_grad():
        for layer in extractor.conv_layers:
            layer.conv.bias.normal_()
        expected = extractor(audio_of(2, 8000)).transpose(1, 2)
        close(convolve(extractor, audio_of(2, 8000)), expected, 1e-5)


def test_convolutions_in_half_precision_are_as_good_as_autocast():
    extractor, audio = make().eval().backbone.feature_extractor, audio_of(2, 16080)
    with torch.no_grad():
        exact = extractor(audio).transpose(1, 2)
        with torch.autocast("cpu", torch.bfloat16):
            ours, plain = convolve(extractor, audio), extractor(audio).transpose(1, 2)
    assert ours.dtype == torch.bfloat16
    assert (ours - exact).norm() < 1.2 * (plain - exact).norm()
    assert (ours - exact).norm() < 0.02 * exact.norm()


def test_which_extractors_can_be_convolved():
    encoder = make()
    assert can_convolve(encoder.backbone.feature_extractor)
    assert not can_convolve(make(feat_extract_norm="layer").backbone.feature_extractor)
    encoder.backbone.feature_extractor.requires_grad_(True)
    assert not can_convolve(encoder.backbone.feature_extractor)


@pytest.mark.parametrize(
    "kernel,groups,length", [(16, 4, 40), (128, 16, 200), (5, 1, 13), (16, 2, 3), (33, 1, 16), (64, 1, 33)]
)
def test_positional_convolution(kernel, groups, length):
    """In double precision: values and all gradients."""
    torch.manual_seed(0)
    conv = torch.nn.Conv1d(32, 32, kernel, padding=kernel // 2, groups=groups).double()
    x = torch.randn(2, length, 32, dtype=torch.float64, requires_grad=True)
    outside = torch.randn(2, length, 32, dtype=torch.float64)
    wanted = [x, conv.weight, conv.bias]
    plain = conv(x.transpose(1, 2))[..., :length].transpose(1, 2)
    fast = spectral_convolution(x, conv)
    close(fast, plain, 1e-13)
    for a, b in zip(torch.autograd.grad(fast, wanted, outside), torch.autograd.grad(plain, wanted, outside)):
        close(a, b, 1e-13)


@pytest.mark.parametrize("length,n_frames", [(200, 100), (200, 200), (199, 100), (398, 200), (1, 2)])
def test_resampling(length, n_frames):
    x = torch.from_numpy(array("encoder:features", (2, length, 8))).requires_grad_()
    outside = torch.from_numpy(array("encoder:outside", (2, n_frames, 8)))
    fast, plain = _resample(x, n_frames), _interpolate(x, n_frames)
    torch.testing.assert_close(fast, plain, atol=1e-6, rtol=0)
    gradients = [torch.autograd.grad(y, x, outside)[0] for y in (fast, plain)]
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=0)


# The whole encoder


@pytest.fixture(params=[False, True], ids=["cpu", "gpu"])
def device_forms(request, monkeypatch):
    """The forms that a CPU, and that a GPU takes, both on the CPU."""
    for module in (fast_audio, audio_encoder):
        monkeypatch.setattr(module, "convolves", lambda x: request.param)


@pytest.mark.usefixtures("device_forms")
@pytest.mark.parametrize("kind", ["hubert", "wav2vec2"])
@pytest.mark.parametrize("change", [{}, {"do_stable_layer_norm": True}, {"feat_extract_norm": "layer"}])
def test_twins(kind, change):
    """In training mode without anything random: features and every parameter's gradient."""
    fast = make(kind, **NO_DROPOUT, **change).train()
    plain = copy.deepcopy(fast)
    plain.fast = False
    audio, outside = audio_of(2, 6400), torch.from_numpy(array("encoder:outside", (2, 10, 32)))
    features = [encoder(audio, 10) for encoder in (fast, plain)]
    close(*features, 1e-5)
    for output in features:
        (output * outside).sum().backward()
    trained = [name for name, p in plain.named_parameters() if p.grad is not None]
    assert len(trained) > 20
    for name in trained:
        a, b = (encoder.get_parameter(name).grad for encoder in (fast, plain))
        # A key's bias shifts all scores alike and has no gradient but rounding.
        torch.testing.assert_close(a, b, rtol=0, atol=2e-5 * max(b.abs().max().item(), 0.1), msg=name)
    assert [n for n, p in fast.named_parameters() if p.grad is not None] == trained


@pytest.mark.usefixtures("device_forms")
def test_autocast_is_as_good_as_the_library():
    fast = make(**NO_DROPOUT).eval()
    plain, audio = copy.deepcopy(fast), audio_of(2, 6400)
    plain.fast = False
    with torch.no_grad():
        exact = plain(audio, 10)
        with torch.autocast("cpu", torch.bfloat16):
            errors = [(encoder(audio, 10) - exact).norm() / exact.norm() for encoder in (fast, plain)]
    assert errors[0] < 1.25 * errors[1]
    assert errors[0] < 0.02


def test_dropout_is_where_the_library_has_it():
    """The spread of training outputs over random draws is the library's."""
    fast = make(**(NO_DROPOUT | dict.fromkeys(DROPOUTS, 0.2)))
    plain, audio = copy.deepcopy(fast), audio_of(1, 640)
    plain.fast = False
    with torch.no_grad():
        draws = [encoder.train()(audio.expand(3000, -1), 1).flatten(1) for encoder in (fast, plain)]
    close(draws[0].std(0), draws[1].std(0), 0.1)
    close(draws[0].mean(0), draws[1].mean(0), 0.1)


def test_compiled_layers():
    """Traced without a break, for frozen and trained layers, and the same."""
    traced = []
    plain = make(**NO_DROPOUT).train()
    compiled = copy.deepcopy(plain)
    compiled.compile_layers(fullgraph=True, backend=lambda graph, _: traced.append(1) or graph.forward)
    features = [encoder(audio_of(2, 6400), 10) for encoder in (compiled, plain)]
    torch.testing.assert_close(*features)
    assert 0 < len(traced) < len(plain.backbone.encoder.layers)
    features[0].sum().backward()
    assert compiled.backbone.encoder.layers[2].attention.k_proj.weight.grad is not None


@pytest.mark.parametrize("before", [False, True])
def test_layer_drop(monkeypatch, before):
    """Each layer is left out with the configured probability, for the whole batch, in training only."""
    encoder = make(**(NO_DROPOUT | {"layerdrop": 0.3, "do_stable_layer_norm": before})).train()
    calls = iter([0.29, 0.31, 0.1])
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor(next(calls)))
    audio = audio_of(2, 6400)
    with torch.no_grad():
        dropped = encoder(audio, 10)
        encoder.backbone.encoder.layers = encoder.backbone.encoder.layers[1:2]
        close(dropped, encoder.eval()(audio, 10), 1e-6)


# SpecAugment


def library_mask(size, probability, span, least, draws):
    from transformers.models.hubert.modeling_hubert import _compute_mask_indices

    return np.stack([_compute_mask_indices(size, probability, span, min_masks=least) for _ in range(draws)])


@pytest.mark.parametrize(
    "length,probability,span,least",
    [(200, 0.05, 10, 2), (200, 0.3, 10, 2), (30, 0.25, 10, 0), (20, 0.9, 10, 5), (50, 0.65, 1, 0), (12, 0.0, 10, 1)],
)
def test_spans_are_distributed_as_in_the_library(length, probability, span, least):
    """Masked entries per row (mean and spread), how often each place is masked, and how rows of a batch agree."""
    np.random.seed(0)  # noqa: NPY002 (the library draws from here)
    torch.manual_seed(0)
    size, draws = (8, length), 1500
    theirs = library_mask(size, probability, span, least, draws)
    ours = np.stack([span_mask(size, probability, span, least, CPU).numpy() for _ in range(draws)])
    assert ours.shape == theirs.shape
    counts = [x.sum(-1) for x in (ours, theirs)]
    assert set(np.unique(counts[0])) <= set(range(counts[1].min(), counts[1].max() + 1))
    noise = 6 * counts[1].mean(1).std() / draws**0.5
    np.testing.assert_allclose(counts[0].mean(), counts[1].mean(), rtol=0, atol=noise + 0.02)
    np.testing.assert_allclose(counts[0].std(), counts[1].std(), rtol=0.1, atol=0.02)
    np.testing.assert_allclose(ours.mean((0, 1)), theirs.mean((0, 1)), atol=0.03)
    np.testing.assert_allclose(counts[0].mean(1).std(), counts[1].mean(1).std(), rtol=0.15, atol=0.02)


def test_masked_frames_become_the_learnt_vector():
    encoder = make(**(NO_DROPOUT | {"mask_time_prob": 0.3, "mask_time_length": 3, "mask_feature_prob": 0.2,
                                    "mask_feature_length": 2})).train()  # fmt: skip
    hidden = 5 + torch.rand(4, 20, 32)
    out = mask_hidden(encoder.backbone, hidden)
    zero = (out == 0).all(1)  # (B, C)
    learnt = ((out == encoder.backbone.masked_spec_embed) | zero[:, None]).all(2)  # (B, L)
    assert zero.sum(1).tolist() == [zero[0].sum()] * 4 or zero.any(1).all()
    assert learnt.any(1).all()
    assert ((out == hidden) | zero[:, None] | learnt[..., None]).all()
    assert mask_hidden(encoder.eval().backbone, hidden) is hidden


def test_spans_longer_than_the_row():
    with pytest.raises(ValueError, match="longer than the 5 entries"):
        span_mask((2, 5), 0.1, 10, 1, CPU)


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    """A hub that refuses connections, and the folder of its cached `made-up/model`."""
    from huggingface_hub import constants, hf_api

    monkeypatch.setitem(audio_encoder.HUB_NAMES, "hubert", "made-up/model")
    monkeypatch.setattr(hf_api.api, "endpoint", "http://127.0.0.1:1")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    audio_encoder._classes("hubert")  # importing them takes long
    return tmp_path / "models--made-up--model"


def test_without_a_network_the_error_comes_at_once(no_hub):
    began = time.monotonic()
    with pytest.raises(UserError, match="cannot load made-up/model.*no answer.*--audio_model_path FOLDER"):
        load_audio_encoder("hubert")
    assert time.monotonic() - began < 5


def test_cached_weights_need_no_network(no_hub):
    made = build_audio_encoder("hubert", NAMES["dpt_head/audio_config"])
    made.backbone.save_pretrained(no_hub / "snapshots" / "1")
    (no_hub / "refs").mkdir()
    (no_hub / "refs" / "main").write_text("1")
    loaded = load_audio_encoder("hubert")
    for name, value in made.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name
