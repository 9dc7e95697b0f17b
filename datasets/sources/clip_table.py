"""Lists of clips as arrays: millions of clips take little memory, and processes share it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.errors import UserError

if TYPE_CHECKING:
    from datasets.clip_store import ClipReader


def map_index(path: Path) -> np.ndarray:
    """The rows of an `index.npy` (clip_index says which), mapped into memory; processes share its pages.

    Raises:
        UserError: it is damaged.
    """
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); make it again with index_dataset") from error
    if rows.dtype.names != ("clip", "n_frames", "split", "place") or rows.dtype["clip"].kind != "S":
        raise UserError(f"{path}: is not an index of clips; make it again with index_dataset")
    return rows.view(np.ndarray)


@dataclass
class ClipNames:
    """Names of clips in arrays (N,) of UTF-8 bytes, or in indices, which every process maps when it needs a name."""

    held: tuple[np.ndarray | Path, ...]

    @cached_property
    def _arrays(self) -> list[np.ndarray]:
        return [map_index(one)["clip"] if isinstance(one, Path) else one for one in self.held]

    @cached_property
    def _ends(self) -> list[int]:
        return np.cumsum([len(names) for names in self._arrays]).tolist()

    def __getstate__(self) -> dict[str, Any]:
        return {"held": self.held}

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, row: int) -> str:
        """The name in a row, counted through all arrays."""
        number = bisect_right(self._ends, row)
        return self._arrays[number][row - self._ends[number]].decode()  # counted from the array's end


@dataclass(frozen=True)
class ClipTable:
    """Clips in the order of their lists, with their lengths."""

    names: ClipNames
    rows: np.ndarray  # (N,) int32, where each clip's name is
    lengths: np.ndarray  # (N,) frames
    repeats: np.ndarray | None = None  # (N,) items of each clip in an epoch; None: one

    @classmethod
    def of(cls, store: ClipReader, clips: Iterable[str]) -> ClipTable:
        """The clips with the lengths that the store gives."""
        names = list(clips)
        lengths = np.array([store.n_frames(name) for name in names], np.int32)
        held = np.array([name.encode() for name in names], np.bytes_)
        return cls(ClipNames((held,)), np.arange(len(names), dtype=np.int32), lengths)

    @classmethod
    def joined(cls, tables: Sequence[ClipTable]) -> ClipTable:
        """The clips of all tables, one after another."""
        names = ClipNames(tuple(one for table in tables for one in table.names.held))
        first = np.cumsum([0, *(len(table.names) for table in tables[:-1])], dtype=np.int32)
        rows = np.concatenate([table.rows + start for table, start in zip(tables, first)])
        return cls(names, rows, np.concatenate([table.lengths for table in tables]))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> tuple[str, int]:
        return self.names[int(self.rows[row])], int(self.lengths[row])

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return (self[row] for row in range(len(self)))

    def at(self, rows: np.ndarray) -> ClipTable:
        """Some of the clips."""
        repeats = None if self.repeats is None else self.repeats[rows]
        return replace(self, rows=self.rows[rows], lengths=self.lengths[rows], repeats=repeats)

    def items(self, times: int) -> Sequence[int] | np.ndarray:
        """Row of each item, if every clip occurs `times` as often as its `repeats`; first all clips once."""
        if self.repeats is None:
            return range(len(self)) if times == 1 else np.tile(np.arange(len(self), dtype=np.int32), times)
        repeats = self.repeats.astype(np.int32) * times
        rounds = range(int(repeats.max(initial=0)))
        return np.concatenate([np.flatnonzero(repeats > k).astype(np.int32) for k in rounds])
