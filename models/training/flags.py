"""Command-line flags of main_dpt.py."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.diffusion.guidance import MODES
from models.diffusion.schedule import SCHEDULES
from models.networks.talker import AUDIO_MODELS, TalkerConfig
from models.training.losses import LossConfig
from models.training.objective import ObjectiveConfig
from utils.config import UserParser, add_flags, check_choice, from_args, to_plain
from utils.devices import PRECISIONS
from utils.training.run_config import RunConfig
from utils.training.train_step import SCHEDULERS

DESCRIPTION = "Train or test the denoising network (paper section 3.3)."


# What decides the weights' shapes and meaning.
NETWORK_FLAGS = (
    *("target", "n_diff_steps", "diff_schedule", "no_head_pose", "d_style", "audio_model", "align_mask_width"),
    *("no_use_learnable_pe", "use_indicator", "feature_dim", "n_heads", "n_layers", "mlp_ratio", "n_motions"),
    *("n_prev_motions", "fps"),
)
CHOICES = {
    "mode": ("train", "test"),
    "precision": PRECISIONS,
    "target": ("sample", "noise"),
    "cfg_mode": MODES,
    "diff_schedule": SCHEDULES,
    "audio_model": AUDIO_MODELS,
    "pad_mode": ("zero", "replicate"),
    "scheduler": SCHEDULERS,
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
    model: TalkerConfig
    objective: ObjectiveConfig
    loss: LossConfig

    def resolved(self) -> dict[str, Any]:
        return {name: to_plain(getattr(self, name)) for name in ("run", "model", "objective", "loss")}


def parse_args(argv: list[str] | None = None) -> Configs:
    """The flags, checked one by one."""
    parser = UserParser(description=DESCRIPTION)
    add_flags(parser, TalkerRunConfig, "run")
    add_flags(parser, TalkerConfig, "network")
    add_flags(parser, ObjectiveConfig, "training pairs")
    add_flags(parser, LossConfig, "losses")
    parser.add_argument("--rot_repr", default="aa", choices=["aa"], help="accepted for old command lines")
    parser.add_argument("--architecture", default="decoder", choices=["decoder"], help="accepted for old command lines")
    args = parser.parse_args(argv)
    configs = Configs(*(from_args(c, args) for c in (TalkerRunConfig, TalkerConfig, ObjectiveConfig, LossConfig)))
    for flag, choices in CHOICES.items():
        check_choice(f"--{flag}", getattr(args, flag), choices)
    return configs
