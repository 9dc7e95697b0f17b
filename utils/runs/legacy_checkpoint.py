"""Published checkpoints: `{'args': Namespace, 'encoder' | 'model': state_dict, 'iter': int}` -> our fields."""

import pathlib
from typing import Any

import torch

from utils.errors import UserError

# Buffers that follow from the configuration; ours are rebuilt, so theirs are dropped.
_DERIVED_ENDS, _DERIVED_STARTS = (".pe", "alignment_mask"), ("diffusion_sched.",)
_SE_FLAGS = ("no_head_pose", "feature_dim", "n_heads", "n_layers", "mlp_ratio", "n_motions", "fps")
_DPT_FLAGS = (
    *("target", "guiding_conditions", "cfg_mode", "n_diff_steps", "diff_schedule", "no_head_pose", "style_enc_ckpt"),
    *("d_style", "audio_model", "align_mask_width", "no_use_learnable_pe", "use_indicator", "feature_dim", "n_heads"),
    *("n_layers", "mlp_ratio", "n_motions", "n_prev_motions", "fps", "pad_mode"),
)
_ONE_CHOICE = {"architecture": "decoder", "rot_repr": "aa"}


def is_legacy(payload: dict) -> bool:
    return "args" in payload and ("encoder" in payload or "model" in payload)


def read_legacy(payload: dict, source: str) -> dict[str, Any]:
    """Fields of `utils.runs.checkpoint.Checkpoint` from a published file's content, whose Namespace is a dict here.

    Raises:
        UserError: arguments with a value this project does not have.
    """
    args = payload["args"]
    args = _modern_args(dict(args))
    for name, value in _ONE_CHOICE.items():
        if args.get(name, value) != value:
            raise UserError(f"{source}: {name} {args[name]!r} is not supported; only {value!r} is")
    style_encoder = "encoder" in payload
    flags = _SE_FLAGS if style_encoder else _DPT_FLAGS
    config = {name: _plain(args[name]) for name in flags if name in args}
    config["positional_encoding"] = "sequence_length_row"
    return {
        "kind": "style_encoder" if style_encoder else "talker",
        "config": config,
        "model": _modern_names(payload["encoder" if style_encoder else "model"]),
        "step": int(payload.get("iter", 0)),
        "published": True,
    }


def _modern_args(args: dict[str, Any]) -> dict[str, Any]:
    """Older files' argument names -> the present ones."""
    if "use_alignment_mask" in args:
        args.setdefault("align_mask_width", 1 if args["use_alignment_mask"] else 0)
    if "predict_head_pose" in args:
        args.setdefault("no_head_pose", not args["predict_head_pose"])
    if "use_learnable_pe" in args:
        args.setdefault("no_use_learnable_pe", not args["use_learnable_pe"])
    return args


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, pathlib.PurePath) else value


def _modern_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Drop derived buffers, put the audio encoder under `.backbone`, use the present weight-norm spelling."""
    names = {}
    for key, value in state.items():
        if key.endswith(_DERIVED_ENDS) or key.startswith(_DERIVED_STARTS):
            continue
        if key.startswith("audio_encoder.") and not key.startswith("audio_encoder.backbone."):
            key = key.replace("audio_encoder.", "audio_encoder.backbone.", 1)
        key = key.replace(".conv.weight_g", ".conv.parametrizations.weight.original0")
        names[key.replace(".conv.weight_v", ".conv.parametrizations.weight.original1")] = value
    return names
