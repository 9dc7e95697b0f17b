"""Noise on the sound of training pairs: how much, on which clips, and only in training."""

import pytest
import torch

from models.training.audio_noise import SNR_DB, band_limited, in_rooms, with_noise, with_pink_noise
from tests.models.training.test_objective import NEVER, Watch, batch, make_objective
from tests.support.tiny_talker import make_talker
from utils.training.randomness import Randomness

N = 32000


def speech(size: int) -> torch.Tensor:
    """Clips of standard deviation 1: decaying tones, different in every clip."""
    time = torch.arange(N) / 16000
    clips = torch.stack([torch.sin(2 * torch.pi * (150 + 37 * i) * time) * torch.exp(-time % 0.5) for i in range(size)])
    return clips / clips.std(1, keepdim=True)


def test_the_asked_share_is_changed_and_the_rest_is_untouched():
    audio = speech(64)
    heard = with_noise(audio, 0.3, Randomness(0, "cpu"))
    changed = (heard != audio).any(1)
    assert 10 <= changed.sum() <= 30
    torch.testing.assert_close(heard.std(1), torch.ones(64), atol=1e-4, rtol=0)
    torch.testing.assert_close(with_noise(audio, 0.3, Randomness(0, "cpu")), heard)
    assert not torch.equal(with_noise(audio, 0.3, Randomness(1, "cpu")), heard)


def test_noise_lies_within_its_range(monkeypatch):
    monkeypatch.setattr("models.training.audio_noise.TONE_DB", 0.0)
    audio = speech(48)
    heard = with_noise(audio, 1.0, Randomness(2, "cpu"))
    share = (heard * audio).mean(1) / audio.square().mean(1)  # of the speech in what is heard
    rest = heard - share[:, None] * audio
    snr = 10 * torch.log10((share[:, None] * audio).square().mean(1) / rest.square().mean(1))
    assert (snr > SNR_DB[0] - 1).all() and (snr < SNR_DB[1] + 1).all()
    assert snr.max() - snr.min() > 15


def test_silence_stays_finite():
    heard = with_noise(torch.zeros(3, N), 1.0, Randomness(0, "cpu"))
    assert torch.isfinite(heard).all()


@pytest.mark.parametrize("training", [True, False])
def test_the_network_hears_it_in_training_only(flame_losses, training):
    model = make_talker().train(training)
    noisy = make_objective(model, flame_losses, audio_noise=1.0, **NEVER)
    given = batch()
    heard = noisy.heard(model, given, Randomness(0, "cpu"))
    assert torch.equal(heard["audio"], given["audio"]) != training
    assert torch.equal(heard["motion"], given["motion"])


def test_the_objective_uses_what_is_heard(flame_losses, monkeypatch):
    model = make_talker()
    objective, other = make_objective(model, flame_losses, **NEVER), batch()
    watch, given = Watch(model), batch()
    objective(model, given, Randomness(0, "cpu"))
    clean = watch["memory"]
    other["audio"] = other["audio"].flip(-1)
    monkeypatch.setattr(objective, "heard", lambda *_: other)
    objective(model, given, Randomness(0, "cpu"))
    assert not torch.equal(watch["memory"], clean)


@pytest.fixture(scope="module")
def flame_losses():
    from models.heads.flame import load_flame

    return load_flame(None)


def test_pink_noise_has_the_asked_level_and_slope():
    audio = speech(8)
    heard = with_pink_noise(audio, 5.0, Randomness(0, "cpu"))
    gain = (heard * audio).mean(1, keepdim=True)
    noise = heard - gain * audio
    torch.testing.assert_close(20 * torch.log10(gain[:, 0] / noise.std(1)), torch.full((8,), 5.0), atol=0.2, rtol=0)
    power = torch.fft.rfft(noise).abs().square().mean(0)  # bins of 0.5 Hz
    octaves = [10 * float(torch.log10(power[2 * f : 4 * f].mean())) for f in (1000, 2000)]
    assert 2.5 < octaves[0] - octaves[1] < 3.5


def test_a_room_keeps_the_timing_and_follows_the_sound():
    audio = torch.zeros(16, N)
    audio[:, 8000] = 1
    heard = in_rooms(audio, 1.0, Randomness(0, "cpu"))
    assert (heard.abs().argmax(1) == 8000).all()
    assert heard[:, :7990].abs().max() < 1e-3 * heard.abs().max()
    assert (heard[:, 8030:].square().sum(1) > 0.04 * heard.square().sum(1)).all()
    assert torch.equal(in_rooms(audio, 0.0, Randomness(0, "cpu")), audio)


def test_narrow_bands_lose_high_frequencies_and_a_telephone_low_ones():
    audio = torch.randn(64, N, generator=torch.Generator().manual_seed(0))
    power = torch.fft.rfft(band_limited(audio, 1.0, Randomness(0, "cpu"))).abs().square()
    low, middle, high = (power[:, 2 * a : 2 * b].mean(1) for a, b in ((20, 150), (800, 2500), (7500, 8000)))
    assert (high < 0.5 * middle).all()
    assert 20 <= (low < 0.1 * middle).sum() <= 44
