"""Making clean synthetic speech sound like recordings: voice change, room, band, noise, level. Never a delay.

Filters are zero-phase and rooms start with the direct sound at lag 0, so phone times stay exact. The voice change
resamples, which scales time: `resample_speech` scales the phones with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from utils.timebase import SAMPLE_RATE


@dataclass(frozen=True)
class AugmentConfig:
    """Probabilities and ranges of the augmentations of one clip."""

    resample: float = 0.6
    resample_range: tuple[float, float] = (0.87, 1.15)
    room: float = 0.35
    room_rt60: tuple[float, float] = (0.12, 0.55)  # seconds
    band: float = 0.3
    noise: float = 0.6
    noise_snr: tuple[float, float] = (3.0, 38.0)  # dB
    clip: float = 0.08
    peak_db: tuple[float, float] = (-24.0, -1.0)


def resample_speech(
    audio: np.ndarray, phones: list[tuple[str, float, float]], factor: float
) -> tuple[np.ndarray, list[tuple[str, float, float]]]:
    """Play `factor` times faster: pitch and formants rise, times shrink. audio (n,) -> (about n / factor,)."""
    import soxr

    changed = soxr.resample(audio, SAMPLE_RATE * factor, SAMPLE_RATE, quality="HQ").astype(np.float32)
    return changed, [(phone, start / factor, end / factor) for phone, start, end in phones]


def draw_factor(config: AugmentConfig, rng: np.random.Generator) -> float:
    """Speed factor of a clip; 1 if its voice is not changed."""
    if rng.random() >= config.resample:
        return 1.0
    low, high = np.log(config.resample_range)
    return float(np.exp(rng.uniform(low, high)))


def augment(audio: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Room, band limit, noise, soft clipping and level of one clip; (n,) -> (n,) float32 with the same timing."""
    size = _fast_size(len(audio) + SAMPLE_RATE)
    spectrum = np.fft.rfft(audio, size)
    if rng.random() < config.room:
        spectrum *= np.fft.rfft(room_response(rng.uniform(*config.room_rt60), rng.uniform(0, 10), rng), size)
    if rng.random() < config.band:
        spectrum *= _band(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), rng)
    wet = np.fft.irfft(spectrum, size)[: len(audio)]
    if rng.random() < config.noise:
        wet = wet + _noise_for(wet, rng.uniform(*config.noise_snr), rng)
    if rng.random() < config.clip:
        level = np.abs(wet).max() * rng.uniform(0.3, 0.8) + 1e-9
        wet = level * np.tanh(wet / level)
    return set_peak(wet, rng.uniform(*config.peak_db))


def set_peak(audio: np.ndarray, decibels: float) -> np.ndarray:
    """Scale so that the largest sample is at `decibels` below full scale; float32."""
    return (audio * (10 ** (decibels / 20) / (np.abs(audio).max() + 1e-9))).astype(np.float32)


def room_response(rt60: float, direct_to_reverberant: float, rng: np.random.Generator) -> np.ndarray:
    """Exponentially decaying noise after a direct sound at sample 0; the ratio of their energies is given in dB."""
    n = int(rt60 * SAMPLE_RATE)
    time = np.arange(n) / SAMPLE_RATE
    tail = rng.standard_normal(n) * 10 ** (-3 * time / rt60)
    tail = np.convolve(tail, [0.35, 0.4, 0.25], mode="same")  # walls absorb high frequencies
    tail[: int(0.002 * SAMPLE_RATE)] = 0
    tail *= 10 ** (-direct_to_reverberant / 20) / (np.sqrt((tail**2).sum()) + 1e-9)
    tail[0] = 1.0
    return tail


def _band(frequency: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Zero-phase gain: a low-pass of 3 to 7 kHz, or one time in four a telephone's 300 to 3400 Hz; with a tilt."""
    telephone = rng.random() < 0.25
    top = 3400.0 if telephone else rng.uniform(3000, 7000)
    gain = 1 / (1 + (frequency / top) ** 12)
    if telephone:
        gain *= 1 - 1 / (1 + (frequency / 300) ** 6)
    return gain * (np.maximum(frequency, 100) / 1000) ** rng.uniform(-0.25, 0.25)


def _noise_for(audio: np.ndarray, snr: float, rng: np.random.Generator) -> np.ndarray:
    """Coloured noise (white to brown), sometimes with mains hum, at `snr` dB below the speech's level."""
    size = _fast_size(len(audio))
    frequency = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.standard_normal(size)) * np.maximum(frequency, 40) ** -rng.uniform(0, 1.0)
    noise = np.fft.irfft(spectrum, size)[: len(audio)]
    noise /= noise.std() + 1e-9
    if rng.random() < 0.2:
        noise = noise + 0.7 * np.sin(2 * np.pi * rng.choice([50, 60]) * np.arange(len(audio)) / SAMPLE_RATE)
    loud = np.sqrt(np.mean(audio**2) + 1e-12)
    return noise * loud * 10 ** (-snr / 20)


def _fast_size(n: int) -> int:
    """The smallest 2^a * 3 or 2^a that holds n samples: quick for the FFT."""
    power = 1 << (n - 1).bit_length()
    return power * 3 // 4 if power * 3 // 4 >= n else power
