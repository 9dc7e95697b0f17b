"""Which clips the lists of a folder hold, from an index (`index.npy`) if there is one, else from the lists and LMDB.

The index has a row for each clip in key order: name, frames, split (3: none), and place in that split's list.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from datasets.clip_store import ClipStore
from datasets.sources.clip_table import ClipNames, ClipTable, map_index
from datasets.splits import SPLITS
from utils.atomic import atomic_path
from utils.errors import UserError

log = logging.getLogger(__name__)
INDEX = "index.npy"
UNLISTED = len(SPLITS)


def write_index(folder: Path) -> int:
    """Write `index.npy`, from which training starts in seconds on millions of clips; returns their number.

    Raises:
        UserError: no data set, lists that do not match, or a clip in two lists.
    """
    store = ClipStore(folder)
    clips = store.clips()
    names = np.array([clip.encode() for clip in clips], np.bytes_)
    fields = [("clip", names.dtype), ("n_frames", "<i4"), ("split", "u1"), ("place", "<i4")]
    rows = np.zeros(len(clips), fields)
    rows["clip"], rows["split"] = names, UNLISTED
    rows["n_frames"] = [store.n_frames(clip) for clip in clips]
    number = {clip: i for i, clip in enumerate(clips)}
    for split, name in enumerate(SPLITS):
        where = np.array([number[clip] for clip in _listed_in(store, name)], int)
        again = where[rows["split"][where] != UNLISTED]
        if again.size:
            raise UserError(f"{folder}: {clips[again[0]]} is in {SPLITS[rows['split'][again[0]]]}.txt and in {name}.txt"
                            "; list each clip once")  # fmt: skip
        rows["split"][where], rows["place"][where] = split, np.arange(len(where))
    with atomic_path(folder / INDEX) as temporary, temporary.open("wb") as file:
        np.save(file, rows, allow_pickle=False)
    return len(clips)


def _listed_in(store: ClipStore, split: str) -> list[str]:
    """The clips of a list; none if there is no list."""
    path = store.path / f"{split}.txt"
    return store.clips(path) if path.is_file() and path.stat().st_size else []


class FolderLists:
    """The lists of one folder."""

    def __init__(self, store: ClipStore) -> None:
        self.store = store
        self._index = _usable_index(store.path)

    def table(self, split: str, may_lack: bool = False) -> ClipTable:
        """The clips of a list in its order; with `may_lack`, none if there is no list.

        Raises:
            UserError: a list or the index is missing, damaged, or does not match.
        """
        if self._index is None:
            listed = _listed_in(self.store, split) if may_lack else self.store.clips(self.store.path / f"{split}.txt")
            return ClipTable.of(self.store, listed)
        rows = map_index(self._index)
        chosen = np.flatnonzero(rows["split"] == SPLITS.index(split)).astype(np.int32)
        order = np.full(len(chosen), -1, np.int32)
        np.put(order, rows["place"][chosen], chosen, mode="clip")
        if (order < 0).any():
            raise UserError(f"{self._index}: two clips have one place in {split}.txt; make it again with index_dataset")
        return ClipTable(ClipNames((self._index,)), order, np.ascontiguousarray(rows["n_frames"])[order])

    def in_key_order(self) -> np.ndarray:
        """The clips of all lists, perhaps among others: fields 'clip' (UTF-8), sorted, and 'split' (3: none)."""
        if self._index is not None:
            return map_index(self._index)
        listed = [(clip.encode(), k) for k, name in enumerate(SPLITS) for clip in _listed_in(self.store, name)]
        width = max((len(clip) for clip, _ in listed), default=1)
        return np.array(sorted(listed), [("clip", f"S{width}"), ("split", "u1")])


def _usable_index(folder: Path) -> Path | None:
    """The index of a folder; None if it is missing or older than the data."""
    path = folder / INDEX
    if not path.is_file():
        return None
    made = path.stat().st_mtime_ns
    newer = [p.name for p in (folder / "data.mdb", *(folder / f"{s}.txt" for s in SPLITS))
             if p.is_file() and p.stat().st_mtime_ns > made]  # fmt: skip
    if newer:
        log.warning("%s: is older than %s and is not used; index_dataset makes it again", path, newer[0])
        return None
    return path
