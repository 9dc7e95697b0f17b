"""The model under test, with everything a benchmark needs around it: head, identity, styles, and the common flags."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from models.app.sampling_flags import add_sampling_flags, check_sampling_flags
from models.app.sampling_flags import generation_config as sampling_config
from models.generation.animator import Animator
from models.generation.style_extractor import StyleExtractor
from models.generation.windows import GenerationConfig
from models.heads.flame import Flame, load_flame
from models.heads.mouth import opening_mm
from utils.atomic import check_output
from utils.devices import pick_device
from utils.errors import UserError
from utils.motion_file import Motion, load_motion, load_shape, load_style
from utils.runs.run_dir import DEFAULT_EXPERIMENT, ROOT, find_checkpoint, style_folder

INPUT = ROOT / "demo" / "input"


@dataclass(frozen=True)
class Subject:
    """A trained talker that animates the average head of the open model."""

    animator: Animator
    flame: Flame
    shape: np.ndarray
    name: str  # <experiment>/iter_XXXXXXX

    @classmethod
    def load(cls, exp_name: str, step: int | None, device: str = "auto") -> Subject:
        """Raises:
        UserError: no such experiment or iteration.
        """
        checkpoint = find_checkpoint("DPT", exp_name, step)
        animator = Animator.load(checkpoint, None, pick_device(device))
        name = f"{checkpoint.parent.parent.name}/{checkpoint.stem}"
        return cls(animator, load_flame(), load_shape(INPUT / "coef" / "average.npy"), name)

    @property
    def has_style(self) -> bool:
        return self.animator.model.config.has_style

    def style(self, name: str) -> np.ndarray | None:
        """A bundled style: the style file of this model's encoder, or what the encoder makes of the bundled motion.

        Raises:
            UserError: neither of the two exists.
        """
        options = self.animator.model.config
        if not options.has_style:
            return None
        path = INPUT / "style" / style_folder(options.style_enc_ckpt) / f"{name}.npy"
        if path.is_file():
            return load_style(path, options.d_style)
        motion, encoder = INPUT / "motion" / f"{name}.npz", encoder_of(options.style_enc_ckpt)
        if not motion.is_file():
            known = ", ".join(sorted(p.stem for p in (INPUT / "motion").glob("*.npz")))
            raise UserError(f"--style {name}: no such style; bundled ones: {known}")
        return StyleExtractor.load(encoder, None, torch.device("cpu"))(load_motion(motion))

    def motions(
        self, audio: np.ndarray, style: np.ndarray | None, config: GenerationConfig, n: int, seed: int = 0
    ) -> list[Motion]:
        """n samples (seeds `seed` to seed + n - 1), drawn as one batch."""
        return self.animator(audio, self.shape, style, config, list(range(seed, seed + n)))

    def openings(self, motions: list[Motion]) -> np.ndarray:
        """Mouth opening (n, T) in mm, head still."""
        return np.stack([opening_mm(self.flame, motion) for motion in motions])


def encoder_of(recorded: str) -> Path:
    """The style encoder's checkpoint that a talker names; relative paths count from the repository.

    Raises:
        UserError: it is not there.
    """
    path = Path(str(recorded).replace("\\", "/"))
    path = path if path.is_absolute() else ROOT / path
    if not path.is_file():
        raise UserError(f"{path}: the model's style encoder is missing; put it there, or add style files for it")
    return path


def add_flags(parser: argparse.ArgumentParser, samples: int) -> None:
    """Flags that every benchmark of a model has."""
    parser.add_argument("--exp_name", default=DEFAULT_EXPERIMENT, help="experiment in experiments/DPT (or a prefix)")
    parser.add_argument("--iter", type=int, help="iteration of the checkpoint (default: the last)")
    parser.add_argument("--samples", type=int, default=samples, help=f"samples of each clip (default: {samples})")
    parser.add_argument("--device", default="auto", help="cuda, cpu or auto (default: auto)")
    parser.add_argument("--json", type=Path, help="also write all figures here")
    add_sampling_flags(parser)


def check_flags(args: argparse.Namespace) -> None:
    """Before any work. Raises UserError for a flag that no model can use."""
    if args.samples < 1:
        raise UserError(f"--samples {args.samples}: draw at least 1")
    if args.json:
        check_output(args.json)
    check_sampling_flags(args)


def generation_config(subject: Subject, args: argparse.Namespace) -> GenerationConfig:
    """Guidance and sampler from the flags, with the model's own settings as defaults.

    Raises:
        UserError: a flag that does not fit this model.
    """
    animator = subject.animator
    return replace(sampling_config(args, animator.model.config, animator.published), progress=False)
