"""Noise and another tone on the sound of training pairs, anew at every step, so that a network does not rely on clean
speech and does not learn the sound of its few talkers by heart."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from utils.timebase import SAMPLE_RATE
from utils.training.randomness import Randomness

SNR_DB = (0.0, 25.0)
TONE_DB = 4.0  # greatest size of each of the tone's waves over the logarithm of frequency
_WAVES, _VOICES = 3, 4
_LOWEST = 40.0  # Hz: below it noise does not grow, and the tone is that of this frequency


@torch.no_grad()
def with_noise(audio: Tensor, share: float, random: Randomness) -> Tensor:
    """Audio (B, n) of standard deviation 1 -> the same, a random `share` of the clips with another tone and with noise.

    Half of the noises are white to brown (amplitude f^0 to f^-1), half are voices, the sum of other clips of the batch;
    the level lies uniformly in `SNR_DB` under the speech. Timing stays.
    """
    size, n = audio.shape
    spectrum = torch.fft.rfft(audio.float())
    frequency = torch.arange(spectrum.shape[1], device=audio.device) * (SAMPLE_RATE / n)
    octaves = torch.log2(frequency.clamp(min=_LOWEST) / _LOWEST)
    drawn = random.uniform(size, 4 + _WAVES)
    chosen, slope, level, kind = drawn[:, :4].split(1, dim=1)
    waves = torch.arange(1, _WAVES + 1, device=audio.device)[:, None] * (math.pi * octaves / octaves[-1])
    tone = 10 ** (TONE_DB / 20 * (2 * drawn[:, 4:] - 1) @ torch.cos(waves))
    speech = _scaled(torch.fft.irfft(spectrum * tone, n))
    white = random.normal(size, n)
    coloured = torch.fft.irfft(torch.fft.rfft(white) * torch.exp2(-slope * octaves), n)
    voices = sum((audio.roll(i, 0) for i in range(1, _VOICES + 1)), torch.zeros_like(audio))
    noise = _scaled(torch.where(kind < 0.5, coloured, voices))
    snr = SNR_DB[0] + (SNR_DB[1] - SNR_DB[0]) * level
    return torch.where(chosen < share, _scaled(speech + noise * 10 ** (-snr / 20)), audio)


def _scaled(audio: Tensor) -> Tensor:
    """(B, n) with standard deviation 1; silence stays silent."""
    return audio / audio.std(1, keepdim=True).clamp(min=1e-6)
