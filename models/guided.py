"""What a window is generated for, and the guided prediction of its frames: plainly, or as inputs of the cached form."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from models.cached_denoiser import Branches, BranchInputs
from models.guidance import Guidance
from models.sampling import Denoise
from models.talker import Talker


@dataclass(frozen=True)
class Conditions:
    """What one batch of windows is generated for."""

    audio: Tensor  # (B, L, F) features of the window
    prev_audio: Tensor  # (B, P, F)
    prev_motion: Tensor  # (B, P, D)
    shape: Tensor  # (B, 100) normalised
    style: Tensor | None  # (B, d_style); None: the null style
    indicator: Tensor | None  # (B, L)

    def __getitem__(self, index: Tensor) -> "Conditions":
        """The windows of these indices."""
        values = (getattr(self, field.name) for field in fields(self))
        return Conditions(*(None if value is None else value[index] for value in values))


def fitting(guidance: Guidance, model: Talker) -> Guidance:
    """Guidance as this network computes it: by branches, or, after distillation, by itself.

    Raises:
        ValueError: a distilled network cannot guide that way.
    """
    if not model.config.distilled_steps:
        return guidance
    return guidance.folded_into(model.config.conditions, model.config.cfg_mode)


def persons(model: Talker, given: Conditions, guidance: Guidance, styled: list[bool]) -> Tensor:
    """What person tokens are made from, with or without the style, (len(styled) B, person_dim)."""
    if guidance.folded:
        scales = torch.tensor([[guidance.audio_scale, guidance.style_scale]], device=given.shape.device)
        return model.person(given.shape, given.style, scales.expand(len(given.shape), -1))
    return torch.cat([model.person(given.shape, given.style if style else None) for style in styled])


def guided_denoiser(model: Talker, given: Conditions, guidance: Guidance) -> Denoise:
    """The guided prediction of the window's frames as a function of (x_t, t); all branches run as one batch.

    Null audio stands in for the current window's features only; the previous ones stay in every branch.
    This is the plain twin of `Engine`: every step evaluates the whole network.
    """
    guidance = fitting(guidance, model)
    branches = guidance.branches()
    n_branches, batch = len(branches), len(given.audio)
    null_audio = model.null_audio_feat.expand_as(given.audio)
    audio = torch.cat([given.audio if "audio" in seen else null_audio for seen in branches])
    memory = torch.cat([given.prev_audio.repeat(n_branches, 1, 1), audio], dim=1)
    person = persons(model, given, guidance, ["style" in seen for seen in branches])
    prev_motion = given.prev_motion.repeat(n_branches, 1, 1)
    indicator = None if given.indicator is None else given.indicator.repeat(n_branches, 1)

    def denoise(x_t: Tensor, t: int) -> Tensor:
        motion = torch.cat([prev_motion, x_t.repeat(n_branches, 1, 1)], dim=1)
        step = torch.full((n_branches * batch,), t, dtype=torch.long, device=x_t.device)
        prediction = model.denoising_net(motion, memory, person, step, indicator)
        window = prediction[:, model.config.n_prev_motions :]
        return guidance.combine(list(window.chunk(n_branches)))

    return denoise


def branch_inputs(model: Talker, given: Conditions, guidance: Guidance) -> BranchInputs:
    """The same inputs for `CachedDenoiser`, which needs each distinct audio memory and person only once."""
    branches = guidance.branches()
    heard, styled = guidance.distinct("audio"), guidance.distinct("style")
    null_audio = model.null_audio_feat.expand_as(given.audio)
    return BranchInputs(
        Branches(
            person_of=tuple(styled.index("style" in seen) for seen in branches),
            memory_of=tuple(heard.index("audio" in seen) for seen in branches),
        ),
        memories=[torch.cat([given.prev_audio, given.audio if audio else null_audio], dim=1) for audio in heard],
        person=persons(model, given, guidance, styled),
        prev_motion=given.prev_motion,
        indicator=given.indicator,
    )
