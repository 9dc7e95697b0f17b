"""Training items of the denoiser: two consecutive clips of speech and motion (paper section 3.4)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.utils.data import Dataset

from datasets.clip_store import ClipStore
from datasets.crops import crop_random, crop_start, usable_clips
from utils.coefs import MotionCodec
from utils.media.audio import FULL_SCALE, standardise


class MotionPairs(Dataset):
    """One item per clip of the list (or some): a random crop of 2 n frames, cut in two."""

    def __init__(
        self,
        store: ClipStore,
        clips: Iterable[str],
        codec: MotionCodec,
        n_motions: int = 100,
        seed: int = 0,
        repeats: int = 1,
    ) -> None:
        """
        Args:
            store: where the clips are.
            clips: `<person>/<video>`; those shorter than 2 n_motions frames are skipped with a logged count.
            codec: layout and statistics of the motion vectors.
            n_motions: n, frames per clip of the pair.
            seed: of the crops.
            repeats: items per clip, each with its own crop: for data sets of fewer clips than a batch.

        Raises:
            UserError: no clip is long enough.
        """
        self.n_motions = n_motions
        self.store, self.codec = store, codec
        self._clips = list(usable_clips(store, clips, 2 * n_motions).items()) * repeats
        self._seed = seed

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Tensor]:
        """Key: index, or (epoch, index).

        'audio' (2, 640 n) standardised over the pair; 'motion' (2, n, D) and 'shape' (2, n, 100) normalised.
        """
        return self.pair(*self.locate(key))

    def locate(self, key: int | tuple[int, int]) -> tuple[str, int]:
        """Clip and first frame of an item's crop."""
        index, random = crop_random(self._seed, key)
        clip, length = self._clips[index]
        return clip, crop_start(random, length, 2 * self.n_motions)

    @property
    def clips(self) -> list[str]:
        """The clips that items come from."""
        return list(dict(self._clips))

    def pair(self, clip: str, start: int) -> dict[str, Tensor]:
        """The item for frames start .. start + 2 n - 1 of a clip."""
        frames = self.store.read_frames(clip, start, start + 2 * self.n_motions)
        coefs = {name: torch.from_numpy(values) for name, values in frames.coefs.items()}
        return _halves(torch.from_numpy(standardise(frames.audio)), coefs, self.codec, 0)

    def stored(self, clip: str, start: int) -> dict[str, Tensor]:
        """The same as it is stored: audio int16 (1280 n,), raw exp, pose, shape (2 n, ...)."""
        frames = self.store.read_frames(clip, start, start + 2 * self.n_motions, "int16")
        return {"audio": torch.from_numpy(frames.audio)} | {k: torch.from_numpy(v) for k, v in frames.coefs.items()}


class StoredPairs(Dataset):
    """The items of `MotionPairs` as workers send them, half the bytes; `finished` does the rest."""

    def __init__(self, pairs: MotionPairs) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Tensor]:
        return self.pairs.stored(*self.pairs.locate(key))


def finished(batch: dict[str, Tensor], codec: MotionCodec) -> dict[str, Tensor]:
    """A collated batch of `StoredPairs` -> items of `MotionPairs`; batch and codec are on the device that does it."""
    return _halves(standardised(batch["audio"]), batch, codec, 1)


def _halves(audio: Tensor, raw: dict[str, Tensor], codec: MotionCodec, dim: int) -> dict[str, Tensor]:
    """Standardised audio and raw coefficients, normalised and cut in two along `dim`."""
    whole = {
        "audio": audio,
        "motion": codec.encode(raw["exp"], raw["pose"]),
        "shape": codec.stats.normalise("shape", raw["shape"]),
    }
    return {name: values.unflatten(dim, (2, -1)) for name, values in whole.items()}


def standardised(pcm: Tensor) -> Tensor:
    """16 bit audio (B, n) -> `utils.media.audio.standardise` of each row, float32."""
    x = pcm.float() / FULL_SCALE
    x = x - x.mean(dim=1, keepdim=True)
    return x / (x.std(dim=1, keepdim=True) + 1e-5)
