"""How fast is sampling, how exact, and how far from what the machine could do?

The plain float32 network, evaluated anew at every step, against every faster way, for the same noise:

    python -m benchmarks.speed.sampling [--size full] [--sampler ddpm] [--steps 500] [--samples 1 8] [--modes graph ...]
                                  [--repeats 3] [--audio] [--json out.json]

`full` is the published model's size with random weights (no checkpoint is needed), `embedded` the bundled model,
`tiny` is for tests. One window of 4 s is generated per sample; guidance is incremental, audio 1.15, style 3.

Columns: seconds per window (the fastest of the repeats, after one run that captures and warms up); times the plain
network; times real time (4 s of motion for every sample, over the seconds); relative error, ||motion - plain|| /
||plain||; matrix products per step in GFLOP, their rate, and that rate as a share of the rate measured for one large
product in the same precision. `--audio` also times a whole call, speech to coefficients, of the embedded model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from benchmarks.report import DeviceFlags, column, kernels, machine, matrix_rate, measured, publish, read_flags, seconds
from benchmarks.subject import INPUT, Subject
from models.diffusion.guidance import DynamicThreshold, Guidance
from models.diffusion.schedule import Schedule
from models.diffusion.solvers import SAMPLERS, SamplerConfig, Step, gaussian_noise, solver_steps
from models.diffusion.window import Conditions
from models.fast.engine import Engine, EngineConfig
from models.generation.windows import GenerationConfig
from models.networks.denoiser import DenoiserConfig
from models.networks.person import Person
from models.networks.talker import Talker, TalkerConfig
from utils.config import flag
from utils.devices import pick_device
from utils.errors import UserError, cli
from utils.media.audio import load_audio
from utils.runs.run_dir import DEFAULT_EXPERIMENT
from utils.timebase import FPS, SAMPLE_RATE

PLAIN = "plain"  # the baseline of every comparison
MODES = {
    PLAIN: EngineConfig(cached=False),
    "plain tf32": EngineConfig("tf32", cached=False),
    "cached": EngineConfig(graph=False),
    "cached bf16": EngineConfig("bf16", graph=False),
    "graph": EngineConfig(),
    "graph tf32": EngineConfig("tf32"),
    "graph bf16": EngineConfig("bf16"),
    "graph fp16": EngineConfig("fp16"),
}
CPU_MODES = (PLAIN, "cached", "cached bf16")
TINY = {"feature_dim": 32, "n_heads": 4, "n_layers": 2, "n_diff_steps": 8}
PROFILED_STEPS = 20
RECORDING = INPUT / "audio" / "librivox_austen_0890.flac"


@dataclass(frozen=True, kw_only=True)
class SamplingFlags(DeviceFlags):
    """What is measured."""

    size: str = flag("full", choices=("full", "embedded", "tiny"))
    """The network: {choices}."""
    exp_name: str = DEFAULT_EXPERIMENT
    """For --size embedded and --audio."""
    sampler: str = flag("ddpm", choices=tuple(SAMPLERS))
    """The solver."""
    steps: int | None = None
    """Network evaluations; without it all on a GPU, 25 on a CPU."""
    samples: Sequence[int] = (1, 8)
    """Windows at once."""
    modes: Sequence[str] = flag((), choices=tuple(MODES))
    """Ways beside plain; without it, all that the device can do."""
    dtr: float = 0.0
    """Dynamic thresholding quantile, 0: off."""
    repeats: int = 3
    """Timed runs of each mode."""
    audio: bool = False
    """Also time whole calls, speech to coefficients."""


@dataclass(frozen=True)
class SamplingRow:
    """One way of sampling a number of windows at once."""

    mode: str = column("mode")
    samples: int = column("samples")
    seconds: float = column("s", "{:.3f}")
    first_seconds: float = column("first s", "{:.1f}")  # the first run, which captures and warms up
    speedup: float = column("x plain", "{:.1f}")
    real_time: float = column("x real time", "{:.1f}")
    error: float = column("error", "{:.1e}")
    step_gflop: float = column("GFLOP/step", "{:.2f}")
    gflops: float = column("TFLOP/s", "{:.2f}", scale=1e-3)
    share_of_matrix_rate: float = column("of matrix rate", "{:.0%}")
    kernels_per_step: float = column("kernels/step", "{:.0f}", default=math.nan)  # on a GPU
    kernel_share: float = column("kernels busy", "{:.0%}", default=math.nan)  # of the time during which some kernel ran


def step_flop(config: DenoiserConfig, samples: int, branches: int, persons: int, cached: bool) -> int:
    """Floating-point operations of the matrix products of one step (a multiplication and an addition each).

    Cached: without the products whose result is kept, with the first self-attention for each of the branches' distinct
    persons, and the last layer for the window's frames only.
    """
    d, frames, window = config.feature_dim, config.n_frames, config.n_motions
    tokens, batch, hidden = 1 + frames, samples * branches, d * config.mlp_ratio
    lookup = cached and config.align_mask_width == 1
    total = 0
    for layer in range(config.n_layers):
        last = cached and layer == config.n_layers - 1
        n = window if last else tokens
        asking = n if not lookup else 0 if last else 1
        attending = samples * persons if cached and layer == 0 else batch
        total += 2 * attending * (tokens * d * 3 * d + 2 * n * tokens * d + n * d * d)  # self-attention
        total += 2 * batch * (2 * asking * d * d + 2 * asking * frames * d + 2 * n * d * hidden)
        if not cached:
            total += 2 * batch * frames * d * 2 * d  # keys and values of the memory
    n, dim = (window, config.motion_dim) if cached else (frames, config.motion_dim)
    flag = 0 if cached else int(config.use_indicator)
    total += 2 * (samples if cached else batch) * n * (dim + flag) * d + batch * n * d * (d + dim)
    if not cached:
        total += 2 * batch * (2 * d * d + config.person_dim * d)  # step embedding and person
    return total


class _NoAudio(nn.Module):
    """Stands where the audio encoder would be: windows are given as features here."""

    hidden_size = 768


def make_talker(size: str, exp_name: str, device: torch.device) -> Talker:
    """The network to be measured, in eval mode."""
    if size == "embedded":
        return Subject.load(exp_name, None, str(device)).animator.model
    torch.manual_seed(0)
    config = TalkerConfig(style_enc_ckpt="random", use_indicator=True, **(TINY if size == "tiny" else {}))
    return Talker(config, _NoAudio()).to(device).eval()


def make_conditions(model: Talker, n: int) -> Conditions:
    """n windows in the middle of some speech, of random features."""
    config, generator = model.config, torch.Generator().manual_seed(1)
    width, dim = config.feature_dim, config.layout.motion_dim

    def draw(*shape: int) -> Tensor:
        return torch.randn(n, *shape, generator=generator).to(model.device)

    flags = torch.ones(n, config.n_motions, device=model.device) if config.use_indicator else None
    audio, before = draw(config.n_motions, width), draw(config.n_prev_motions, width)
    style = draw(config.d_style) if config.has_style else None
    return Conditions(audio, before, draw(config.n_prev_motions, dim), Person(draw(100), style), flags)


class Bench:
    """One model, guidance and solver; every mode starts from the same noise."""

    def __init__(self, model: Talker, sampler: SamplerConfig, repeats: int, ratio: float = 0.0) -> None:
        """ratio: of dynamic thresholding, 0: none."""
        options = model.config
        threshold = DynamicThreshold(ratio) if ratio else None
        self.model, self.repeats, self.guidance = model, repeats, Guidance(options.conditions, threshold=threshold)
        schedule = Schedule.make(options.diff_schedule, options.n_diff_steps)
        self.steps = solver_steps(sampler, schedule, options.target)
        self.rates: dict[str, float] = {}
        self.drawn: dict[int, tuple[Conditions, Tensor]] = {}
        self.twins: dict[int, tuple[float, Tensor]] = {}  # samples -> seconds and motion of the plain network

    def inputs(self, n: int) -> tuple[Conditions, Tensor]:
        """n windows and x_T, drawn once."""
        if n not in self.drawn:
            options, generator = self.model.config, torch.Generator().manual_seed(2)
            x_T = torch.randn(n, options.n_motions, options.layout.motion_dim, generator=generator)
            self.drawn[n] = make_conditions(self.model, n), x_T.to(self.model.device)
        return self.drawn[n]

    def run(self, engine: Engine, n: int, steps: list[Step] | None = None) -> Tensor:
        given, x_T = self.inputs(n)
        noise = gaussian_noise(list(range(n)), self.model.device)
        return engine.run(given, steps or self.steps, x_T, noise)

    def time_mode(self, mode: str, n: int) -> SamplingRow:
        """Time one mode; the plain one must come first."""
        device, config = self.model.device, MODES[mode]
        engine = Engine(self.model, self.guidance, config)
        first = seconds(lambda: self.run(engine, n), device, 1)
        best = seconds(lambda: self.run(engine, n), device, self.repeats)
        motion = self.run(engine, n)
        if mode == PLAIN:
            self.twins[n] = best, motion
        twin_seconds, twin = self.twins[n]
        branches, persons = len(engine.guidance.branches()), len(engine.guidance.distinct("style"))
        flop = step_flop(self.model.denoising_net.config, n, branches, persons, config.cached)
        rate = flop * len(self.steps) / best
        return SamplingRow(
            mode, n, best, first, twin_seconds / best, n * self.model.config.n_motions / FPS / best,
            ((motion - twin).norm() / twin.norm()).item(), flop / 1e9, rate / 1e9,
            rate / self.matrix_rate(engine.config.precision),
        )  # fmt: skip

    def counted(self, row: SamplingRow) -> SamplingRow:
        """With its kernels counted: after everything has been timed, for a profiler slows down whatever comes later."""
        engine, few = Engine(self.model, self.guidance, MODES[row.mode]), self.steps[-PROFILED_STEPS:]
        self.run(engine, row.samples, few)
        per_step, share = kernels(lambda: self.run(engine, row.samples, few), len(few), self.model.device)
        return replace(row, kernels_per_step=per_step, kernel_share=share)

    def matrix_rate(self, precision: str) -> float:
        if precision not in self.rates:
            size = 8192 if self.model.device.type == "cuda" else 1024
            self.rates[precision] = matrix_rate(precision, self.model.device, size)
        return self.rates[precision]


def whole_call(exp_name: str, sampler: SamplerConfig, mode: str, repeats: int) -> dict[str, float]:
    """Speech to coefficients of a bundled recording, with the average head and the style `normal`."""
    subject = Subject.load(exp_name, None)
    audio, style = load_audio(RECORDING), subject.style("normal")
    config = GenerationConfig(Guidance(subject.animator.model.config.conditions), sampler, MODES[mode])

    def call() -> object:
        return subject.animator(audio, Person(subject.shape, style), config, [0])

    call()
    best, length = seconds(call, subject.animator.model.device, repeats), len(audio) / SAMPLE_RATE
    return {"speech_seconds": length, "seconds": best, "real_time": length / best}


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(SamplingFlags, __doc__, argv)
    device = pick_device(flags.device)
    model = make_talker(flags.size, flags.exp_name, device)
    total = model.config.n_diff_steps
    steps = flags.steps or (total if device.type == "cuda" else min(25, total))
    if not 1 <= steps <= total or min(flags.samples) < 1 or flags.repeats < 1:
        raise UserError(f"--steps, --samples, --repeats: must be at least 1, and steps at most {total}")
    sampler = SamplerConfig(flags.sampler, steps)
    bench = Bench(model, sampler, flags.repeats, flags.dtr)
    modes = [PLAIN, *(m for m in flags.modes or (MODES if device.type == "cuda" else CPU_MODES) if m != PLAIN)]
    rows: list[SamplingRow] = []
    for n in flags.samples:
        rows += measured(modes, lambda mode, n=n: bench.time_mode(mode, n), f"{n} samples")
    calls = {}
    for mode in modes if flags.audio else []:
        calls[mode] = whole_call(flags.exp_name, sampler, mode, flags.repeats)
        print(f"speech to coefficients, {mode}:", "{seconds:.3f} s, {real_time:.1f} x real time".format(**calls[mode]))
    title = f"{machine(device)}: {flags.size} network, {flags.sampler} {steps} steps"
    rates = {precision: rate / 1e9 for precision, rate in bench.rates.items()}
    found = {"title": title, "whole_calls": calls, "matrix_gflops": rates}
    publish(title, [bench.counted(row) for row in rows], flags.json, **found)


if __name__ == "__main__":
    main()
