"""Speech of any length -> motion, window by window with carried context (paper section 3.4)."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from models.diffusion.guidance import Guidance
from models.diffusion.schedule import Schedule
from models.diffusion.solvers import Noise, SamplerConfig, gaussian_noise, solver_steps
from models.diffusion.window import Conditions
from models.fast.engine import Engine, EngineConfig
from models.networks.talker import Talker
from utils.timebase import WindowPlan, plan_windows, samples_per_frame


@dataclass(frozen=True)
class GenerationConfig:
    """Everything about a generation run that is not the model or its input."""

    guidance: Guidance = field(default_factory=Guidance)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    whole_audio: bool = True  # encode the whole file at once; False: window by window (`--no_context_audio_feat`)
    # A new x_T for every window. The published sampler reuses the first one; with a deterministic solver that would
    # repeat whatever speech does not decide (turns of the head, blinks) every 4 s.
    fresh_noise: bool = False
    progress: bool = False


def generate_window(
    model: Talker, given: Conditions, config: GenerationConfig, schedule: Schedule, x_T: Tensor, noise: Noise
) -> Tensor:
    """One window: x_T (B, L, D) noise -> normalised motion (B, L, D). For many windows keep an `Engine`."""
    steps = solver_steps(config.sampler, schedule, model.config.target)
    return Engine(model, config.guidance, config.engine).run(given, steps, x_T, noise)


def pad_to_windows(audio: Tensor, plan: WindowPlan, unit: int, mode: str) -> Tensor:
    """Pad (B, n) with zeros, or with its last sample, to whole windows."""
    missing = plan.padded_frames * unit - audio.shape[1]
    if missing <= 0:
        return audio[:, : plan.padded_frames * unit]
    return (
        F.pad(audio[:, None], (0, missing), mode="replicate")[:, 0]
        if mode == "replicate"
        else F.pad(audio, (0, missing))
    )


def encode_speech(model: Talker, audio: Tensor, plan: WindowPlan, whole: bool) -> list[Tensor]:
    """Standardised audio (B, n) -> per window features (B, L, F)."""
    unit = samples_per_frame(model.config.fps)
    padded = pad_to_windows(audio, plan, unit, model.config.pad_mode)
    if whole:
        return list(model.encode_audio(padded, plan.padded_frames).split(plan.window, dim=1))
    return [model.encode_audio(window, plan.window) for window in padded.split(plan.window * unit, dim=1)]


@dataclass(frozen=True)
class Speech:
    """Encoded audio of one utterance, in whole windows."""

    windows: Tensor  # (n_windows, L, F)
    n_frames: int  # real frames; the rest of the last window is padding

    @classmethod
    @torch.no_grad()
    def encode(cls, model: Talker, audio: Tensor, whole: bool = True) -> "Speech":
        """Standardised 16 kHz audio (n,); whole: the file at once, else window by window."""
        plan = plan_windows(len(audio), model.config.n_motions, model.config.fps)
        return cls(torch.cat(encode_speech(model, audio[None], plan, whole)), plan.n_frames)


@dataclass(frozen=True)
class Item:
    """One sample to draw. Items of any lengths share batches; none depends on the items beside it."""

    speech: Speech
    shape: Tensor  # (100,) normalised
    style: Tensor | None  # (d_style,); None: the null style
    seed: int
    start: tuple[Tensor, Tensor] | None = None  # motion (P, D) and audio features (P, F) before it; None: learnt start


class _Running:
    """An item between two windows."""

    def __init__(self, model: Talker, item: Item) -> None:
        options = model.config
        self.item, self.windows = item, []
        self.generator = torch.Generator(model.device).manual_seed(item.seed)
        self._size = (options.n_motions, options.layout.motion_dim)
        self.draw()
        start_motion, start_audio = model.start(1)
        self.motion, self.audio = item.start or (start_motion[0], start_audio[0])

    def draw(self) -> None:
        """Draw the noise x_T (L, D) that the next window starts from."""
        self.x_T = torch.randn(self._size, generator=self.generator, device=self.generator.device)

    @property
    def left(self) -> int:
        """Windows still to generate."""
        return len(self.item.speech.windows) - len(self.windows)

    @property
    def window(self) -> Tensor:
        """Audio features (L, F) of the next window."""
        return self.item.speech.windows[len(self.windows)]

    def advance(self, motion: Tensor, n_prev: int) -> None:
        """Take up the next window's motion (L, D)."""
        self.motion, self.audio = motion[-n_prev:], self.window[-n_prev:]
        self.windows.append(motion)

    @property
    def motion_so_far(self) -> Tensor:
        return torch.cat(self.windows)[: self.item.speech.n_frames]


