"""Command-line flags of main_dpt.py."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.audio.front_end import FRONT_ENDS
from models.diffusion.schedule import SCHEDULES
from models.networks.conditions import MODES, parse_conditions
from models.networks.talker import TalkerConfig
from models.training.losses import LossConfig
from models.training.objective import ObjectiveConfig
from utils.config import check_choice, flag, read_flags, to_plain
from utils.errors import UserError
from utils.training.run_config import RunConfig

DESCRIPTION = "Train or test the denoising network (paper section 3.3)."


# What decides the weights' shapes and meaning.
NETWORK_FLAGS = (
    *("target", "n_diff_steps", "diff_schedule", "no_head_pose", "d_style", "audio_model", "align_mask_width"),
    *("no_use_learnable_pe", "use_indicator", "feature_dim", "n_heads", "n_layers", "mlp_ratio", "n_motions"),
    *("n_prev_motions", "fps"),
)
CHOICES = {
    "target": ("sample", "noise"),
    "cfg_mode": MODES,
    "diff_schedule": SCHEDULES,
    "audio_model": tuple(FRONT_ENDS),
    "pad_mode": ("zero", "replicate"),
    "criterion": ("l1", "l2"),
}


@dataclass(frozen=True, kw_only=True)
class TalkerRunConfig(RunConfig):
    """The run."""

    audio_model_path: str | None = None
    """Local folder with the audio encoder's weights in Hugging Face format (for whisper: a safetensors file)."""
    init_from: Path | None = None
    """Checkpoint to start from instead of fresh weights (fine-tuning); the network's flags must be the same."""
    repeat_clips: int = 1
    """Crops of each training clip in an epoch: for data sets of fewer clips than a batch."""
    val_clips: int = 4
    """Validation clips (10 s at most) to generate and measure at each validation; 0: none."""
    val_video_iter: int = 0
    """Steps between short videos of validation clips, a multiple of val_iter; 0: none."""
    head: Path | None = None
    """Head model of the vertex losses: a FLAME pkl or npz; default: the open head."""


@dataclass(frozen=True)
class Configs:
    """All flags of the script, by what they describe."""

    run: TalkerRunConfig
    """run"""
    model: TalkerConfig
    """network"""
    objective: ObjectiveConfig
    """training pairs"""
    loss: LossConfig
    """losses"""
    rot_repr: str = flag("aa", choices=("aa",))
    """Accepted for old command lines."""
    architecture: str = flag("decoder", choices=("decoder",))
    """Accepted for old command lines."""

    def resolved(self) -> dict[str, Any]:
        """What config.json says of a run."""
        return {name: to_plain(getattr(self, name)) for name in ("run", "model", "objective", "loss")}

    def check(self) -> None:
        """Raises UserError for a value that is not one of its choices."""
        values = {name: value for group in self.resolved().values() for name, value in group.items()}
        for name, choices in CHOICES.items():
            check_choice(f"--{name}", values[name], choices)


def parse_args(argv: list[str] | None = None) -> Configs:
    """The flags, checked one by one."""
    configs = read_flags(Configs, argv, DESCRIPTION)
    return replace(configs, model=with_conditions(configs.model))


def with_conditions(model: TalkerConfig) -> TalkerConfig:
    """The configuration with its guiding conditions spelt out.

    Raises:
        UserError: a condition that is unknown, named twice, or without an input in this model.
    """
    asked = model.guiding_conditions
    if asked is None:
        return replace(model, guiding_conditions=",".join(model.available))
    try:
        missing = set(parse_conditions(asked)) - set(model.available)
    except ValueError as error:
        raise UserError(f"--guiding_conditions {asked}: {error}") from error
    if missing:
        raise UserError(f"--guiding_conditions {asked}: style needs a style encoder; give --style_enc_ckpt, "
                        "or leave style out")  # fmt: skip
    return model
