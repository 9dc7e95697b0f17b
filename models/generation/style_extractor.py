"""Raw motion -> style vector: a style encoder with its statistics and normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.networks.loading import find_stats, load_style_encoder
from models.networks.style_encoder import StyleEncoder
from utils.coefs import MotionCodec
from utils.errors import UserError
from utils.motion_file import Motion
from utils.timebase import FPS


@dataclass(frozen=True)
class StyleExtractor:
    """A style encoder that takes raw coefficients."""

    encoder: StyleEncoder
    codec: MotionCodec

    @classmethod
    def load(cls, checkpoint: Path, stats: Path | None, device: torch.device) -> StyleExtractor:
        """See `Animator.load`."""
        encoder, loaded = load_style_encoder(checkpoint)
        codec = MotionCodec(encoder.config.layout, find_stats(loaded.stats, stats, checkpoint).to(device))
        return cls(encoder.to(device), codec)

    @torch.no_grad()
    def __call__(self, motion: Motion, start: int = 0) -> np.ndarray:
        """Style (feature_dim,) of the window of `n_motions` frames that begins at `start`.

        Raises:
            UserError: the window does not lie inside the motion.
        """
        window = self.encoder.config.n_motions
        if len(motion) < window:
            raise UserError(
                f"{motion.source}: {len(motion)} frames are too few; a style needs {window} ({window / FPS:g} s)"
            )
        if not 0 <= start <= len(motion) - window:
            raise UserError(f"--start {start}: out of range; {motion.source} allows 0 to {len(motion) - window}")
        device = next(self.encoder.parameters()).device
        exp, pose = (torch.from_numpy(x[start : start + window]).to(device) for x in (motion.exp, motion.pose))
        return self.encoder(self.codec.encode(exp, pose)[None])[0].cpu().numpy()
