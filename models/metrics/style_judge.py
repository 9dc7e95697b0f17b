"""Scores of style: encodes generated motion, and compares it with the requested style and a gallery of speakers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from models.metrics.measure import Sampled
from models.metrics.predict import style_vectors
from models.metrics.score import Quotient, Quotients
from models.metrics.style import Gallery, cosine, mean_style
from models.networks.style_encoder import StyleEncoder
from utils.coefs import MotionCodec
from utils.motion_file import Motion


@dataclass(frozen=True)
class StyleJudge:
    """A style encoder with the references of a split."""

    encoder: StyleEncoder
    codec: MotionCodec
    gallery: Gallery  # one reference for every clip of the split
    requested: Mapping[str, np.ndarray]  # clip -> requested style (d,)
    alike: Mapping[str, str]  # speaker -> name of its style; speakers with one name are indistinguishable

    @classmethod
    def build(
        cls, encoder: StyleEncoder, codec: MotionCodec, motions: Mapping[str, Motion], reference: Mapping[str, str],
        speaker: Mapping[str, str], alike: Mapping[str, str],
    ) -> StyleJudge:  # fmt: skip
        """Make a judge from every clip's motion (its first 4 s), its style's reference clip, and its speaker."""
        clips = list(motions)
        styles = style_vectors(encoder, codec, [motions[clip] for clip in clips]).cpu().numpy()
        row = dict(zip(clips, styles))
        gallery = Gallery(styles, clips, [speaker[clip] for clip in clips])
        return cls(encoder, codec, gallery, {clip: row[reference[clip]] for clip in clips}, alike)

    def styles(self, motion: Sampled, skip: int = 0) -> np.ndarray | None:
        """Style of each sample (S, d) from frame `skip` on; None if less than a window is left."""
        if motion.n_frames - skip < self.encoder.config.n_motions:
            return None
        device = self.codec.stats.exp_mean.device
        exp, pose = (x[:, skip:].to(device) for x in (motion.exp, motion.pose))
        with torch.no_grad():
            return mean_style(self.encoder, self.codec, exp, pose).cpu().numpy()

    def score(self, styles: np.ndarray | None, clip: str, speaker: str) -> Quotients:
        """Quotients of the style metrics for styles (S, d) of motion made for (or taken from) a clip."""
        if styles is None:
            return {}
        quotients = {"style_cosine": Quotient.of(cosine(styles, self.requested[clip][None])[:, 0])}
        if self.gallery.n_speakers < 2:
            return quotients
        found = [self.gallery.nearest(style, clip) for style in styles]
        wanted = self.alike.get(speaker, speaker)
        quotients["style_top1"] = Quotient.of([name == speaker for name in found])
        alike = [name is not None and self.alike.get(name, name) == wanted for name in found]
        quotients["style_top1_alike"] = Quotient.of(alike)
        return quotients
