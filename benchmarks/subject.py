"""The model under test, with everything a benchmark needs around it: head, identity, styles, and the common flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from benchmarks.report import DeviceFlags, read_flags
from models.app.bundled import DEFAULT_SHAPE, INPUT, style_encoder_file, style_files_of
from models.app.sampling_flags import SamplingFlags
from models.app.sampling_flags import generation_config as sampling_config
from models.generation.animator import Animator
from models.generation.style_extractor import StyleExtractor
from models.generation.windows import GenerationConfig
from models.heads.flame import Flame, load_flame
from models.heads.mouth import opening_mm
from models.networks.person import Person
from utils.config import check_least
from utils.devices import pick_device
from utils.errors import UserError
from utils.motion_file import Motion, load_motion, load_shape, load_style
from utils.runs.run_dir import DEFAULT_EXPERIMENT, find_checkpoint

__all__ = ["INPUT", "ModelFlags", "Session", "Subject", "generation_config"]


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
        return cls(animator, load_flame(), load_shape(INPUT / "coef" / DEFAULT_SHAPE), name)

    def check_style(self) -> None:
        """Raises UserError: the model was trained without a style encoder."""
        if not self.animator.model.config.has_style:
            raise UserError(
                f"--exp_name {self.name}: was trained without a style encoder; there is no style to compare"
            )

    def style(self, name: str) -> np.ndarray | None:
        """A bundled style: the style file of this model's encoder, or what the encoder makes of the bundled motion.

        Raises:
            UserError: neither of the two exists.
        """
        options = self.animator.model.config
        if not options.has_style:
            return None
        path = style_files_of(options.style_enc_ckpt) / f"{name}.npy"
        if path.is_file():
            return load_style(path, options.d_style)
        motion, encoder = INPUT / "motion" / f"{name}.npz", style_encoder_file(options.style_enc_ckpt)
        if not motion.is_file():
            known = ", ".join(sorted(p.stem for p in (INPUT / "motion").glob("*.npz")))
            raise UserError(f"--style {name}: no such style; bundled ones: {known}")
        return StyleExtractor.load(encoder, None, torch.device("cpu"))(load_motion(motion))

    def motions(
        self, audio: np.ndarray, style: np.ndarray | None, config: GenerationConfig, n: int, seed: int = 0
    ) -> list[Motion]:
        """n samples (seeds `seed` to seed + n - 1), drawn as one batch."""
        return self.animator(audio, Person(self.shape, style), config, list(range(seed, seed + n)))

    def openings(self, motions: list[Motion]) -> np.ndarray:
        """Mouth opening (n, T) in mm, head still."""
        return np.stack([opening_mm(self.flame, motion) for motion in motions])


@dataclass(frozen=True, kw_only=True)
class ModelFlags(DeviceFlags):
    """What every benchmark of a model can be told."""

    exp_name: str = DEFAULT_EXPERIMENT
    """Experiment in experiments/DPT (or a prefix)."""
    iter: int | None = None
    """Iteration of the checkpoint; without it the last."""
    samples: int = 1
    """Samples of each clip."""
    sampling: SamplingFlags = SamplingFlags()
    """sampling"""

    def check(self) -> None:
        super().check()
        check_least(self, samples=1)


@dataclass(frozen=True)
class Session:
    """A model that was loaded as the flags say, and how it samples."""

    flags: Any
    subject: Subject
    config: GenerationConfig

    @classmethod
    def start(cls, flags_class: type[ModelFlags], doc: str, argv: Sequence[str] | None) -> Session:
        """Check all flags, then load the model.

        Raises:
            UserError: a flag that no model, or not this one, can use.
        """
        flags = read_flags(flags_class, doc, argv)
        subject = Subject.load(flags.exp_name, flags.iter, flags.device)
        return cls(flags, subject, generation_config(subject, flags.sampling))


def generation_config(subject: Subject, sampling: SamplingFlags) -> GenerationConfig:
    """Guidance and sampler from the flags of sampling, with the model's own settings as defaults.

    Raises:
        UserError: a flag that does not fit this model.
    """
    animator = subject.animator
    return replace(sampling_config(sampling, animator.model.config, animator.published), progress=False)
