"""Noise and another tone on the sound of training pairs, anew at every step, so that a network does not rely on clean
speech and does not learn the sound of its few talkers by heart; rooms and narrow bands. Timing stays in all of them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.timebase import SAMPLE_RATE
from utils.training.randomness import Randomness

SNR_DB = (0.0, 25.0)
TONE_DB = 4.0  # greatest size of each of the tone's waves over the logarithm of frequency
_WAVES, _VOICES = 3, 4
RT60, DIRECT_DB = (0.1, 0.6), (-3.0, 12.0)  # seconds; energy of the direct sound over that of the room's
TOP, TELEPHONE = (3000.0, 7000.0), (300.0, 3400.0)  # Hz
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
    coloured = torch.fft.irfft(torch.fft.rfft(random.normal(size, n)) * torch.exp2(-slope * octaves), n)
    voices = sum((audio.roll(i, 0) for i in range(1, _VOICES + 1)), torch.zeros_like(audio))
    noise = _scaled(torch.where(kind < 0.5, coloured, voices))
    snr = SNR_DB[0] + (SNR_DB[1] - SNR_DB[0]) * level
    return torch.where(chosen < share, _scaled(speech + noise * 10 ** (-snr / 20)), audio)


@torch.no_grad()
def with_pink_noise(audio: Tensor, snr_db: float, random: Randomness) -> Tensor:
    """Audio (B, n) with noise of 3 dB less power per octave, of standard deviation 1."""
    spectrum = torch.fft.rfft(random.normal(*audio.shape))
    frequency = torch.arange(spectrum.shape[1], device=audio.device) * (SAMPLE_RATE / audio.shape[1])
    noise = torch.fft.irfft(spectrum / frequency.clamp(min=_LOWEST).sqrt(), audio.shape[1])
    return _scaled(_scaled(audio) + _scaled(noise) * 10 ** (-snr_db / 20))


@torch.no_grad()
def in_rooms(audio: Tensor, share: float, random: Randomness) -> Tensor:
    """Audio (B, n) -> the same, a random `share` of the clips in a room: the direct sound, then decaying noise."""
    size, n = audio.shape
    length = int(RT60[1] * SAMPLE_RATE)
    chosen, rt60, direct = random.uniform(size, 3).split(1, dim=1)
    seconds = torch.arange(length, device=audio.device) / SAMPLE_RATE
    decay = 10 ** (-3 * seconds / (RT60[0] + (RT60[1] - RT60[0]) * rt60)) * (seconds > 0.002)
    tail = decay * F.avg_pool1d(random.normal(size, length), 3, 1, 1)  # walls take more of the high frequencies
    direct_db = DIRECT_DB[0] + (DIRECT_DB[1] - DIRECT_DB[0]) * direct
    tail *= 10 ** (-direct_db / 20) / tail.norm(dim=1, keepdim=True)
    tail[:, 0] = 1
    spectrum = torch.fft.rfft(audio.float(), n + length) * torch.fft.rfft(tail, n + length)
    return torch.where(chosen < share, _scaled(torch.fft.irfft(spectrum, n + length)[:, :n]), audio)


@torch.no_grad()
def band_limited(audio: Tensor, share: float, random: Randomness) -> Tensor:
    """Audio (B, n) -> the same, a random `share` of the clips without high frequencies; half of them by telephone."""
    size, n = audio.shape
    chosen, top, telephone = random.uniform(size, 3).split(1, dim=1)
    spectrum = torch.fft.rfft(audio.float())
    frequency = torch.arange(spectrum.shape[1], device=audio.device) * (SAMPLE_RATE / n)
    highest = torch.where(telephone < 0.5, TELEPHONE[1], TOP[0] + (TOP[1] - TOP[0]) * top)
    gain = 1 / (1 + (frequency / highest) ** 12)
    gain = torch.where(telephone < 0.5, gain * (1 - 1 / (1 + (frequency / TELEPHONE[0]) ** 6)), gain)
    return torch.where(chosen < share, _scaled(torch.fft.irfft(spectrum * gain, n)), audio)


def _scaled(audio: Tensor) -> Tensor:
    """(B, n) with standard deviation 1; silence stays silent."""
    return audio / audio.std(1, keepdim=True).clamp(min=1e-6)
