"""The audio encoder's memory-saving path against its plain twin."""

import pytest
import torch

from models.audio_encoder import build_audio_encoder
from tests.golden_weights import array

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
         "conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}  # fmt: skip


@pytest.mark.parametrize("kind", ["hubert", "wav2vec2"])
@pytest.mark.parametrize("length,piece", [(64080, 320), (64080, 5000), (64399, 9999), (64080, 10**6)])
def test_convolving_in_pieces(kind, length, piece):
    torch.manual_seed(0)
    encoder = build_audio_encoder(kind, SIZES).eval()
    audio = 0.3 + torch.from_numpy(array("encoder:audio", (2, length)))
    with torch.no_grad():
        whole = encoder.backbone.feature_extractor(audio)
        pieces = encoder.convolve_in_pieces(audio, piece)
    torch.testing.assert_close(pieces, whole, atol=1e-5 * whole.abs().max().item(), rtol=0)


def test_long_audio_takes_that_path(monkeypatch):
    monkeypatch.setattr("models.audio_encoder.LONG", 6400)
    encoder, audio = build_audio_encoder("hubert", SIZES).eval(), torch.from_numpy(array("encoder:audio", (1, 64000)))
    with torch.no_grad():
        long = encoder(audio, 100)
        monkeypatch.setattr("models.audio_encoder.LONG", 10**6)
        plain = encoder(audio, 100)
    assert long.shape == (1, 100, 32)
    torch.testing.assert_close(long, plain, atol=1e-4, rtol=0)
