"""A data set in one or several folders: one reader, joined lists, weights, statistics from exact sums, an index.

`--data_root` names a folder, folders separated by commas, a text file with a folder per line, or a JSON object
{folder: weight}; relative paths in a file start at its folder. A weight is how often the training clips of a source
occur in an epoch. Statistics beside the file of a list replace those of its sources.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations
from pathlib import Path

import numpy as np
import torch

from datasets.clip_encoding import Coefs
from datasets.clip_store import ClipStore, Frames
from datasets.crops import ClipTable
from datasets.splits import SPLITS, person_of
from utils.atomic import atomic_path
from utils.coefs import CoefStats
from utils.errors import UserError
from utils.media.audio import SampleType
from utils.reading.json_file import read_json, read_lines
from utils.speech import PHONES_FILE, Phone, read_phones

log = logging.getLogger(__name__)
INDEX, TREATMENT = "index.npy", "treatment.json"
_STATS_FRAMES = 100  # a crop of the statistics
_PARTS = 4  # weights are rounded to quarters of the least one
_MOST = 1000  # times that a clip may occur in an epoch


@dataclass(frozen=True)
class Source:
    """One folder, and how often its training clips occur in an epoch."""

    folder: Path
    repeats: int = 1


def sources_of(data_root: Path) -> list[Source]:
    """The folders that `--data_root` names.

    Raises:
        UserError: the list is empty, unreadable, names a folder twice, or a weight is not a positive number.
    """
    if data_root.is_dir():
        return [Source(data_root)]
    if data_root.suffix == ".json" and data_root.is_file():
        given = read_json(data_root)
        weights = dict(zip(_once([str(data_root.parent / name) for name in given]), given.values()))
    elif data_root.is_file():
        weights = _once([str(data_root.parent / line.strip()) for line in read_lines(data_root) if line.strip()])
    else:
        weights = _once([name for name in str(data_root).split(",") if name])
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise UserError(f"{data_root}: the weight of {name} is {weight!r}; give a positive number")
    if not weights:
        raise UserError(f"{data_root}: names no folder; write one a line")
    least = min(weights.values())
    parts = [Fraction(weight / least).limit_denominator(_PARTS) for weight in weights.values()]
    unit = math.lcm(*(part.denominator for part in parts))
    if max(parts) * unit > _MOST:
        raise UserError(f"{data_root}: its weights differ by more than {_MOST // _PARTS} times; bring them together")
    return [Source(Path(name), int(part * unit)) for name, part in zip(weights, parts)]


def _once(names: list[str]) -> dict[str, float]:
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UserError(f"--data_root: {min(twice)} is named twice; give weights in a JSON file")
    return dict.fromkeys(names, 1)


class ClipSources:
    """The clips of several folders; a clip is read from the folder that has it. It can be sent to workers."""

    def __init__(self, data_root: Path) -> None:
        """
        Raises:
            UserError: a folder holds no data set, or they were prepared with different settings.
        """
        self.path, self.sources = data_root, sources_of(data_root)
        self.stores = [ClipStore(source.folder) for source in self.sources]
        self._lists: dict[int, frozenset[bytes]] = {}
        _check_alike(self.sources)

    def table(self, split: str) -> ClipTable:
        """The listed clips of a split, source after source, with their lengths and, for training, weights.

        Raises:
            UserError: a list is missing or does not match, a clip is in two sources, or a person in other
                splits of another source.
        """
        tables = self._tables(split)
        if len(tables) > 1:
            self._check_splits()
        times = [source.repeats if split == "train" else 1 for source in self.sources]
        repeats = [np.full(len(table), count, np.uint16) for table, count in zip(tables, times)]
        names, lengths = (np.concatenate([getattr(t, name) for t in tables]) for name in ("names", "lengths"))
        if not len(names):
            raise UserError(f"{self.path}: its lists {split}.txt are empty; put one <person>/<video> on each line")
        return ClipTable(names, lengths, np.concatenate(repeats))

    def clips(self, split: str) -> list[str]:
        """Names of a split's clips."""
        return [name for name, _ in self.table(split)]

    def _tables(self, split: str, ordered: bool = True) -> list[ClipTable]:
        return [_table(store, split, ordered, len(self.stores) > 1) for store in self.stores]

    def _check_splits(self) -> None:
        """UserError if a clip is listed twice, or a person is in another split of another source."""
        parts = {split: [table.names for table in self._tables(split, ordered=False)] for split in SPLITS}
        names = {split: np.sort(np.concatenate(part), kind="stable") for split, part in parts.items()}
        every = np.sort(np.concatenate(list(names.values())), kind="stable")  # fast on what is mostly sorted
        same = np.flatnonzero(every[1:] == every[:-1])
        if same.size:
            raise UserError(f"{self.path}: {bytes(every[same[0]]).decode()} is listed twice; name each clip once")
        held = [{split: {person_of(name.decode()) for name in parts[split][i].tolist()} for split in ("val", "test")}
                for i in range(len(self.stores))]  # fmt: skip
        trained = [np.sort(part, kind="stable") for part in parts["train"]]
        found = [
            (person, split, other)
            for i, j in permutations(range(len(self.stores)), 2)
            for split in ("val", "test")
            for other in SPLITS
            for person in sorted(held[i][split])
            if other != split and (_has(trained[j], person) if other == "train" else person in held[j][other])
        ]
        if found:
            person, one, other = found[0]
            raise UserError(f"{self.path}: {person} is in {one}.txt of one source and in {other}.txt of another; "
                            "split by speaker over all of them")  # fmt: skip

    def statistics(self, name: Path) -> CoefStats:
        """The statistics file of the folder, or beside the list; else the sources' own, by their numbers of crops.

        Raises:
            UserError: a file is missing or damaged.
        """
        beside = self.path.parent / name
        if self.path.is_file() and beside.is_file():
            return CoefStats.load(beside)
        tables = zip(self._tables("train"), self.sources)
        crops = [int((table.lengths >= _STATS_FRAMES).sum()) * source.repeats for table, source in tables]
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
            found = [k for k in found if clip.encode() in self._listed(k)] or found
        return found[0] if found else 0

    def _listed(self, k: int) -> frozenset[bytes]:
        """Names of all clips that folder k lists."""
        if k not in self._lists:
            tables = [_table(self.stores[k], split, ordered=False, may_lack=True) for split in SPLITS]
            self._lists[k] = frozenset(name for table in tables for name in table.names.tolist())
        return self._lists[k]

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
    if len(sources_of(data_root)) == 1 and not data_root.is_file():
        return CoefStats.load(data_root / name)
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


