"""Recordings made harder: noise at a given level, faster speech, a pause; phone times follow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.speech.alignment import Phone
from benchmarks.speech.speech_scores import Clip
from utils.timebase import SAMPLE_RATE

FRAME, HOP, SEARCH = 640, 320, 120  # samples of the overlap-add: 40 ms, 20 ms, +-7.5 ms (a period of 67 Hz)


def pink_noise(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) noise with 3 dB less power per octave from 50 Hz on, standard deviation 1."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    frequency = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency, 50.0)), n)
    return (noise / noise.std()).astype(np.float32)


def babble(n: int, voices: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """(n,) several voices at once, each from a random place and repeated, standard deviation 1."""
    total = np.zeros(n)
    for voice in voices:
        start = int(rng.integers(len(voice)))
        total += np.resize(np.roll(voice, -start), n) / (voice.std() + 1e-9)
    return (total / total.std()).astype(np.float32)


def mixed(clip: Clip, noise: np.ndarray, snr_db: float) -> Clip:
    """The clip with noise (n,), whose power is `snr_db` below that of the whole recording."""
    gain = clip.audio.std() / (noise.std() + 1e-9) * 10 ** (-snr_db / 20)
    return replace(clip, audio=(clip.audio + gain * noise).astype(np.float32))


def faster(clip: Clip, rate: float) -> Clip:
    """The clip `rate` times as fast at the same pitch, phones included."""
    phones = [Phone(p.name, p.start / rate, p.end / rate) for p in clip.phones]
    return replace(clip, audio=stretch(clip.audio, rate), phones=phones)


def stretch(audio: np.ndarray, rate: float) -> np.ndarray:
    """Time scaling by waveform-similarity overlap-add (Verhelst and Roelands 1993): (n,) -> about (n / rate,).

    Every output frame is taken near its place in the input, where it continues the previous frame best.
    """
    n_frames = max(1, int(len(audio) / rate / HOP))
    lead = SEARCH + FRAME
    padded = np.pad(np.asarray(audio, np.float64), (lead, 2 * FRAME + HOP + SEARCH + int(HOP * rate)))
    window = np.hanning(FRAME + 1)[:FRAME]
    out, weight = np.zeros((n_frames + 1) * HOP), np.zeros((n_frames + 1) * HOP)
    position = lead
    for k in range(n_frames):
        ideal = lead + round(k * HOP * rate + (rate - 1) * FRAME / 2)  # the frames' middles correspond
        position = _best_place(padded, ideal, padded[position + HOP : position + HOP + FRAME]) if k else ideal
        piece = slice(k * HOP, k * HOP + FRAME)
        out[piece] += window * padded[position : position + FRAME]
        weight[piece] += window
    return (out / np.maximum(weight, 1e-3))[: round(len(audio) / rate)].astype(np.float32)


def _best_place(padded: np.ndarray, ideal: int, wanted: np.ndarray) -> int:
    region = padded[ideal - SEARCH : ideal + SEARCH + FRAME]
    similarity = np.correlate(region, wanted, "valid")
    energy = np.convolve(region**2, np.ones(FRAME), "valid")
    return ideal - SEARCH + int((similarity / np.sqrt(energy + 1e-9)).argmax())


def with_pause(clip: Clip, seconds: float, rng: np.random.Generator, level_db: float = -60.0) -> tuple[Clip, slice]:
    """A pause of faint noise in the middle of the clip, between two phones; also where it lies, in seconds.

    Returns:
        The clip, phones moved; slice(start, stop) of the pause in seconds.
    """
    borders = [p.end for p in clip.phones if p.name != "sil"][:-1]
    at = min(borders, key=lambda border: abs(border - len(clip.audio) / SAMPLE_RATE / 2))
    cut, n = round(at * SAMPLE_RATE), round(seconds * SAMPLE_RATE)
    hush = clip.audio.std() * 10 ** (level_db / 20) * pink_noise(n, rng)
    audio = np.concatenate([clip.audio[:cut], hush, clip.audio[cut:]]).astype(np.float32)
    before = [p for p in clip.phones if p.end <= at + 1e-6]
    after = [Phone(p.name, p.start + seconds, p.end + seconds) for p in clip.phones if p.end > at + 1e-6]
    phones = [*before, Phone("sil", at, at + seconds), *after]
    return replace(clip, audio=audio, phones=phones), slice(at, at + seconds)
