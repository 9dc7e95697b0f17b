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
        self.expected = sample.motion[:0]  # (k, D) frames of the next window that the last one has already generated

    def window(self, audio: Tensor, n: int, ahead: int = 0) -> Tensor:
        """Motion (n, D) of the next n frames from audio features (m, F), n + ahead <= m <= L.

        Frames beyond n + ahead are padding, as at the end of a recording. The `ahead` frames are not returned but
        faded into the next window, which begins with the same frames.
        """
        length = self.generator.model.config.n_motions
        return next_windows([self], whole(audio, length)[None], [Piece(n, ahead)])[0, :n]

    def restart(self, motion: Tensor, audio: Tensor) -> None:
        """Continue normalised motion (P, D) of audio features (P, F) instead of the sample's own last frames."""
        self.sample.motion, self.sample.audio = motion, audio
        self.expected = motion[:0]


def whole(audio: Tensor, n: int) -> Tensor:
    """The first n features of (m, F), filled up with the last one; those frames are marked as padding."""
    missing = n - len(audio)
    return F.pad(audio[None], (0, 0, 0, missing), mode="replicate")[0] if missing > 0 else audio[:n]


@dataclass(frozen=True)
class Piece:
    """The frames of a window that are wanted, and those behind them that the next window fades in."""

    n: int
    ahead: int = 0


@torch.no_grad()
def next_windows(samples: Sequence[Continuation], audio: Tensor, pieces: Sequence[Piece]) -> Tensor:
    """The next window (B, L, D) of B samples of one generator, of whose frames each sample takes its piece's first n.

    The samples advance by their pieces, all of them together.

    Args:
        audio: features (B, L, F) of the windows; frames beyond n + ahead are padding.
    """
    generator = samples[0].generator
    made = generator([one.sample for one in samples], audio, [piece.n + piece.ahead for piece in pieces])
    known = [min(len(one.expected), piece.n + piece.ahead) for one, piece in zip(samples, pieces)]
    counts = torch.tensor([known, [piece.n for piece in pieces]]).to(made.device, non_blocking=True)
    if most := max(known):
        expected = torch.stack([_padded(one.expected, most) for one in samples])
        made[:, :most] = faded(expected, made[:, :most], counts[0])
    _advance(samples, made, audio, counts[1], pieces)
    return made


def _padded(frames: Tensor, n: int) -> Tensor:
    """Frames (k, D) -> (n, D)."""
    return frames if len(frames) == n else F.pad(frames[:n], (0, 0, 0, max(0, n - len(frames))))


def _advance(samples: Sequence[Continuation], made: Tensor, audio: Tensor, n: Tensor, pieces: Sequence[Piece]) -> None:
    """Advance by the first n (B,) of the frames (B, L, D) that were generated from the audio (B, L, F)."""
    kept, ahead = len(samples[0].sample.motion), max(piece.ahead for piece in pieces)
    place = n[:, None] + torch.arange(max(kept, ahead), device=n.device)
    rows = torch.arange(len(samples), device=n.device)[:, None]
    states = []
    for name, new in (("motion", made), ("audio", audio)):
        before = torch.stack([getattr(one.sample, name) for one in samples])
        states.append(torch.cat([before, new], dim=1)[rows, place[:, :kept]].unbind())
    expected = made[rows, place[:, :ahead].clamp(max=made.shape[1] - 1)]
    for one, piece, motion, heard, following in zip(samples, pieces, *states, expected.unbind()):
        one.sample.motion, one.sample.audio = motion, heard
        one.expected = following if piece.ahead == ahead else following[: piece.ahead]


def faded(old: Tensor, new: Tensor, frames: Tensor) -> Tensor:
    """Motion (B, k, D) that fades from `old` to `new` (both B, k, D) over the first `frames` (B,) of the frames."""
    place, frames = torch.arange(1, old.shape[1] + 1, device=new.device), frames[:, None]
    share = place.to(new.dtype) / (frames + 1)
    weight = torch.where(place <= frames, share * share * (3 - 2 * share), 1.0)
    return torch.lerp(old, new, weight[..., None])


def continued_motion(windows: Iterable[Tensor], n_frames: int, sample: Continuation) -> Iterator[Tensor]:
    """Full windows of features (L, F) -> motion (n, D) each, `n_frames` frames in all; the last window is cut.

    The result equals that of `generate_batch` for one item, one window at a time.
    """
    left = n_frames
    for audio in windows:
        motion = sample.window(audio, min(left, len(audio)))
        yield motion
        left -= len(motion)
