"""Training items of the style encoder: two windows of one clip of one person (paper section 3.2)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datasets.clip_store import ClipReader
from datasets.crops import crop_random, crop_start, usable_table
from datasets.motion_pairs import Cut
from datasets.sources.clip_table import ClipTable
from datasets.splits import person_of
from utils.coefs import MotionCodec

_SPAN = 2.1  # length of the crop in windows: the two windows of an item are 0.1 windows apart


class StylePairs(Dataset):
    """One item per person, so that the other items of a batch are other persons: the negatives of the contrast."""

    def __init__(
        self,
        store: ClipReader,
        clips: Iterable[str] | ClipTable,
        codec: MotionCodec,
        n_motions: int = 100,
        seed: int = 0,
    ) -> None:
        """
        Args:
            clips: `<person>/<video>`; those shorter than 2.1 n_motions frames are skipped with a logged count.
                Persons are numbered in order of their first clip here.

        Raises:
            UserError: no clip is long enough.
        """
        self.n_motions = n_motions
        self.span = int(n_motions * _SPAN)
        self.store, self.codec = store, codec
        self._table = usable_table(store, clips, self.span)
        numbers: dict[str, int] = {}
        persons = (numbers.setdefault(person_of(clip), len(numbers)) for clip, _ in self._table)
        person = np.fromiter(persons, np.int32, len(self._table))
        self._rows = np.argsort(person, kind="stable").astype(np.int32)  # clips person by person, in the list's order
        self._ends = np.cumsum(np.bincount(person))
        self._seed = seed

    @property
    def persons(self) -> list[str]:
        """Name of each item's person."""
        return [person_of(self._table[int(self._rows[end - 1])][0]) for end in self._ends]

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, key: int | tuple[int, int]) -> Tensor:
        """Key: index, or (epoch, index). (2, n, D) normalised motion."""
        return self.pair(*self.locate(key))

    def locate(self, key: int | tuple[int, int]) -> tuple[str, int]:
        """Clip and first frame of an item's crop."""
        index, random = crop_random(self._seed, key)
        first, end = self._ends[index - 1] if index else 0, self._ends[index]
        clip, length = self._table[int(self._rows[first + random.integers(end - first)])]
        return clip, crop_start(random, length, self.span)

    @property
    def clips(self) -> list[str]:
        """The clips that items come from."""
        return [clip for clip, _ in self._table]

    def pair(self, clip: str, start: int) -> Tensor:
        """The item whose crop starts at frame `start` of a clip: its first and its last n frames."""
        motion = self._motion(clip, start, start + self.span)
        return torch.stack([motion[: self.n_motions], motion[-self.n_motions :]])

    def whole(self, clip: str) -> dict[str, Tensor]:
        """A clip of T frames in full: motion (T, D) normalised."""
        return {"motion": self._motion(clip, 0, self.store.n_frames(clip))}

    def gathered(self, cut: Cut, starts: Tensor) -> Tensor:
        """The items (B, 2, n, D) whose crops begin at frames `starts` (B,) of `whole`, all clips in one row."""
        second = starts + self.span - self.n_motions
        return cut("motion", torch.stack([starts, second], dim=1), self.n_motions)

    def _motion(self, clip: str, start: int, stop: int) -> Tensor:
        coefs = self.store.read_coefs(clip, start, stop)
        return self.codec.encode(torch.from_numpy(coefs["exp"]), torch.from_numpy(coefs["pose"]))
