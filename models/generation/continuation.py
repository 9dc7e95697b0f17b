"""One sample, window by window, each continuing the last frames of the one before: for long or live speech."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from models.generation.windows import Sample, WindowGenerator


class Continuation:
    """A sample that is continued window by window. A window may be short; the network sees the rest as padding."""

    def __init__(self, generator: WindowGenerator, sample: Sample) -> None:
        self.generator, self.sample = generator, sample
        self._window = generator.model.config.n_motions
        self._expected = sample.motion[:0]  # (k, D) frames of the next window that the last one has already generated

    @torch.no_grad()
    def window(self, audio: Tensor, n: int, ahead: int = 0) -> Tensor:
        """Motion (n, D) of the next n frames from audio features (m, F), n + ahead <= m <= L.

        Frames beyond n + ahead are padding, as at the end of a recording. The `ahead` frames are not returned but
        faded into the next window, which begins with the same frames.
        """
        valid = n + ahead
        (made,) = self.generator([self.sample], [self._whole(audio)], [valid])
        motion = faded(self._expected, made[:valid])
        motion, self._expected = motion[:n], motion[n:]
        self.sample.advance(motion, audio[:n])
        return motion

    def _whole(self, audio: Tensor) -> Tensor:
        """Features (m, F) filled up to a window (L, F) with the last one; those frames are marked as padding."""
        missing = self._window - len(audio)
        return F.pad(audio[None], (0, 0, 0, missing), mode="replicate")[0] if missing else audio


def faded(old: Tensor, new: Tensor) -> Tensor:
    """Motion (n, D) that fades from `old` (k, D) to `new` (n, D) over k frames."""
    k = min(len(old), len(new))
    if not k:
        return new
    share = (torch.arange(1, k + 1, device=new.device, dtype=new.dtype) / (k + 1))[:, None]
    return torch.cat([torch.lerp(old[:k], new[:k], share * share * (3 - 2 * share)), new[k:]])


def continued_motion(windows: Iterable[Tensor], n_frames: int, sample: Continuation) -> Iterator[Tensor]:
    """Full windows of features (L, F) -> motion (n, D) each, `n_frames` frames in all; the last window is cut.

    The result equals that of `generate_batch` for one item, one window at a time.
    """
    left = n_frames
    for audio in windows:
        motion = sample.window(audio, min(left, len(audio)))
        yield motion
        left -= len(motion)
