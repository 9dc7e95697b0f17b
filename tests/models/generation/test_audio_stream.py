"""Long recordings in chunks: the same level, features and motion as the whole recording at once."""

import numpy as np
import pytest
import torch

from models.audio.hubert import AudioEncoder, build_audio_encoder
from models.audio.log_mel import level_speech
from models.audio.whisper import WhisperEncoder
from models.diffusion.solvers import SamplerConfig
from models.generation.audio_stream import AudioScale, SpanEncoder, feature_windows
from models.generation.continuation import Continuation, continued_motion
from models.generation.speech import Speech
from models.generation.windows import GenerationConfig, Sample, WindowGenerator
from models.networks.person import Person
from models.networks.talker import Talker
from tests.support.generation import generate
from tests.support.golden_weights import array
from tests.support.tiny_talker import CONFIG, make_talker
from utils.media.audio import standardise


def recording(seconds: float) -> np.ndarray:
    """Syllables of changing loudness around an offset, float32 (n,)."""
    t = np.arange(round(seconds * 16000)) / 16000
    loudness = (0.55 + 0.45 * np.sin(2 * np.pi * 4 * t)) * (1.2 + np.sin(2 * np.pi * t / 7)) * (t % 5 < 3.5)
    noise = np.random.default_rng(0).standard_normal(len(t))
    return (0.02 + 0.1 * loudness * noise).astype(np.float32)


def pieces(audio: np.ndarray, size: int):
    return (audio[i : i + size] for i in range(0, len(audio), size))


def scale_of(audio: np.ndarray, size: int = 999) -> AudioScale:
    scale = AudioScale()
    for piece in pieces(audio, size):
        scale.push(piece)
    return scale


@pytest.mark.parametrize("n", [1, 799, 800, 801, 50_000])
@pytest.mark.parametrize("size", [1, 640, 100_000])
def test_scale_is_that_of_the_whole(n, size):
    audio = recording(4)[:n]
    scale = scale_of(audio[: 3000 if size == 1 else n], size)
    audio = audio[: scale.n_samples]
    assert scale.mean == pytest.approx(audio.mean(dtype=np.float64), abs=1e-9)
    assert scale.std == pytest.approx(audio.std(ddof=1, dtype=np.float64) if len(audio) > 1 else 0, rel=1e-6)
    levelled = level_speech(torch.from_numpy(audio)[None])[0].numpy()
    if len(audio) > 1:
        ours = (audio - scale.mean) * 0.1 / scale.speech_rms
        np.testing.assert_allclose(ours, levelled, rtol=1e-4, atol=1e-5)


def whisper_talker() -> Talker:
    torch.manual_seed(0)
    return Talker(CONFIG, WhisperEncoder.load()).eval()


@pytest.mark.parametrize("n_samples", [5000, 64_000, 64_001, 640 * 1020, 640 * 2150 + 17])
def test_windowed_features_equal_the_whole(n_samples):
    model, audio = whisper_talker(), recording(90)[:n_samples]
    whole = Speech.encode(model, torch.from_numpy(standardise(audio))).windows
    chunked = [one.features for one in feature_windows(model, pieces(audio, 7001), scale_of(audio))]
    assert len(chunked) == len(whole)
    torch.testing.assert_close(torch.stack(chunked), whole, atol=2e-4, rtol=1e-3)


def tiny_hubert() -> Talker:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    sizes |= {"conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
    encoder = build_audio_encoder("hubert", sizes)
    assert isinstance(encoder, AudioEncoder)
    return Talker(CONFIG, encoder).eval()


def test_full_attention_equals_the_whole_within_a_chunk():
    model, audio = tiny_hubert(), recording(20)
    whole = Speech.encode(model, torch.from_numpy(standardise(audio))).windows
    chunked = torch.stack([one.features for one in feature_windows(model, pieces(audio, 50_000), scale_of(audio))])
    torch.testing.assert_close(chunked, whole, atol=1e-4, rtol=1e-4)


def test_full_attention_in_overlapping_chunks_is_close():
    model, audio = tiny_hubert(), recording(60)
    whole = torch.cat(list(Speech.encode(model, torch.from_numpy(standardise(audio))).windows))
    chunked = torch.cat([one.features for one in feature_windows(model, pieces(audio, 50_000), scale_of(audio))])
    assert chunked.shape == whole.shape == (1500, 16)
    assert (chunked[:870] - whole[:870]).square().mean() < 0.15 * whole.var(0).mean()
    inner, size = slice(1100, 1400), 300  # in the second chunk, far from the seam
    likeness = [correlation(chunked[inner], whole[1100 + shift :][:size]) for shift in (-1, 0, 1)]
    assert likeness[1] > 0.6  # random weights attend everything evenly; trained ones look nearby
    assert likeness[1] > 3 * max(likeness[0], likeness[2])  # frames are where they belong


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a - a.mean(0), b - b.mean(0)
    return float((a * b).sum() / (a.norm() * b.norm()))


def test_memory_does_not_grow_with_the_recording(monkeypatch):
    """No call of the encoder sees more than a chunk and its surroundings, no matter how long the recording is."""
    model, sizes = whisper_talker(), []
    encoder = SpanEncoder(model)

    def look(audio, n_windows):
        sizes.append(audio.shape[1])
        return torch.zeros(1, n_windows * 100, model.audio_encoder.hidden_size)

    monkeypatch.setattr(model.audio_encoder, "surrounded", look)
    blocks, scale = [np.full(16_000, 0.1, np.float32)] * 600, AudioScale()
    for block in blocks:
        scale.push(block)
    assert sum(1 for _ in feature_windows(model, blocks, scale)) == 150
    assert max(sizes) <= (encoder.chunk + 2 * encoder.margin) * 640
    assert len(sizes) == 15


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("n_samples", [640 * 30, 640 * 230 + 5])
def test_continued_motion_is_the_generated_one(sampler, fresh, n_samples):
    model = make_talker()
    config = GenerationConfig(sampler=SamplerConfig(sampler, 3), fresh_noise=fresh)
    audio = torch.from_numpy(array("continuation:audio", (n_samples,)))
    shape, style = (torch.from_numpy(array(f"continuation:{n}", (1, n))) for n in (100, 128))
    expected = generate(model, audio, Person(shape, style), config, [7])[0]
    speech = Speech.encode(model, audio)
    sample = Continuation(WindowGenerator(model, config), Sample(model, Person(shape[0], style[0]), 7))
    found = list(continued_motion(speech.windows, speech.n_frames, sample))
    assert [len(x) for x in found[:-1]] == [100] * (len(found) - 1)
    torch.testing.assert_close(torch.cat(found), expected, atol=2e-5, rtol=1e-5)


def test_a_short_window_carries_its_own_last_frames():
    model = make_talker()
    config = GenerationConfig(sampler=SamplerConfig("ddim", 2), fresh_noise=True)
    sample = Continuation(WindowGenerator(model, config), Sample(model, Person(torch.zeros(100)), 0))
    features = torch.from_numpy(array("continuation:features", (9, 16)))
    first, second = sample.window(features[:6], 6), sample.window(features[6:], 3)
    assert first.shape == (6, 54)
    torch.testing.assert_close(sample.sample.motion[-9:], torch.cat([first, second]))
    torch.testing.assert_close(sample.sample.audio[-9:], features)
    torch.testing.assert_close(sample.sample.audio[:1], model.start_audio_feat[0, -1:])
