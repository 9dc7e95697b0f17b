"""Scores of style: encodes generated motion, and compares it with the requested style and a gallery of speakers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from models.metrics.measure import Sampled
from models.metrics.predict import style_vectors
from models.metrics.score import Quotient, Quotients
from models.metrics.style import Gallery, cosine, mean_style
from models.networks.style_encoder import StyleEncoder
from utils.coefs import MotionCodec
from utils.motion_file import Motion


class Windows(Protocol):
    """The motions, one style window each, that styles are taken from."""

    @property
    def gallery(self) -> Mapping[str, Motion]:
        """Clip of the whole split -> its beginning."""
        ...

    @property
    def reference(self) -> Mapping[str, str]:
        """Clip to score -> the clip that its style comes from."""
        ...

    @property
    def late(self) -> Mapping[str, Motion]:
        """Clip to score -> the window of its style, where that is not the reference's beginning."""
        ...


def encoded(encoder: StyleEncoder, codec: MotionCodec, windows: Windows) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Styles of the gallery (N, d), and of every clip to score the requested style (d,)."""
    motions = [*windows.gallery.values(), *windows.late.values()]
    styles = style_vectors(encoder, codec, motions).cpu().numpy()
    row = dict(zip(windows.gallery, styles))
    requested = {clip: row[reference] for clip, reference in windows.reference.items()}
    return styles[: len(row)], requested | dict(zip(windows.late, styles[len(row) :]))


@dataclass(frozen=True)
class StyleJudge:
    """A style encoder with the references of a split."""

    encoder: StyleEncoder
    codec: MotionCodec
    gallery: Gallery  # one reference for every clip of the split
    requested: Mapping[str, np.ndarray]  # clip -> requested style (d,)
    reference: Mapping[str, str]  # clip -> the clip that the requested style comes from
    alike: Mapping[str, str]  # speaker -> name of its style; speakers with one name are indistinguishable

    @classmethod
    def build(
        cls, encoder: StyleEncoder, codec: MotionCodec, windows: Windows, speaker: Mapping[str, str],
        alike: Mapping[str, str],
    ) -> StyleJudge:  # fmt: skip
        """Make a judge from the motions that styles are taken from, and every clip's speaker."""
        clips = list(windows.gallery)
        styles, requested = encoded(encoder, codec, windows)
        gallery = Gallery(styles, clips, [speaker[clip] for clip in clips])
        return cls(encoder, codec, gallery, requested, windows.reference, alike)

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
        others = self.gallery.of_speaker(speaker, {clip, self.reference[clip]})
        if len(others):
            quotients["style_cosine_others"] = Quotient.of(cosine(styles, others).mean(1))
        if self.gallery.n_speakers < 2:
            return quotients
        found = [self.gallery.nearest(style, clip) for style in styles]
        wanted = self.alike.get(speaker, speaker)
        quotients["style_top1"] = Quotient.of([name == speaker for name in found])
        alike = [name is not None and self.alike.get(name, name) == wanted for name in found]
        quotients["style_top1_alike"] = Quotient.of(alike)
        return quotients
