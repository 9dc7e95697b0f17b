"""Checks a checkpoint's configuration before memory is allocated: a file of a few bytes can ask for terabytes.

Numbers have upper bounds, and a lower bound on the network's weights is compared with those in the file.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from models.audio.front_end import FRONT_ENDS
from models.networks.conditions import CONDITIONS
from models.networks.style_encoder import StyleEncoderConfig
from models.networks.talker import TalkerConfig

# Far beyond any use. They also bound the tables that are not among the weights.
MOST = {
    **{one.width: 4096 for one in CONDITIONS.values()},
    "feature_dim": 4096, "n_heads": 512, "n_layers": 96, "mlp_ratio": 64, "n_motions": 4000,
    "n_prev_motions": 4000, "n_diff_steps": 10_000, "align_mask_width": 10_000, "fps": 1000,
}  # fmt: skip
# Bounds on the configuration of an audio encoder.
_MOST_AUDIO, _MOST_LAYERS, _MOST_ITEMS = 20_000, 96, 32
_ADDED = ("add_adapter", "adapter_attn_dim")  # options for weights that no model of ours has


def check_config(config: Any) -> None:
    """Check the values of a configuration against its fields' types, and numbers against `MOST`.

    Raises:
        ValueError: naming the field.
    """
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        allowed = (int, float) if hint is float else hint
        if not isinstance(value, allowed) or (isinstance(value, bool) and hint is not bool):
            raise ValueError(f"{field.name} is {str(value)[:60]!r}")
        if field.name in MOST and not abs(value) <= MOST[field.name]:
            raise ValueError(f"{field.name} is {value}, at most {MOST[field.name]} make sense")


def check_audio_config(sizes: object) -> None:
    """Check the arguments of transformers' configuration of an audio encoder; None passes.

    Raises:
        ValueError: naming the entry.
    """
    if sizes is None:
        return
    if not isinstance(sizes, dict) or not all(isinstance(name, str) for name in sizes):
        raise ValueError("the audio encoder's sizes are not named numbers")
    for name, value in sizes.items():
        items = value if isinstance(value, list | tuple) else [value]
        most = _MOST_LAYERS if "layers" in name else _MOST_AUDIO
        if name == "architectures":  # transformers notes the class that wrote it
            continue
        numbers = len(items) <= _MOST_ITEMS and all(isinstance(x, int | float) and abs(x) <= most for x in items)
        if not numbers or (name in _ADDED and value):
            raise ValueError(f"the audio encoder's {name} is {str(value)[:60]}")


def check_amount(least: int, weights: Mapping[str, Tensor]) -> None:
    """Raises ValueError if there are fewer weights than `least`, a lower bound for the network."""
    found = sum(value.numel() for value in weights.values())
    if least > found:
        raise ValueError(f"a network of these sizes has {least} weights or more, the file only {found}")


def least_of_style_encoder(config: StyleEncoderConfig) -> int:
    """A lower bound on a style encoder's weights: the matrices of its transformer."""
    return config.n_layers * (4 + 2 * config.mlp_ratio) * config.feature_dim**2


def least_of_talker(config: TalkerConfig, sizes: Mapping[str, Any] | None) -> int:
    """A lower bound on a talker's weights: matrices of the denoiser and, unless it is frozen, of the audio encoder."""
    dim = config.feature_dim
    frames = 0 if config.no_use_learnable_pe else config.n_motions
    style = config.d_style if config.has_style else 0
    least = (config.n_layers * (8 + 2 * config.mlp_ratio) + 2) * dim**2 + (frames + config.n_prev_motions + style) * dim
    trained = FRONT_ENDS[config.audio_model].trained
    return least if sizes is None or trained is None else least + trained.least_weights(sizes, dim)
