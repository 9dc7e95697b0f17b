"""Command-line flags of sampling, and the sampling settings of a model that follow from them."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.diffusion.guidance import OWN_SCALES, PUBLISHED_SCALES, DynamicThreshold, Guidance
from models.diffusion.solvers import SAMPLERS, SamplerConfig
from models.generation.windows import GenerationConfig
from models.networks.conditions import CONDITIONS, MODES, parse_conditions
from models.networks.talker import TalkerConfig
from utils.config import flag
from utils.errors import UserError

log = logging.getLogger(__name__)

FEW_STEPS_SAMPLER, FEW_STEPS = "dpmpp_2m", 12  # the default of our models: docs/sampling.md


def _scale(name: str, *names: str) -> Any:
    """The field of a condition's guidance scale, with its defaults for the help."""
    published, own = f"{PUBLISHED_SCALES[name]:g}", f"{OWN_SCALES[name]:g}"
    known = (own,) if own == published else (f"{published} for published models", f"else {own}")
    return flag(None, *names, known=known)


@dataclass(frozen=True)
class SamplingFlags:
    """How motion is sampled."""

    scale_style: float | None = _scale("style", "-ss")
    """Guidance scale of the style (default: {known})."""
    scale_audio: float | None = _scale("audio", "-sa")
    """Guidance scale of the audio (default: {known})."""
    cfg_mode: str | None = flag(None, choices=MODES)
    """How guidance combines conditions (default: the model's)."""
    cfg_cond: str | None = None
    """Conditions to guide by: audio, style or audio,style (default: the model's)."""
    dtr: float = flag(0.0, "-dtr", "--dynamic_threshold_ratio")
    """Quantile of dynamic thresholding; 0: off (default: 0)."""
    dynamic_threshold_min: float = flag(1.0, "-dtmin")
    """Smallest limit of dynamic thresholding."""
    dynamic_threshold_max: float = flag(4.0, "-dtmax")
    """Largest limit of dynamic thresholding."""
    sampler: str | None = flag(None, choices=tuple(SAMPLERS), known=(FEW_STEPS_SAMPLER,))
    """Solver (default: ddpm for published models, else {known})."""
    steps: int | None = flag(None, known=(str(FEW_STEPS),))
    """Network evaluations per window (default: all for ddpm, else {known})."""
    no_context_audio_feat: bool = False
    """Encode the audio window by window instead of as a whole."""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        low, high = self.dynamic_threshold_min, self.dynamic_threshold_max
        if not 0 <= self.dtr <= 1:
            raise UserError(f"--dtr {self.dtr:g}: must lie between 0 (off) and 1")
        if not 0 < low <= high:
            raise UserError(f"--dynamic_threshold_min {low:g}: must be above 0 and at most "
                            f"--dynamic_threshold_max {high:g}")  # fmt: skip
        for name, scale in self.scales.items():
            if not math.isfinite(scale):
                raise UserError(f"--scale_{name} {scale}: must be a finite number; the default is {OWN_SCALES[name]:g}")

    @property
    def scales(self) -> dict[str, float]:
        """The guidance scales given on the command line."""
        given = {name: getattr(self, f"scale_{name}") for name in OWN_SCALES}
        return {name: scale for name, scale in given.items() if scale is not None}


def asked_conditions(name: str, text: str, options: TalkerConfig) -> tuple[str, ...]:
    """The conditions that a flag names.

    Raises:
        UserError: an unknown or repeated condition, or one that the model does not have; naming the flag.
    """
    try:
        conditions = parse_conditions(text)
    except ValueError as error:
        raise UserError(f"--{name} {text}: {error}") from error
    for condition in conditions:
        if condition not in options.available:
            has = ", ".join(options.available)
            raise UserError(f"--{name} {text}: {condition!r} is not a condition of this model; it has {has}")
    return conditions


def default_sampler(options: TalkerConfig) -> SamplerConfig:
    """The default solver of our models."""
    if options.distilled_steps:
        return SamplerConfig("ddim", options.distilled_steps)
    return SamplerConfig(FEW_STEPS_SAMPLER, min(FEW_STEPS, options.n_diff_steps))


def check_distilled(flags: SamplingFlags, guidance: Guidance, options: TalkerConfig) -> None:
    """Raises UserError for settings that a distilled model does not have."""
    only = options.distilled_steps
    if flags.sampler not in (None, "ddim") or flags.steps not in (None, only):
        raise UserError(f"--sampler, --steps: this model was distilled to {only} ddim steps; leave both out")
    try:
        guidance.folded_into(options.conditions, options.cfg_mode)
    except ValueError as error:
        raise UserError(f"--dtr, --cfg_mode, --cfg_cond: {error}; leave them out") from error
    for name in options.columns:
        scale, (low, high) = guidance.scales[name], CONDITIONS[name].distilled_scales
        if not low <= scale <= high:
            log.warning("--scale_%s %g: this model was distilled with %g to %g; other scales are unreliable",
                        name, scale, low, high)  # fmt: skip


def own_sampling(
    options: TalkerConfig, steps: int | None = None, scales: Mapping[str, float] = OWN_SCALES
) -> GenerationConfig:
    """The default sampling settings of our models; `scales` are the guidance scales.

    Raises:
        UserError: more steps than the model has, or fewer than 1.
    """
    sampler = default_sampler(options)
    if steps is not None:
        _check_steps(steps, options)
        sampler = SamplerConfig(sampler.name, steps)
    guidance = Guidance(options.conditions, options.cfg_mode, scales)
    return GenerationConfig(guidance, sampler, fresh_noise=True)


def generation_config(flags: SamplingFlags, options: TalkerConfig, published: bool) -> GenerationConfig:
    """Guidance and solver from the flags, with the model's own settings as defaults.

    Raises:
        UserError: a condition, or the scale of one, that the model does not have; steps that it cannot run.
    """
    asked = flags.cfg_cond
    conditions = options.conditions if asked is None else asked_conditions("cfg_cond", asked, options)
    for name, scale in flags.scales.items():
        if name not in options.available:
            raise UserError(f"--scale_{name} {scale:g}: this model has no {name} input; leave it out")
    limits = flags.dynamic_threshold_min, flags.dynamic_threshold_max
    threshold = DynamicThreshold(flags.dtr, *limits) if flags.dtr > 0 else None
    scales = (PUBLISHED_SCALES if published else OWN_SCALES) | flags.scales
    guidance = Guidance(conditions, flags.cfg_mode or options.cfg_mode, scales, threshold)
    if options.distilled_steps:
        check_distilled(flags, guidance, options)
    if flags.steps is not None:
        _check_steps(flags.steps, options)
    default = default_sampler(options)
    name = flags.sampler or ("ddpm" if published else default.name)
    sampler = SamplerConfig(name, flags.steps or (None if name == "ddpm" else default.steps))
    return GenerationConfig(
        guidance, sampler, whole_audio=not flags.no_context_audio_feat, fresh_noise=name != "ddpm", progress=True
    )


def _check_steps(steps: int, options: TalkerConfig) -> None:
    if not 1 <= steps <= options.n_diff_steps:
        raise UserError(
            f"--steps {steps}: this model has {options.n_diff_steps} diffusion steps; use 1 to {options.n_diff_steps}"
        )
