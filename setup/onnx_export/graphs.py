"""The parts of a talker as modules with fixed sizes, each with the inputs that it is traced and checked with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.audio.log_mel import HOP, N_FFT, compress, mel_filters
from models.audio.whisper import EXTRA_MEL, SURROUNDINGS, WhisperEncoder
from models.diffusion.schedule import Schedule
from models.diffusion.solvers import Step, solver_steps
from models.diffusion.window import Conditions
from models.fast.engine import Engine
from models.generation.tongue import TongueReader
from models.generation.windows import GenerationConfig
from models.networks.person import Person
from models.networks.talker import Talker
from setup.onnx_export.sample import WindowSample

# Inputs and outputs of the graphs that may have fewer frames, and the names of their lengths.
_LENGTHS = {
    "audio": {"audio": "samples", "features": "frames", "tongue": "frames"},
    "window": {"noise": "frames", "audio": "frames", "indicator": "frames", "motion": "frames"},
    "step": {},
}


@dataclass(frozen=True)
class Graph:
    """A graph to write, and what its output must equal."""

    name: str
    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    expected: Callable[[], tuple[Tensor, ...]]
    """What the project itself computes from the inputs, on another way than `module`."""
    free: dict[str, dict[int, str]] = field(default_factory=dict)
    """Input or output -> axes of any size, and their names; all others are fixed."""


class AudioGraph(nn.Module):
    """Levelled samples (1, SURROUNDINGS + 4 s + SURROUNDINGS) -> features (1, 100, feature_dim), tongue (1, 100, 2).

    The spectrum is a convolution, which every ONNX runtime has, instead of an STFT.
    """

    waves: Tensor  # (2 * 201, 1, 400)
    filters: Tensor  # (80, 201)

    def __init__(self, encoder: WhisperEncoder, feature_map: nn.Module) -> None:
        super().__init__()
        self.encoder, self.feature_map, self.tongue = encoder, feature_map, TongueReader.load()
        window = torch.hann_window(N_FFT, dtype=torch.float64)
        angle = torch.arange(N_FFT // 2 + 1)[:, None] * torch.arange(N_FFT) * (2 * math.pi / N_FFT)
        waves = torch.cat([angle.cos(), angle.sin()]).double() * window
        self.register_buffer("waves", waves.float()[:, None])
        self.register_buffer("filters", mel_filters(encoder.size.n_mels))
        self.first = EXTRA_MEL * HOP - N_FFT // 2  # sample at which the first mel frame that is used begins

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        spectrum = F.conv1d(audio[:, None, self.first :], self.waves, stride=HOP)[:, :, :-1]
        real, imaginary = spectrum.pow(2).split(len(self.waves) // 2, dim=1)
        mel = (self.filters @ (real + imaginary)).clamp(min=1e-10).log10()
        encoded = self.encoder.encode(compress(mel))
        margin = (SURROUNDINGS // HOP - EXTRA_MEL) // 2
        # Frame i has the features 2i, 2i + 1, 2i + 2.
        stacked = torch.cat([encoded[:, margin + k : k - margin : 2] for k in range(3)], dim=-1)
        return self.feature_map(stacked), self.tongue(stacked)


class StepGraph(nn.Module):
    """One evaluation of the denoiser for any number of guidance branches: `Denoiser.forward`."""

    def __init__(self, model: Talker) -> None:
        super().__init__()
        self.net = model.denoising_net

    def forward(self, motion: Tensor, memory: Tensor, person: Tensor, step: Tensor, *indicator: Tensor) -> Tensor:
        return self.net(motion, memory, person, step, *(indicator or (None,)))


class WindowGraph(nn.Module):
    """All steps of a distilled denoiser, which is evaluated once a step: noise (1, L, D) -> motion (1, L, D)."""

    def __init__(self, model: Talker, steps: Sequence[Step]) -> None:
        super().__init__()
        assert not any(s.previous or s.noise or (s.from_x, s.from_out) != (0.0, 1.0) for s in steps)
        self.net, self.steps = model.denoising_net, steps

    def forward(
        self, noise: Tensor, prev_motion: Tensor, prev_audio: Tensor, audio: Tensor, person: Tensor, *indicator: Tensor
    ) -> Tensor:
        x, memory, n_prev = noise, torch.cat([prev_audio, audio], dim=1), prev_motion.shape[1]
        for step in self.steps:
            t = torch.full((1,), step.t, dtype=torch.long)
            motion = torch.cat([prev_motion, x], dim=1)
            x = step.keep * x + step.data * self.net(motion, memory, person, t, *(indicator or (None,)))[:, n_prev:]
        return x


def graphs_of(model: Talker, config: GenerationConfig, sample: WindowSample, any_length: bool = False) -> list[Graph]:
    """audio, step, and for a distilled talker window; any_length: audio and window also take fewer frames."""
    found = [_audio_graph(model, sample), _step_graph(model, sample)]
    if model.config.distilled_steps:
        found.append(_window_graph(model, config, sample))
    if any_length:
        for graph in found:
            graph.free.update({name: {1: axis} for name, axis in _LENGTHS[graph.name].items()})
    return found


def _audio_graph(model: Talker, sample: WindowSample) -> Graph:
    encoder = cast(WhisperEncoder, model.audio_encoder)
    graph = AudioGraph(encoder, model.audio_feature_map)

    def expected() -> tuple[Tensor, Tensor]:
        encoded = encoder.surrounded(sample.samples, 1)
        return model.audio_feature_map(encoded), graph.tongue(encoded)

    return Graph("audio", graph, {"audio": sample.samples}, ("features", "tongue"), expected)


def _step_graph(model: Talker, sample: WindowSample) -> Graph:
    steps = model.config.n_diff_steps
    inputs = {
        "motion": torch.cat([sample.prev_motion, sample.noise], dim=1).repeat(2, 1, 1),
        "memory": torch.cat([sample.prev_audio, sample.audio], dim=1).repeat(2, 1, 1),
        "person": sample.person.repeat(2, 1),
        "step": torch.tensor([steps, steps // 2]),
    } | {name: value.repeat(2, 1) for name, value in _indicator(model, sample).items()}
    return Graph("step", StepGraph(model), inputs, ("prediction",),
                 lambda: (model.denoising_net(*inputs.values(), *(() if "indicator" in inputs else (None,))),),
                 {name: {0: "batch"} for name in (*inputs, "prediction")})  # fmt: skip


def _window_graph(model: Talker, config: GenerationConfig, sample: WindowSample) -> Graph:
    options = model.config
    steps = solver_steps(config.sampler, Schedule.make(options.diff_schedule, options.n_diff_steps), options.target)
    names = ("noise", "prev_motion", "prev_audio", "audio", "person")
    inputs = {name: getattr(sample, name) for name in names} | _indicator(model, sample)
    style = sample.style if options.has_style else None
    given = Conditions(sample.audio, sample.prev_audio, sample.prev_motion, Person(sample.shape, style),
                       inputs.get("indicator"))  # fmt: skip

    def expected() -> tuple[Tensor]:
        engine = Engine(model, config.guidance)
        return (engine.run(given, steps, sample.noise, lambda t, like: torch.zeros_like(like)),)

    return Graph("window", WindowGraph(model, steps), inputs, ("motion",), expected)


def _indicator(model: Talker, sample: WindowSample) -> dict[str, Tensor]:
    return {"indicator": sample.indicator} if model.config.use_indicator else {}
