"""One sample, window by window, each continuing the last frames of the one before: for long or live speech."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.generation.windows import Sample, WindowGenerator


class Continuation:
    """A sample that is continued window by window. A window may be short; the network sees the rest as padding."""

    def __init__(self, generator: WindowGenerator, sample: Sample) -> None:
        self.generator, self.sample = generator, sample
        self._expected = sample.motion[:0]  # (k, D) frames of the next window that the last one has already generated

    def window(self, audio: Tensor, n: int, ahead: int = 0) -> Tensor:
        """Motion (n, D) of the next n frames from audio features (m, F), n + ahead <= m <= L.

        Frames beyond n + ahead are padding, as at the end of a recording. The `ahead` frames are not returned but
        faded into the next window, which begins with the same frames.
        """
        (motion,) = next_windows([NextWindow(self, audio, n, ahead)])
        return motion

    def restart(self, motion: Tensor, audio: Tensor) -> None:
        """Continue normalised motion (P, D) of audio features (P, F) instead of the sample's own last frames."""
        self.sample.motion, self.sample.audio = motion, audio
        self._expected = motion[:0]

    def accept(self, made: Tensor, audio: Tensor, n: int) -> Tensor:
        """Advance by n of the frames (n + ahead, D) that were generated from the audio -> motion (n, D)."""
        motion = faded(self._expected, made)
        motion, self._expected = motion[:n], motion[n:]
        self.sample.advance(motion, audio[:n])
        return motion


def whole(audio: Tensor, n: int) -> Tensor:
    """The first n features of (m, F), filled up with the last one; those frames are marked as padding."""
    missing = n - len(audio)
    return F.pad(audio[None], (0, 0, 0, missing), mode="replicate")[0] if missing > 0 else audio[:n]


@dataclass(frozen=True)
class NextWindow:
    """What a sample's next window is made from; see `Continuation.window`."""

    sample: Continuation
    audio: Tensor
    n: int
    ahead: int = 0


@torch.no_grad()
def next_windows(windows: Sequence[NextWindow], least: int | None = None) -> list[Tensor]:
    """The next motion (n, D) of several samples of one generator, as one batch.

    least: frames that the network sees, doubled until all windows fit; None: whole windows, as in training.
    """
    generator = windows[0].sample.generator
    most = generator.model.config.n_motions
    length = least or most
    while length < max(one.n + one.ahead for one in windows):
        length *= 2
    made = generator(
        [one.sample.sample for one in windows],
        [whole(one.audio, min(length, most)) for one in windows],
        [one.n + one.ahead for one in windows],
    )
    return [one.sample.accept(motion[: one.n + one.ahead], one.audio, one.n) for one, motion in zip(windows, made)]


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
