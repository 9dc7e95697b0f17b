"""Speech of any length -> motion, window by window with carried context (paper section 3.4)."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from models.diffusion import Schedule
from models.guidance import Guidance
from models.sampling import Denoise, Noise, SamplerConfig, gaussian_noise, sample
from models.talker import Talker
from utils.timebase import WindowPlan, plan_windows, samples_per_frame


@dataclass(frozen=True)
class GenerationConfig:
    """Everything about a generation run that is not the model or its input."""

    guidance: Guidance = field(default_factory=Guidance)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    whole_audio: bool = True  # encode the whole file at once; False: window by window (`--no_context_audio_feat`)
    progress: bool = False


@dataclass(frozen=True)
class Conditions:
    """What one batch of windows is generated for."""

    audio: Tensor  # (B, L, F) features of the window
    prev_audio: Tensor  # (B, P, F)
    prev_motion: Tensor  # (B, P, D)
    shape: Tensor  # (B, 100) normalised
    style: Tensor | None  # (B, d_style); None: the null style
    indicator: Tensor | None  # (B, L)


def guided_denoiser(model: Talker, given: Conditions, guidance: Guidance) -> Denoise:
    """The guided prediction of the window's frames as a function of (x_t, t); all branches run as one batch.

    Null audio stands in for the current window's features only; the previous ones stay in every branch.
    """
    branches = guidance.branches()
    n_branches, batch = len(branches), len(given.audio)
    null_audio = model.null_audio_feat.expand_as(given.audio)
    audio = torch.cat([given.audio if "audio" in seen else null_audio for seen in branches])
    memory = torch.cat([given.prev_audio.repeat(n_branches, 1, 1), audio], dim=1)
    person = torch.cat([model.person(given.shape, given.style if "style" in seen else None) for seen in branches])
    prev_motion = given.prev_motion.repeat(n_branches, 1, 1)
    indicator = None if given.indicator is None else given.indicator.repeat(n_branches, 1)

    def denoise(x_t: Tensor, t: int) -> Tensor:
        motion = torch.cat([prev_motion, x_t.repeat(n_branches, 1, 1)], dim=1)
        step = torch.full((n_branches * batch,), t, dtype=torch.long, device=x_t.device)
        prediction = model.denoising_net(motion, memory, person, step, indicator)
        window = prediction[:, model.config.n_prev_motions :]
        return guidance.combine(list(window.chunk(n_branches)))

    return denoise


@torch.no_grad()
def generate_window(
    model: Talker, given: Conditions, config: GenerationConfig, schedule: Schedule, x_T: Tensor, noise: Noise
) -> Tensor:
    """One window: x_T (B, L, D) noise -> normalised motion (B, L, D)."""
    denoise = guided_denoiser(model, given, config.guidance)
    return sample(config.sampler, denoise, x_T, schedule, model.config.target, noise)


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


@torch.no_grad()
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
            x_T is reused by all windows, as published.

    Returns:
        Normalised motion (B, n_frames, D).
    """
    options, batch = model.config, len(shape)
    plan = plan_windows(len(audio), options.n_motions, options.fps)
    features = encode_speech(model, audio[None], plan, config.whole_audio)
    schedule = Schedule.make(options.diff_schedule, options.n_diff_steps).to(model.device)
    noise = gaussian_noise(seeds, model.device)
    prev_motion, prev_audio = model.start(batch)
    x_T = noise(options.n_diff_steps, shape.new_empty(batch, options.n_motions, options.layout.motion_dim))
    windows = []
    for i, window in enumerate(tqdm(features, desc="generating", unit="window", disable=not config.progress)):
        current = window.expand(batch, -1, -1)
        valid = plan.last_valid if i == plan.n_windows - 1 else plan.window
        given = Conditions(current, prev_audio, prev_motion, shape, style, indicator(model, batch, valid))
        windows.append(generate_window(model, given, config, schedule, x_T, noise))
        prev_motion = windows[-1][:, -options.n_prev_motions :]
        prev_audio = current[:, -options.n_prev_motions :]
    return torch.cat(windows, dim=1)[:, : plan.n_frames]


def indicator(model: Talker, batch: int, valid: int) -> Tensor | None:
    """(B, L): 1 for the first `valid` frames; None for a model without indicator."""
    if not model.config.use_indicator:
        return None
    frames = torch.arange(model.config.n_motions, device=model.device)
    return (frames < valid).float().expand(batch, -1)
