"""What lists in several folders may not do: name a clip twice, or put a speaker into other splits of another folder."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np

from datasets.sources.clip_index import UNLISTED
from datasets.splits import SPLITS
from utils.errors import UserError
from utils.runs.shards import cores

_BLOCK = 8192  # names of each folder that are compared at once


def check_splits(data_root: Path, lists: Sequence[np.ndarray]) -> None:
    """Compare the lists of all folders, as `FolderLists.in_key_order` gives them.

    Raises:
        UserError: a clip is listed twice, or a person is in another split of another folder.
    """
    if (twice := _listed_twice(lists)) is not None:
        raise UserError(f"{data_root}: {twice} is listed twice; name each clip once")
    persons = _held_persons(lists)
    if not persons.size:
        return
    for k, rows in enumerate(lists):
        ends = (np.strings.add(persons["name"], end) for end in (b"/", b"0"))  # "0" follows "/"
        low, high = (np.searchsorted(rows["clip"], end.astype(rows["clip"].dtype)) for end in ends)
        for other, name in enumerate(SPLITS):
            before = np.concatenate([[0], np.cumsum(rows["split"] == other)])
            compared = (persons["home"] != k) & ((persons["split"] < other) | (other == 0))  # a pair of splits once
            for person in persons[compared & (before[high] > before[low])]:
                raise UserError(f"{data_root}: {person['name'].decode()} is in {SPLITS[person['split']]}.txt of one "
                                f"source and in {name}.txt of another; split by speaker over all of them")  # fmt: skip


def _listed_twice(lists: Sequence[np.ndarray]) -> str | None:
    """A clip that is listed twice. Names are merged block by block, which needs little memory."""
    bounds = np.sort(np.concatenate([rows["clip"][::_BLOCK] for rows in lists]))[:: len(lists)]
    cuts = [pairwise([0, *np.searchsorted(rows["clip"], bounds), len(rows)]) for rows in lists]
    blocks = [[rows[low:high] for rows, (low, high) in zip(lists, block)] for block in zip(*cuts)]
    with ThreadPoolExecutor(cores()) as threads:  # numpy sorts without Python's lock
        return next((name for name in threads.map(_repeated_in, blocks) if name is not None), None)


def _repeated_in(parts: list[np.ndarray]) -> str | None:
    names = np.concatenate([part["clip"][part["split"] != UNLISTED] for part in parts])
    names.sort(kind="stable")  # fast on what is mostly sorted
    same = np.flatnonzero(names[1:] == names[:-1])
    return bytes(names[same[0]]).decode() if same.size else None


def _held_persons(lists: Sequence[np.ndarray]) -> np.ndarray:
    """The people of validation and test: fields 'name', 'home' (number of the folder) and 'split'."""
    width = max(rows["clip"].dtype.itemsize for rows in lists)
    found = [np.zeros(0, [("name", f"S{width}"), ("home", int), ("split", int)])]
    for k, rows in enumerate(lists):
        for split in (1, 2):
            clips = rows["clip"][rows["split"] == split]
            names = np.unique(np.strings.rpartition(clips, b"/")[0]) if clips.size else clips
            found.append(np.zeros(len(names), found[0].dtype))
            found[-1]["name"], found[-1]["home"], found[-1]["split"] = names, k, split
    return np.concatenate(found)
