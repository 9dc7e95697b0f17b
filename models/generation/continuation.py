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

    The samples advance by their pieces. Those with equal pieces advance together, so that the work does not grow with
    the number of samples.

    Args:
        audio: features (B, L, F) of the windows; frames beyond n + ahead are padding.
    """
    generator = samples[0].generator
    made = generator([one.sample for one in samples], audio, [piece.n + piece.ahead for piece in pieces])
    kinds: dict[tuple[Piece, int], list[int]] = {}
    for row, (one, piece) in enumerate(zip(samples, pieces)):
        kinds.setdefault((piece, min(len(one.expected), piece.n + piece.ahead)), []).append(row)
    for (piece, known), rows in kinds.items():
        which = slice(None) if len(rows) == len(samples) else torch.tensor(rows, device=made.device)
        end = piece.n + piece.ahead
        made[which, :end] = _advance([samples[row] for row in rows], made[which, :end], audio[which], piece.n, known)
    return made


def _advance(samples: Sequence[Continuation], made: Tensor, audio: Tensor, n: int, known: int) -> Tensor:
    """Advance by n of the frames (b, n + ahead, D) that were generated from the audio (b, L, F) -> motion like `made`.

    known: frames that the last windows have generated already.
    """
    if known:
        made = faded(torch.stack([one.expected[:known] for one in samples]), made)
    before = [torch.stack([getattr(one.sample, name) for one in samples]) for name in ("motion", "audio")]
    kept = before[0].shape[1]
    states = [torch.cat([old, new[:, :n]], dim=1)[:, -kept:] for old, new in zip(before, (made, audio))]
    for one, motion, heard, expected in zip(samples, *(s.unbind() for s in states), made[:, n:].unbind()):
        one.sample.motion, one.sample.audio, one.expected = motion, heard, expected
    return made


def faded(old: Tensor, new: Tensor) -> Tensor:
    """Motion (..., n, D) that fades from `old` (..., k, D) to `new` (..., n, D) over k frames."""
    k = min(old.shape[-2], new.shape[-2])
    if not k:
        return new
    share = (torch.arange(1, k + 1, device=new.device, dtype=new.dtype) / (k + 1))[:, None]
    start = torch.lerp(old[..., :k, :], new[..., :k, :], share * share * (3 - 2 * share))
    return torch.cat([start, new[..., k:, :]], dim=-2)


def continued_motion(windows: Iterable[Tensor], n_frames: int, sample: Continuation) -> Iterator[Tensor]:
    """Full windows of features (L, F) -> motion (n, D) each, `n_frames` frames in all; the last window is cut.

    The result equals that of `generate_batch` for one item, one window at a time.
    """
    left = n_frames
    for audio in windows:
        motion = sample.window(audio, min(left, len(audio)))
        yield motion
        left -= len(motion)
