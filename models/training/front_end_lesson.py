"""What a front end that is to hear through noise is taught: features of disturbed speech as those of clean speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.audio.log_mel import level_speech
from models.audio.whisper import SURROUNDINGS, WINDOW, WhisperEncoder
from models.networks.loading import load_talker
from models.training.audio_noise import band_limited, in_rooms, with_noise, with_pink_noise
from utils.errors import UserError
from utils.runs.run_dir import find_checkpoint
from utils.timebase import samples_per_frame
from utils.training.randomness import Randomness

ROOMS, NOISE, BANDS = 0.25, 0.75, 0.2  # shares of the clips
EDGES = 0.25  # share of the windows at whose start the recording starts; as many end with it
SHUT, SHORT = 1e-3, 6  # metres of opening; frames
LENGTH = WINDOW * samples_per_frame() + 2 * SURROUNDINGS  # samples of a window with its margins


@dataclass(frozen=True)
class Speech:
    """Clips one after another, on the device."""

    audio: Tensor  # (640 n,) int16
    counts: Tensor  # (n,) float16: what an error in each motion frame counts

    @property
    def last(self) -> int:
        """The last frame at which a crop can begin."""
        return len(self.counts) - LENGTH // samples_per_frame()

    def cut(self, starts: Tensor) -> Tensor:
        """Crops (B, LENGTH) of standard deviation 1 that begin at frames `starts` (B,)."""
        samples = starts[:, None] * samples_per_frame() + torch.arange(LENGTH, device=starts.device)
        audio = self.audio[samples].float()
        return (audio - audio.mean(1, keepdim=True)) / audio.std(1, keepdim=True).clamp(min=1)

    def counts_of(self, starts: Tensor) -> Tensor:
        """(B, frames): of the crops' frames without margins."""
        margin, frames = (n // samples_per_frame() for n in (SURROUNDINGS, LENGTH - 2 * SURROUNDINGS))
        return self.counts[starts[:, None] + margin + torch.arange(frames, device=starts.device)].float()


@dataclass(frozen=True)
class Pair:
    """Audio (B, LENGTH) as the encoder takes it, and what an error in each frame (B, frames) counts."""

    clean: Tensor
    heard: Tensor
    counts: Tensor


def closures(opening: np.ndarray) -> np.ndarray:
    """Whether each frame of an opening (n,) in metres belongs to a short closure of the lips, as for p, b and m.

    Lips that stay shut for longer are at rest.
    """
    shut = np.concatenate([[False], opening < SHUT, [False]])
    edges = np.flatnonzero(np.diff(shut))
    found = np.zeros(len(opening), bool)
    for first, end in zip(edges[::2], edges[1::2]):
        found[first:end] = end - first <= SHORT
    return found


def training_pair(speech: Speech, size: int, random: Randomness) -> Pair:
    """Clean and disturbed speech."""
    starts = random.integers(0, speech.last + 1, size)
    clean = speech.cut(starts)
    heard = with_noise(in_rooms(clean, ROOMS, random), NOISE, random)
    both = torch.stack([level_speech(clean), level_speech(band_limited(heard, BANDS, random))])
    at_start, at_end = random.uniform(2, size, 1) < EDGES
    both[:, :, :SURROUNDINGS] *= ~at_start
    both[:, :, -SURROUNDINGS:] *= ~at_end
    return Pair(both[0], both[1], speech.counts_of(starts))


class Lesson:
    """The error of a student's features against the teacher's, as a share of the variance in each of several views:
    every feature by itself, and what linear maps make of all of them."""

    def __init__(self, teacher: WhisperEncoder, held: Tensor, random: Randomness, maps: Sequence[Tensor] = ()) -> None:
        """held: (B, LENGTH) clean speech that is not trained on; maps: (n, D) each."""
        self.teacher = teacher
        noisy = {f"{snr} dB": with_pink_noise(held, snr, random) for snr in (10, 5)}
        self.held = {name: level_speech(audio) for name, audio in {"clean": held, **noisy}.items()}
        self.truth = teacher.surrounded(self.held["clean"], 1)
        flat = self.truth.flatten(0, 1)
        self.spread = flat.std(0).clamp(min=1e-4)
        self.maps = [each / (flat @ each.T).var(0).mean().sqrt() for each in maps]

    def errors(self, features: Tensor, truth: Tensor, counts: Tensor | None = None) -> Tensor:
        """Share of the variance (B,) by which features (B, T, D) miss the truth, the mean over the views.

        counts: (B, T) weights of the frames.
        """
        missed = features.float() - truth
        views = [missed / self.spread, *(missed @ each.T for each in self.maps)]
        by_frame = torch.stack([view.square().mean(2) for view in views]).mean(0)
        return by_frame.mean(1) if counts is None else (by_frame * counts).sum(1) / counts.sum(1)

    def loss(self, student: WhisperEncoder, pair: Pair) -> Tensor:
        """The mean of the roots: the small errors of clean clips weigh as much as the large ones of noisy clips."""
        truth = self.teacher.surrounded(pair.clean, 1)
        with torch.autocast("cuda", torch.bfloat16, enabled=truth.is_cuda):
            features = student.with_gradients(pair.heard)
        return self.errors(features, truth, pair.counts).clamp(min=1e-6).sqrt().mean()

    def report(self, student: WhisperEncoder) -> str:
        """Errors on held-out speech: clean, and in pink noise."""
        found = {name: self.errors(student.surrounded(audio, 1), self.truth) for name, audio in self.held.items()}
        return ", ".join(f"{name} {float(error.mean()):.2%}" for name, error in found.items())


def first_layers(talkers: Sequence[str], device: torch.device) -> list[Tensor]:
    """What the talkers do first with the features: matrices (n, D).

    Raises:
        UserError: no such experiment, or a talker on another front end.
    """
    found = []
    for name in talkers:
        model, _ = load_talker(find_checkpoint("DPT", name, None))
        if not isinstance(model.audio_encoder, WhisperEncoder):
            raise UserError(f"--talkers {name}: has another front end than Whisper; leave it out")
        found.append(model.audio_feature_map.weight.detach().float().to(device))
    return found
