"""talker.json: what a program needs beside the graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.app.bundled import DEFAULT_STYLE, style_files_of
from models.audio.log_mel import LEVEL, LEVEL_BLOCK
from models.audio.whisper import SURROUNDINGS
from models.diffusion.schedule import Schedule
from models.diffusion.solvers import solver_steps
from models.generation.animator import Animator
from models.generation.windows import GenerationConfig
from models.networks.talker import TalkerConfig
from utils.coefs import DIMS, N_SHAPE, CoefStats
from utils.motion_file import load_style
from utils.timebase import SAMPLE_RATE


def describe(animator: Animator, config: GenerationConfig, experiment: str) -> dict[str, Any]:
    """Sizes, layout of the inputs, statistics, learnt vectors, solver, guidance and styles."""
    model, options = animator.model, animator.model.config
    schedule = Schedule.make(options.diff_schedule, options.n_diff_steps)
    return {
        "experiment": experiment,
        "sample_rate": SAMPLE_RATE,
        "fps": options.fps,
        "level": LEVEL,
        "level_block": LEVEL_BLOCK,
        "surroundings": SURROUNDINGS,
        "n_motions": options.n_motions,
        "n_prev_motions": options.n_prev_motions,
        "motion_dim": options.layout.motion_dim,
        "feature_dim": options.feature_dim,
        "head_pose": options.layout.head_pose,
        "hides_shape": options.no_shape_input,
        "person": person_columns(options),
        "statistics": {key: normalisation(animator.codec.stats, key) for key in DIMS},
        "start": {"motion": numbers(model.start_motion_feat[0]), "audio": numbers(model.start_audio_feat[0])},
        "null": {name: numbers(model.null(name).flatten()) for name in options.available},
        "guidance": {
            "mode": config.guidance.mode,
            "conditions": list(config.guidance.guided),
            "scales": {name: config.guidance.scales[name] for name in options.columns},
            "folded": bool(options.distilled_steps),
        },
        "solver": [vars(step) for step in solver_steps(config.sampler, schedule, options.target)],
        "styles": {name: numbers(style) for name, style in styles_of(options).items()},
        "default_style": Path(DEFAULT_STYLE).stem,
    }


def person_columns(options: TalkerConfig) -> dict[str, list[int]]:
    """Where each part of the `person` input begins and ends: the shape, other conditions, guidance scales."""
    widths = {"shape": N_SHAPE, **options.of_person}
    if options.distilled_steps:
        widths["scales"] = len(options.columns)
    ends = np.cumsum(list(widths.values())).tolist()
    return {name: [end - width, end] for (name, width), end in zip(widths.items(), ends)}


def normalisation(stats: CoefStats, key: str) -> dict[str, list]:
    """Mean and scale of raw = mean + scale * normalised."""
    nothing = torch.zeros(DIMS[key], dtype=torch.float64)
    mean = stats.denormalise(key, nothing)
    return {"mean": numbers(mean), "scale": numbers(stats.denormalise(key, nothing + 1) - mean)}


def styles_of(options: TalkerConfig) -> dict[str, np.ndarray]:
    """The bundled styles (d_style,) by name."""
    if options.style_enc_ckpt is None:
        return {}
    files = sorted(style_files_of(options.style_enc_ckpt).glob("*.npy"))
    return {path.stem: load_style(path, options.d_style) for path in files}


def numbers(values: Tensor | np.ndarray) -> list:
    """Nested lists; a float32 is the same again after the way through decimal digits."""
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    return array.astype(np.float64).round(9).tolist()
