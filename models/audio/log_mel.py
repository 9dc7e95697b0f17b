"""Whisper's log-mel spectrogram in torch (Radford et al. 2022, section 2.2), and the level of its input."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from utils.timebase import SAMPLE_RATE

HOP, N_FFT = 160, 400  # samples: 10 ms, 25 ms
_DYNAMIC_RANGE = 8.0  # powers of ten kept below the loudest value
LEVEL_BLOCK = 800  # samples: 50 ms
LEVEL = 0.1  # RMS of speech


@cache
def mel_filters(n_mels: int) -> Tensor:
    """Slaney's mel filter bank (n_mels, 201): linear to 1 kHz, then logarithmic; equal areas, 0 to 8 kHz."""
    step = np.log(6.4) / 27  # of a mel above 1 kHz, which is mel 15
    bins = np.fft.rfftfreq(N_FFT, 1 / SAMPLE_RATE)
    top = 15 + np.log(SAMPLE_RATE / 2 / 1000) / step
    mel = np.linspace(0, top, n_mels + 2)
    edges = np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((np.maximum(mel, 15) - 15) * step))
    rise = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    filters = np.maximum(0, np.minimum(rise, fall)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return torch.from_numpy(filters.astype(np.float32))


@cache
def _filters_on(n_mels: int, device: torch.device) -> Tensor:
    return mel_filters(n_mels).to(device)  # moved once: a captured CUDA graph cannot copy from the host


def mel_power(audio: Tensor, n_mels: int = 80) -> Tensor:
    """log10 of the mel power (B, n_mels, n_samples // 160) of audio (B, n_samples), float32, not below 1e-10."""
    window = torch.hann_window(N_FFT, device=audio.device)
    spectrum = torch.stft(audio, N_FFT, HOP, window=window, return_complex=True)[..., :-1]
    power = spectrum.real.square() + spectrum.imag.square()
    return (_filters_on(n_mels, audio.device) @ power).clamp(min=1e-10).log10()


def compress(log_power: Tensor) -> Tensor:
    """Limit the dynamic range below each item's maximum and shift to about -1 to 1: log_power (B, n_mels, T)."""
    floor = log_power.amax(dim=(1, 2), keepdim=True) - _DYNAMIC_RANGE
    return (torch.maximum(log_power, floor) + 4) / 4


def level_speech(audio: Tensor, level: float = LEVEL) -> Tensor:
    """Scale each row of (B, n_samples) so that its speech has RMS `level`; pauses and padding do not count.

    The measured level is the RMS of the 50 ms blocks within 20 dB of the loudest one. It is thus nearly the same for
    4 s of speech and for the recording that they were cut from.
    """
    audio = audio - audio.mean(dim=1, keepdim=True)
    blocks = F.pad(audio, (0, -audio.shape[1] % LEVEL_BLOCK)).unflatten(1, (-1, LEVEL_BLOCK))
    power = blocks.square().mean(dim=2)
    spoken = power >= 0.01 * power.amax(dim=1, keepdim=True)
    rms = ((power * spoken).sum(dim=1) / spoken.sum(dim=1)).sqrt()
    return audio * (level / rms.clamp(min=1e-8))[:, None]
