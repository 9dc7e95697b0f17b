"""One reader for the clips of one or several folders: joined lists, weights, statistics from exact sums."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datasets.clip_encoding import Coefs
from datasets.clip_store import ClipStore, Frames
from datasets.sources.clip_index import UNLISTED, FolderLists
from datasets.sources.clip_table import ClipTable
from datasets.sources.folders import check_alike, sources_of
from datasets.sources.split_check import check_splits
from utils.coefs import CoefStats
from utils.errors import UserError
from utils.media.audio import SampleType
from utils.speech import PHONES_FILE, Phone, read_phones

_STATS_FRAMES = 100  # a crop of the statistics


class ClipSources:
    """The clips of several folders; a clip is read from the folder that has it. It can be sent to workers."""

    def __init__(self, data_root: Path) -> None:
        """
        Raises:
            UserError: a folder holds no data set, or they were prepared with different settings.
        """
        self.path, self.sources = data_root, sources_of(data_root)
        self.stores = [ClipStore(source.folder) for source in self.sources]
        self._lists = [FolderLists(store) for store in self.stores]
        self._sorted: dict[int, np.ndarray] = {}
        check_alike(self.sources)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_sorted": {}}  # large, and at hand in the folder

    def table(self, split: str) -> ClipTable:
        """The listed clips of a split, source after source, with their lengths and, for training, weights.

        Raises:
            UserError: a list is missing or does not match, a clip is in two sources, or a person in other
                splits of another source.
        """
        several = len(self.stores) > 1
        tables = [lists.table(split, may_lack=several) for lists in self._lists]
        if several:
            check_splits(self.path, [lists.in_key_order() for lists in self._lists])
        table = ClipTable.joined(tables)
        if not len(table):
            raise UserError(f"{self.path}: its lists {split}.txt are empty; put one <person>/<video> on each line")
        times = np.array([source.repeats for source in self.sources], np.uint16)
        if split != "train" or times.max() == 1:
            return table
        return replace(table, repeats=np.repeat(times, [len(one) for one in tables]))

    def clips(self, split: str) -> list[str]:
        """Names of a split's clips."""
        return [name for name, _ in self.table(split)]

    def statistics(self, name: Path) -> CoefStats:
        """The statistics file of the folder, or beside the list; else the sources' own, by their numbers of crops.

        Raises:
            UserError: a file is missing or damaged.
        """
        beside = self.path.parent / name
        if self.path.is_file() and beside.is_file():
            return CoefStats.load(beside)
        lengths = (lists.table("train", may_lack=len(self.stores) > 1).lengths for lists in self._lists)
        crops = [int((one >= _STATS_FRAMES).sum()) * source.repeats for one, source in zip(lengths, self.sources)]
        return merged_stats([CoefStats.load(source.folder / name) for source in self.sources], crops)

    def phones(self) -> dict[str, list[Phone]] | None:
        """Phone times of all sources that have them; None if none does."""
        paths = [source.folder / PHONES_FILE for source in self.sources]
        found = [read_phones(path) for path in paths if path.is_file()]
        return {clip: phones for one in found for clip, phones in one.items()} if found else None

    def _owner(self, clip: str) -> ClipStore:
        return self.stores[self.source_of(clip)]

    def source_of(self, clip: str) -> int:
        """Number of the folder that has the clip and, where several have it, lists it; 0 if none has it."""
        if len(self.stores) == 1:
            return 0
        found = [k for k, store in enumerate(self.stores) if clip in store]
        if len(found) > 1:
            found = [k for k in found if self._is_listed(k, clip)] or found
        return found[0] if found else 0

    def _is_listed(self, k: int, clip: str) -> bool:
        """Whether a list of folder k holds the clip."""
        if k not in self._sorted:
            self._sorted[k] = self._lists[k].in_key_order()
        rows, name = self._sorted[k], np.bytes_(clip.encode())
        found = rows[np.searchsorted(rows["clip"], name) :][:1]
        return bool(((found["clip"] == name) & (found["split"] != UNLISTED)).any())

    def n_frames(self, clip: str) -> int:
        """See `ClipStore.n_frames`."""
        return self._owner(clip).n_frames(clip)

    def read_frames(self, clip: str, start: int, stop: int, dtype: SampleType = "float32") -> Frames:
        """See `ClipStore.read_frames`."""
        return self._owner(clip).read_frames(clip, start, stop, dtype)

    def read_coefs(self, clip: str, start: int = 0, stop: int | None = None) -> Coefs:
        """See `ClipStore.read_coefs`."""
        return self._owner(clip).read_coefs(clip, start, stop)


def statistics_of(data_root: Path, name: Path) -> CoefStats:
    """The statistics of `--data_root`; one folder need not hold a data set. Raises UserError: see `statistics`."""
    if len(sources := sources_of(data_root)) == 1 and not data_root.is_file():
        return CoefStats.load(sources[0].folder / name)
    return ClipSources(data_root).statistics(name)


def merged_stats(stats: list[CoefStats], crops: list[int]) -> CoefStats:
    """Statistics over the crops of all sources: sums in double precision, divided by the number of crops.

    Raises:
        UserError: no source has a crop.
    """
    if not sum(crops):
        raise UserError(f"--data_root: no training clip has the {_STATS_FRAMES} frames of a crop; add longer clips")
    rows = [one.to_dict() for one in stats]
    total = {key: sum(n * row[key].to(torch.float64) for n, row in zip(crops, rows)) for key in rows[0]}
    return CoefStats.from_dict({key: torch.as_tensor(value) / sum(crops) for key, value in total.items()})
