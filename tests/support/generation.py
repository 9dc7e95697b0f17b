"""Short forms of generation that the tests compare with."""

from __future__ import annotations

import torch
from torch import Tensor

from models.diffusion.schedule import Schedule
from models.diffusion.solvers import Noise, solver_steps
from models.diffusion.window import Conditions
from models.fast.engine import Engine
from models.generation.speech import Speech
from models.generation.windows import GenerationConfig, Item, WindowGenerator, generate_batch
from models.networks.person import Person
from models.networks.talker import Talker


def generate_window(
    model: Talker, given: Conditions, config: GenerationConfig, schedule: Schedule, x_T: Tensor, noise: Noise
) -> Tensor:
    """One window: x_T (B, L, D) noise -> normalised motion (B, L, D)."""
    steps = solver_steps(config.sampler, schedule, model.config.target)
    return Engine(model, config.guidance, config.engine).run(given, steps, x_T, noise)


def generate(model: Talker, audio: Tensor, person: Person, config: GenerationConfig, seeds: list[int]) -> Tensor:
    """Motion (B, n_frames, D) of one utterance (n,) for persons in a batch (B, ...)."""
    speech = Speech.encode(model, audio, config.whole_audio)
    styles = [None] * len(person.shape) if person.style is None else person.style
    items = [Item(speech, Person(shape, style), seed) for shape, style, seed in zip(person.shape, styles, seeds)]
    return torch.stack(generate_batch(WindowGenerator(model, config), items, len(items)))