def _check_alike(sources: list[Source]) -> None:
    """UserError if preparation recorded different settings in two folders."""
    records = [s.folder / TREATMENT for s in sources if (s.folder / TREATMENT).is_file()]
    settings = [(record.parent, read_json(record)) for record in records]
    for folder, found in settings[1:]:
        if found != settings[0][1]:
            raise UserError(f"{folder}: was prepared with {found}, {settings[0][0]} with {settings[0][1]}; prepare "
                            "them alike")  # fmt: skip


_INDEX_FIELDS = [("n_frames", "<i4"), ("split", "u1"), ("place", "<i4")]


def write_index(folder: Path) -> int:
    """Write `index.npy`, from which training starts in seconds on millions of clips; returns their number.

    A row for each clip in key order: name, frames, split (3: none), and place in that split's list.

    Raises:
        UserError: no data set, or lists that do not match.
    """
    store = ClipStore(folder)
    clips = store.clips()
    names = np.array([clip.encode() for clip in clips])
    rows = np.zeros(len(clips), [("clip", names.dtype), *_INDEX_FIELDS])
    rows["clip"], rows["split"] = names, len(SPLITS)
    rows["n_frames"] = [store.n_frames(clip) for clip in clips]
    number = {clip: i for i, clip in enumerate(clips)}
    for split, name in enumerate(SPLITS):
        path = folder / f"{name}.txt"
        listed = store.clips(path) if path.is_file() and path.stat().st_size else []
        where = [number[clip] for clip in listed]
        rows["split"][where], rows["place"][where] = split, np.arange(len(where))
    with atomic_path(folder / INDEX) as temporary, temporary.open("wb") as file:
        np.save(file, rows, allow_pickle=False)
    return len(clips)


def _index(folder: Path) -> np.ndarray | None:
    """The index, mapped into memory so that processes share its pages; None if missing or older than the data."""
    path = folder / INDEX
    if not path.is_file():
        return None
    made = path.stat().st_mtime_ns
    newer = [p.name for p in (folder / "data.mdb", *(folder / f"{s}.txt" for s in SPLITS))
             if p.is_file() and p.stat().st_mtime_ns > made]  # fmt: skip
    if newer:
        log.warning("%s: is older than %s and is not used; index_dataset makes it again", path, newer[0])
        return None
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); make it again with index_dataset") from error
    if rows.dtype.names != ("clip", "n_frames", "split", "place") or rows.dtype["clip"].kind != "S":
        raise UserError(f"{path}: is not an index of clips; make it again with index_dataset")
    return rows


def _table(store: ClipStore, split: str, ordered: bool, may_lack: bool) -> ClipTable:
    """The clips of a split, in the order of its list or in any; with `may_lack`, none if there is no list."""
    path, rows = store.path / f"{split}.txt", _index(store.path)
    if rows is not None:
        chosen = np.flatnonzero(rows["split"] == SPLITS.index(split))
        if ordered:
            chosen = chosen[np.argsort(rows["place"][chosen], kind="stable")]
        return ClipTable(rows["clip"][chosen], rows["n_frames"][chosen])
    lacks = may_lack and not (path.is_file() and path.stat().st_size)
    return ClipTable.of(store, [] if lacks else store.clips(path))


def _has(names: np.ndarray, person: str) -> bool:
    """Whether sorted names of clips hold one of this person."""
    first = f"{person}/".encode()
    at = int(np.searchsorted(names, first))
    return at < len(names) and names[at].startswith(first)
