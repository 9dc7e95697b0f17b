"""Command-line flags of sampling, and what they mean for a model."""

from __future__ import annotations

import argparse
import logging
import math

from models.diffusion.guidance import CONDITIONS, MODES, DynamicThreshold, Guidance
from models.diffusion.solvers import SAMPLERS, SamplerConfig
from models.generation.windows import GenerationConfig
from models.networks.talker import TalkerConfig
from models.training.distillation import AUDIO_SCALES, STYLE_SCALES
from utils.errors import UserError

log = logging.getLogger(__name__)

FEW_STEPS_SAMPLER, FEW_STEPS = "dpmpp_2m", 12  # of our models: docs/sampling.md
_PUBLISHED_SCALES = {"scale_style": 3.0, "scale_audio": 1.15}
_OWN_SCALES = {"scale_style": 1.5, "scale_audio": 1.15}  # docs/model_card.md has the measurements


def add_sampling_flags(parser: argparse.ArgumentParser) -> None:
    """-ss -sa --cfg_mode --cfg_cond -dtr -dtmin -dtmax --sampler --steps --no_context_audio_feat."""
    add = parser.add_argument_group("sampling").add_argument
    add("-ss", "--scale_style", type=float, help="style guidance (default: 3 for published models, else 1.5)")
    add("-sa", "--scale_audio", type=float, help="audio guidance (default: 1.15)")
    add("--cfg_mode", choices=MODES, help="how guidance combines conditions (default: the model's)")
    add("--cfg_cond", help="guided conditions: audio, style or audio,style (default: the model's)")
    add("-dtr", "--dtr", "--dynamic_threshold_ratio", dest="dtr", type=float, default=0.0,
        help="dynamic thresholding quantile, 0: off (default: 0)")  # fmt: skip
    add("-dtmin", "--dynamic_threshold_min", dest="dtmin", type=float, default=1.0, help="(default: 1)")
    add("-dtmax", "--dynamic_threshold_max", dest="dtmax", type=float, default=4.0, help="(default: 4)")
    add("--sampler", choices=SAMPLERS, help=f"(default: ddpm for published models, else {FEW_STEPS_SAMPLER})")
    add("--steps", type=int, help=f"network evaluations per window (default: all for ddpm, else {FEW_STEPS})")
    add("--no_context_audio_feat", action="store_true", help="encode audio window by window")


def check_sampling_flags(args: argparse.Namespace) -> None:
    """Raises UserError for a number that no model can use."""
    if not 0 <= args.dtr <= 1:
        raise UserError(f"--dtr {args.dtr:g}: must lie between 0 (off) and 1")
    if not 0 < args.dtmin <= args.dtmax:
        raise UserError(f"--dynamic_threshold_min {args.dtmin:g}: must be above 0 and at most "
                        f"--dynamic_threshold_max {args.dtmax:g}")  # fmt: skip
    for flag, default in _OWN_SCALES.items():
        scale = getattr(args, flag)
        if scale is not None and not math.isfinite(scale):
            raise UserError(f"--{flag} {scale}: must be a finite number; the default is {default:g}")


def default_sampler(options: TalkerConfig) -> SamplerConfig:
    """The solver of a model of ours if nobody says otherwise."""
    if options.distilled_steps:
        return SamplerConfig("ddim", options.distilled_steps)
    return SamplerConfig(FEW_STEPS_SAMPLER, min(FEW_STEPS, options.n_diff_steps))


def check_distilled(args: argparse.Namespace, guidance: Guidance, options: TalkerConfig) -> None:
    """Raises UserError for what only the teacher of a distilled model can do."""
    only = options.distilled_steps
    if args.sampler not in (None, "ddim") or args.steps not in (None, only):
        raise UserError(f"--sampler, --steps: this model was distilled to {only} ddim steps; leave both out")
    try:
        guidance.folded_into(options.conditions, options.cfg_mode)
    except ValueError as error:
        raise UserError(f"--dtr, --cfg_mode, --cfg_cond: {error}; leave them out") from error
    given = (("scale_audio", guidance.audio_scale, AUDIO_SCALES), ("scale_style", guidance.style_scale, STYLE_SCALES))
    for flag, scale, (low, high) in given:
        if not low <= scale <= high:
            log.warning("--%s %g: this model was distilled with %g to %g; beyond it guesses", flag, scale, low, high)


def own_sampling(
    options: TalkerConfig, steps: int | None = None, scales: tuple[float, float] | None = None
) -> GenerationConfig:
    """How programs sample our models unless told otherwise; `scales` are audio's and style's guidance.

    Raises:
        UserError: a number of steps that the model cannot take.
    """
    sampler = default_sampler(options)
    if steps is not None:
        _check_steps(steps, options)
        sampler = SamplerConfig(sampler.name, steps)
    audio, style = scales or (_OWN_SCALES["scale_audio"], _OWN_SCALES["scale_style"])
    guidance = Guidance(options.conditions, options.cfg_mode, audio, style)
    return GenerationConfig(guidance, sampler, fresh_noise=True)


def generation_config(args: argparse.Namespace, options: TalkerConfig, published: bool) -> GenerationConfig:
    """Guidance and sampler from the flags, with the model's own settings as defaults.

    Raises:
        UserError: a condition that the model does not have, or a number of steps that it cannot take.
    """
    names = ",".join(options.conditions) if args.cfg_cond is None else args.cfg_cond
    conditions = tuple(name.strip() for name in names.split(",") if name.strip())
    for name in conditions:
        if name not in CONDITIONS or (name == "style" and not options.has_style):
            has = "audio, style" if options.has_style else "audio"
            raise UserError(f"--cfg_cond {args.cfg_cond}: {name!r} is not a condition of this model; it has {has}")
    threshold = DynamicThreshold(args.dtr, args.dtmin, args.dtmax) if args.dtr > 0 else None
    defaults = _PUBLISHED_SCALES if published else _OWN_SCALES
    given = {flag: getattr(args, flag) for flag in defaults}
    scales = {flag: defaults[flag] if scale is None else scale for flag, scale in given.items()}
    mode = args.cfg_mode or options.cfg_mode
    guidance = Guidance(conditions, mode, scales["scale_audio"], scales["scale_style"], threshold)
    if options.distilled_steps:
        check_distilled(args, guidance, options)
    if args.steps is not None:
        _check_steps(args.steps, options)
    default = default_sampler(options)
    name = args.sampler or ("ddpm" if published else default.name)
    sampler = SamplerConfig(name, args.steps or (None if name == "ddpm" else default.steps))
    return GenerationConfig(
        guidance,
        sampler,
        whole_audio=not args.no_context_audio_feat,
        fresh_noise=name != "ddpm",
        progress=True,
    )


def _check_steps(steps: int, options: TalkerConfig) -> None:
    if not 1 <= steps <= options.n_diff_steps:
        raise UserError(f"--steps {steps}: this model has {options.n_diff_steps} diffusion steps; use 1 to that")
