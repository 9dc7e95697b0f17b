"""Command-line flags of main_dpt.py."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.audio.front_end import FRONT_ENDS
from models.diffusion.schedule import SCHEDULES
from models.networks.conditions import CONDITIONS, parse_conditions
from models.networks.talker import TalkerConfig
from models.training.losses import LossConfig
from models.training.objective import ObjectiveConfig
from utils.config import check_choice, flag, to_plain
from utils.errors import UserError
from utils.runs.shards import ShardFlags
from utils.training.run_config import RunConfig, check_heads, read_run_flags

DESCRIPTION = "Train or test the denoising network (paper section 3.3)."


# These decide the shapes and the meaning of the weights.
NETWORK_FLAGS = (
    *("target", "n_diff_steps", "diff_schedule", "no_head_pose", "audio_model", "align_mask_width"),
    *(one.width for one in CONDITIONS.values()),
    *("no_use_learnable_pe", "use_indicator", "feature_dim", "n_heads", "n_layers", "mlp_ratio", "n_motions"),
    *("n_prev_motions", "fps"),
)


@dataclass(frozen=True, kw_only=True)
class TalkerRunConfig(RunConfig):
    """The run."""

    audio_model_path: str | None = None
    """Local folder with the weights of hubert or wav2vec2 in Hugging Face format (default: downloaded)."""
    init_from: Path | None = None
    """Checkpoint to fine-tune instead of starting with fresh weights; the network's flags must be the same."""
    repeat_clips: int = 1
    """Crops of each training clip per epoch, for data sets with fewer clips than a batch."""
    val_clips: int = 4
    """Validation clips (at most 10 s each) to generate and measure at each validation; 0: none."""
    val_video_iter: int = 0
    """Steps between short videos of validation clips, a multiple of val_iter; 0: none."""
    head: Path | None = None
    """FLAME pkl or npz for the vertex losses (default: the open head)."""


@dataclass(frozen=True)
class Configs:
    """All flags of the program, in groups."""

    run: TalkerRunConfig
    """run"""
    model: TalkerConfig
    """network"""
    objective: ObjectiveConfig
    """training pairs"""
    loss: LossConfig
    """losses"""
    work: ShardFlags
    """sharing the variants of --ablate (docs/scale.md)"""
    rot_repr: str = flag("aa", choices=("aa",))
    """Accepted for old command lines."""
    architecture: str = flag("decoder", choices=("decoder",))
    """Accepted for old command lines."""

    def resolved(self) -> dict[str, Any]:
        """The flags as config.json records them."""
        return {name: to_plain(getattr(self, name)) for name in ("run", "model", "objective", "loss")}

    def check(self) -> None:
        """Raises UserError for heads that do not divide the features, an unknown schedule, a share beyond 0 to 1, or
        weights for a frozen audio encoder."""
        check_heads(self.model.feature_dim, self.model.n_heads)
        check_choice("--diff_schedule", self.model.diff_schedule, SCHEDULES)
        for name, share in [("audio_noise", self.objective.audio_noise),
                            *(("style_swap", share) for share in self.objective.style_swap)]:  # fmt: skip
            if not 0 <= share <= 1:
                raise UserError(f"--{name} {share:g}: is a share; give a number from 0 to 1")
        name, path = self.model.audio_model, self.run.audio_model_path
        if path is not None and FRONT_ENDS[name].trained is None:
            raise UserError(f"--audio_model_path {path}: {name} is frozen and always uses its bundled weights, since "
                            "checkpoints do not hold them; leave this flag out")  # fmt: skip


def parse_args(argv: list[str] | None = None) -> Configs:
    """The flags, checked; those of a test begin with the run's own."""
    configs = read_run_flags("DPT", Configs, argv, DESCRIPTION)
    return replace(configs, model=with_conditions(configs.model))


def with_conditions(model: TalkerConfig) -> TalkerConfig:
    """The configuration with its guiding conditions filled in.

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
        name = min(missing)
        what = "a style encoder" if name == "style" else "an input"
        raise UserError(f"--guiding_conditions {asked}: {name} needs {what}; give --{CONDITIONS[name].switch}, "
                        f"or leave {name} out")  # fmt: skip
    return model
