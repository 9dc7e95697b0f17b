"""Training items of the denoiser: two consecutive clips of speech and motion (paper section 3.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.utils.data import Dataset

from datasets.clip_store import ClipReader, Frames
from datasets.crops import crop_random, crop_start, usable_table
from datasets.sources.clip_table import ClipTable
from utils.coefs import MotionCodec
from utils.media.audio import standardise, standardise_pcm
from utils.timebase import samples_per_frame

Cut = Callable[[str, Tensor, int], Tensor]  # array's name, starts (...), length -> (..., length, ...)


class MotionPairs(Dataset):
    """One item (or several) per clip of the list: a random crop of 2 n frames, cut in two."""

    def __init__(
        self,
        store: ClipReader,
        clips: Iterable[str] | ClipTable,
        codec: MotionCodec,
        n_motions: int = 100,
        seed: int = 0,
        repeats: int = 1,
    ) -> None:
        """
        Args:
            clips: `<person>/<video>`; those shorter than 2 n_motions frames are skipped with a logged count.
            n_motions: n, frames per clip of the pair.
            repeats: items per clip, each with its own crop: for data sets of fewer clips than a batch.

        Raises:
            UserError: no clip is long enough.
        """
        self.n_motions = n_motions
        self.store, self.codec = store, codec
        self._table = usable_table(store, clips, 2 * n_motions)
        self._rows = self._table.items(repeats)
        self._seed = seed

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Tensor]:
        """Key: index, or (epoch, index).

        'audio' (2, 640 n) standardised over the pair; 'motion' (2, n, D) and 'shape' (2, n, 100) normalised; 'source'
        (2, n), the number of the clip's folder.
        """
        return self.pair(*self.locate(key))

    def locate(self, key: int | tuple[int, int]) -> tuple[str, int]:
        """Clip and first frame of an item's crop."""
        index, random = crop_random(self._seed, key)
        clip, length = self._table[self._rows[index]]
        return clip, crop_start(random, length, 2 * self.n_motions)

    @property
    def clips(self) -> list[str]:
        """The clips that items come from."""
        return [clip for clip, _ in self._table]

    def pair(self, clip: str, start: int) -> dict[str, Tensor]:
        """The item for frames start .. start + 2 n - 1 of a clip."""
        frames = self.store.read_frames(clip, start, start + 2 * self.n_motions)
        raw = self._raw(clip, frames) | {"audio": torch.from_numpy(standardise(frames.audio))}
        return _halves(_normalised(raw, self.codec), 0)

    def stored(self, clip: str, start: int) -> dict[str, Tensor]:
        """The same as it is stored: audio int16 (1280 n,), raw exp, pose, shape (2 n, ...)."""
        return self._stored(clip, start, start + 2 * self.n_motions)

    def whole(self, clip: str) -> dict[str, Tensor]:
        """A clip of T frames in full: motion (T, D) and shape (T, 100) normalised, audio int16 (640 T,)."""
        return _normalised(self._stored(clip, 0, self.store.n_frames(clip)), self.codec)

    def gathered(self, cut: Cut, starts: Tensor) -> dict[str, Tensor]:
        """The items whose crops begin at frames `starts` (B,) of `whole`, all clips in one row."""
        n, unit = self.n_motions, samples_per_frame()
        halves = torch.stack([starts, starts + n], dim=1)
        audio = standardise_pcm(cut("audio", starts * unit, 2 * n * unit))
        return {
            "audio": audio.unflatten(1, (2, -1)),
            "motion": cut("motion", halves, n),
            "shape": cut("shape", halves, n),
            "source": cut("source", halves, n),
        }

    def _stored(self, clip: str, start: int, stop: int) -> dict[str, Tensor]:
        frames = self.store.read_frames(clip, start, stop, "int16")
        return self._raw(clip, frames) | {"audio": torch.from_numpy(frames.audio)}

    def _raw(self, clip: str, frames: Frames) -> dict[str, Tensor]:
        """The coefficients as they are stored, and the clip's source for each frame."""
        coefs = {name: torch.from_numpy(values) for name, values in frames.coefs.items()}
        return coefs | {"source": torch.full((len(coefs["exp"]),), self.store.source_of(clip), dtype=torch.uint8)}


class StoredPairs(Dataset):
    """The items of `MotionPairs` as workers send them, half the bytes; `finished` does the rest."""

    def __init__(self, pairs: MotionPairs) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Tensor]:
        return self.pairs.stored(*self.pairs.locate(key))


def finished(batch: dict[str, Tensor], codec: MotionCodec) -> dict[str, Tensor]:
    """A collated batch of `StoredPairs` -> items of `MotionPairs`; batch and codec must be on one device."""
    return _halves(_normalised(batch | {"audio": standardise_pcm(batch["audio"])}, codec), 1)


def _normalised(raw: dict[str, Tensor], codec: MotionCodec) -> dict[str, Tensor]:
    """The arrays of an item, from standardised audio and raw coefficients."""
    return {
        "audio": raw["audio"],
        "motion": codec.encode(raw["exp"], raw["pose"]),
        "shape": codec.stats.normalise("shape", raw["shape"]),
        "source": raw["source"],
    }


def _halves(arrays: dict[str, Tensor], dim: int) -> dict[str, Tensor]:
    """Every array cut in two along `dim`."""
    return {name: values.unflatten(dim, (2, -1)) for name, values in arrays.items()}