def _conditions(model: Talker, running: list[_Running]) -> Conditions:
    """The next window of every running item as one batch."""
    items = [r.item for r in running]
    style = None
    if model.config.has_style and any(item.style is not None for item in items):
        null = model.null_style_feat[0, 0]
        style = torch.stack([null if item.style is None else item.style for item in items])
    valid = [r.item.speech.n_frames - len(r.windows) * model.config.n_motions for r in running]
    return Conditions(
        audio=torch.stack([r.window for r in running]),
        prev_audio=torch.stack([r.audio for r in running]),
        prev_motion=torch.stack([r.motion for r in running]),
        shape=torch.stack([item.shape for item in items]),
        style=style,
        indicator=indicator(model, valid),
    )


@torch.no_grad()
def generate_batch(
    model: Talker, items: list[Item], config: GenerationConfig, batch_size: int = 32, engine: Engine | None = None
) -> list[Tensor]:
    """Motion of many items, windows of different items in one batch.

    Each round generates the next window of the `batch_size` items with the most windows left, so that batches stay
    full. An item's result is that of `generate` for it alone, up to rounding.

    Args:
        model: in eval mode.
        items: what to generate; samples of one utterance may share its `Speech`.
        config: guidance and sampler (`whole_audio` was decided when the speech was encoded).
        batch_size: items at once; the network sees them once per guidance branch.
        engine: of this model and guidance, to be used again (None: a new one).

    Returns:
        Per item, in the order given, normalised motion (n_frames, D).
    """
    options = model.config
    engine = engine or Engine(model, config.guidance, config.engine)
    steps = solver_steps(config.sampler, Schedule.make(options.diff_schedule, options.n_diff_steps), options.target)
    running = [_Running(model, item) for item in items]
    total = sum(r.left for r in running)
    with tqdm(total=total, desc="generating", unit="window", disable=not config.progress) as shown:
        while any(r.left for r in running):
            batch = sorted((r for r in running if r.left), key=lambda r: -r.left)[:batch_size]
            for r in batch:
                if config.fresh_noise and r.windows:
                    r.draw()
            noise = gaussian_noise([r.generator for r in batch], model.device)
            motion = engine.run(_conditions(model, batch), steps, torch.stack([r.x_T for r in batch]), noise)
            for r, window in zip(batch, motion):
                r.advance(window, options.n_prev_motions)
            shown.update(len(batch))
    return [r.motion_so_far for r in running]


def generate(
    model: Talker,
    audio: Tensor,
    shape: Tensor,
    style: Tensor | None,
    config: GenerationConfig,
    seeds: list[int],
) -> Tensor:
    """Motion for a whole utterance.

    Args:
        model: in eval mode.
        audio: (n,) standardised 16 kHz speech.
        shape: (B, 100) normalised shape; B samples are drawn for the one utterance.
        style: (B, d_style), or None for the null style.
        config: guidance, sampler and audio encoding.
        seeds: one per sample, so that a sample does not depend on how many are drawn beside it. The first window's
            x_T is reused by all windows, as published, unless `config.fresh_noise`.

    Returns:
        Normalised motion (B, n_frames, D).
    """
    speech = Speech.encode(model, audio, config.whole_audio)
    styles = [None] * len(shape) if style is None else style
    items = [Item(speech, *each) for each in zip(shape, styles, seeds)]
    return torch.stack(generate_batch(model, items, config, len(items)))


def indicator(model: Talker, valid: list[int]) -> Tensor | None:
    """(B, L): 1 for the first `valid` frames of each item; None for a model without indicator."""
    if not model.config.use_indicator:
        return None
    frames = torch.arange(model.config.n_motions, device=model.device)
    return (frames < torch.tensor(valid, device=model.device)[:, None]).float()
