"""What a checkpoint says of its network, checked before memory is taken for it."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from utils.checkpoint import Checkpoint
from utils.errors import UserError

# Far beyond any use. Weights are compared with the file's; tables that are not in it follow from these numbers alone.
MOST = {
    "feature_dim": 8192, "d_style": 8192, "n_heads": 512, "n_layers": 96, "mlp_ratio": 64, "n_motions": 4000,
    "n_prev_motions": 4000, "n_diff_steps": 20_000, "align_mask_width": 10_000, "fps": 1000,
}  # fmt: skip
_MOST_AUDIO, _MOST_LAYERS, _MOST_ITEMS = 20_000, 96, 32


def check_config(config: Any) -> None:
    """Compare the values of a configuration with its fields' types, and numbers with `MOST`.

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
    """The same for the arguments of transformers' configuration of an audio encoder.

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
        if len(items) > _MOST_ITEMS or not all(isinstance(x, int | float) and abs(x) <= most for x in items):
            raise ValueError(f"the audio encoder's {name} is {str(value)[:60]}")


def check_weights(build: Callable[[], nn.Module], checkpoint: Checkpoint, path: str | Path) -> None:
    """Compare the file's weights with those of its network, which is laid out without memory for this.

    Raises:
        UserError: names or sizes differ.
    """
    with torch.device("meta"):
        wanted = {name: tuple(value.shape) for name, value in build().state_dict().items()}
    found = {name: tuple(value.shape) for name, value in checkpoint.model.items()}
    differing = [name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)]
    if differing:
        name = min(differing, key=str)
        raise UserError(
            f"{path}: weights do not fit its own configuration ({name} is {found.get(name, 'missing')}, expected "
            f"{wanted.get(name, 'none')}); the file is damaged"
        )
