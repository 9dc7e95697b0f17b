"""Style of motion by a style encoder, and retrieval among reference styles."""

from __future__ import annotations

from collections.abc import Sequence, Set

import numpy as np
import torch
from torch import Tensor

from models.networks.style_encoder import StyleEncoder
from utils.coefs import MotionCodec


@torch.no_grad()
def mean_style(encoder: StyleEncoder, codec: MotionCodec, exp: Tensor, pose: Tensor) -> Tensor:
    """Mean style over a motion's consecutive whole windows (100 frames), without the rest.

    Raw exp (S, T, 50), pose (S, T, 6) -> (S, d); T must be at least one window.
    """
    window = encoder.config.n_motions
    n_windows = exp.shape[1] // window
    motion = codec.encode(exp, pose)[:, : n_windows * window]
    styles = encoder(motion.unflatten(1, (n_windows, window)).flatten(0, 1))
    return styles.unflatten(0, (-1, n_windows)).mean(1)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine similarities of a (N, d) and b (M, d): (N, M)."""
    a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (a, b))
    return a @ b.T


class Gallery:
    """Reference styles to search: the first 4 s of every clip of a split."""

    def __init__(self, styles: np.ndarray, clips: Sequence[str], speakers: Sequence[str]) -> None:
        """styles (N, d), with the clip and the speaker of each."""
        self.styles, self.clips, self.speakers = styles, np.asarray(clips), np.asarray(speakers)

    def nearest(self, styles: np.ndarray, clip: str) -> str | None:
        """Speaker of the reference nearest (cosine) to a style (d,) of `clip`, or of motion generated for it.

        The clip's own reference is left out, since every true motion would find it. It stays if its speaker has no
        other, because it is then the requested style. None for an empty gallery.
        """
        own = self.clips == clip
        others = self.speakers[own].size and (self.speakers[~own] == self.speakers[own][0]).any()
        kept = ~own if others else np.ones(len(self.clips), bool)
        if not kept.any():
            return None
        return str(self.speakers[kept][int(np.argmax(cosine(styles[None], self.styles[kept])[0]))])

    def of_speaker(self, speaker: str, without: Set[str]) -> np.ndarray:
        """References (n, d) of a speaker's clips, except some."""
        kept = [name == speaker and clip not in without for name, clip in zip(self.speakers, self.clips)]
        return self.styles[np.array(kept, bool)]

    @property
    def n_speakers(self) -> int:
        return len(set(self.speakers.tolist()))


def principal_plane(styles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and the two main directions (2, d) of styles (N, d), for a map, with fixed signs."""
    mean = styles.mean(0)
    directions = np.linalg.svd(styles - mean, full_matrices=False)[2][:2]
    largest = np.abs(directions).argmax(1)
    return mean, directions * np.sign(directions[np.arange(len(directions)), largest])[:, None]
