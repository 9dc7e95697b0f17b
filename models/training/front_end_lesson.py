"""What a front end that is to hear through noise is taught: features of disturbed speech as those of clean speech."""

from __future__ import annotations

from collections.abc import Sequence

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
LENGTH = WINDOW * samples_per_frame() + 2 * SURROUNDINGS  # samples of a window with its margins


def cut(speech: Tensor, starts: Tensor) -> Tensor:
    """Crops (B, LENGTH) of standard deviation 1 that begin at `starts` (B,)."""
    audio = speech[starts[:, None] + torch.arange(LENGTH, device=speech.device)].float()
    return (audio - audio.mean(1, keepdim=True)) / audio.std(1, keepdim=True).clamp(min=1)


def training_pair(speech: Tensor, size: int, random: Randomness) -> tuple[Tensor, Tensor]:
    """Clean and disturbed audio (B, LENGTH), both as the encoder takes them."""
    clean = cut(speech, random.integers(0, len(speech) - LENGTH, size))
    heard = with_noise(in_rooms(clean, ROOMS, random), NOISE, random)
    both = torch.stack([level_speech(clean), level_speech(band_limited(heard, BANDS, random))])
    at_start, at_end = random.uniform(2, size, 1) < EDGES
    both[:, :, :SURROUNDINGS] *= ~at_start
    both[:, :, -SURROUNDINGS:] *= ~at_end
    return both[0], both[1]


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

    def errors(self, features: Tensor, truth: Tensor) -> Tensor:
        """Share of the variance (B,) by which features (B, T, D) miss the truth, the mean over the views."""
        missed = features.float() - truth
        views = [missed / self.spread, *(missed @ each.T for each in self.maps)]
        return torch.stack([view.square().mean((1, 2)) for view in views]).mean(0)

    def loss(self, student: WhisperEncoder, clean: Tensor, heard: Tensor) -> Tensor:
        """The mean of the roots: the small errors of clean clips weigh as much as the large ones of noisy clips."""
        truth = self.teacher.surrounded(clean, 1)
        with torch.autocast("cuda", torch.bfloat16, enabled=clean.is_cuda):
            features = student.with_gradients(heard)
        return self.errors(features, truth).clamp(min=1e-6).sqrt().mean()

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
