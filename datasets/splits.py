"""List files (one `<person>/<video>` per line) and the split of a data set by person."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from utils.atomic import write_text
from utils.errors import UserError
from utils.reading.json_file import read_lines
from utils.reports.wording import counted

SPLITS = ("train", "val", "test")
# TFHP: 588 persons, 64 of them test and 64 validation; smaller sets keep the proportion.
_N_EVAL, _N_PERSONS = 64, 588


def person_of(clip: str) -> str:
    """'TH_00001/000' -> 'TH_00001'."""
    return clip.rpartition("/")[0]


def group_by_person(clips: Iterable[str]) -> dict[str, list[str]]:
    """Clips of each person; persons in order of first appearance."""
    groups: dict[str, list[str]] = {}
    for clip in clips:
        groups.setdefault(person_of(clip), []).append(clip)
    return groups


def read_list(path: str | Path) -> list[str]:
    """The clips of a list file, in its order; blank lines are skipped.

    Raises:
        UserError: missing, empty, a line that is not `<person>/<video>`, or one that occurs twice.
    """
    path = Path(path)
    try:
        lines = [line.strip() for line in read_lines(path)]
    except UserError as error:
        raise UserError(f"{error}; `python -m scripts_for_dataset.generate_split_file` makes lists of clips") from error
    clips = [line for line in lines if line]
    if not clips:
        raise UserError(f"{path}: the list is empty; put one <person>/<video> on each line")
    seen: set[str] = set()
    for number, clip in enumerate(lines, start=1):
        if clip and ("/" not in clip or {"", ".", ".."} & set(clip.split("/")) or not clip.isprintable()):
            raise UserError(f"{path}: line {number} is {clip[:60]!r}, not <person>/<video>")
        if clip and clip in seen:
            raise UserError(f"{path}: line {number} repeats {clip}; list each clip once")
        seen.add(clip)
    return clips


def write_list(path: str | Path, clips: Iterable[str]) -> None:
    """Write a list file, whole or not at all."""
    write_text(path, "".join(f"{clip}\n" for clip in clips))


def n_eval_persons(n_persons: int) -> int:
    """Persons for test, and as many for validation: 64, or in small sets 11 % and at least 1."""
    return max(1, min(_N_EVAL, round(n_persons * _N_EVAL / _N_PERSONS)))


def generate_split(clips: Iterable[str], seed: int = 0, n_eval: int | None = None) -> dict[str, list[str]]:
    """Split by person: of the shuffled persons the last `n_eval` are test, the `n_eval` before them validation.

    Args:
        clips: all clips, in any order (sorted here, so that the result depends on the set alone).
        n_eval: persons each for test and validation; None: `n_eval_persons`.

    Returns:
        'train', 'val' and 'test' -> clips.

    Raises:
        UserError: too few persons.
    """
    groups = group_by_person(sorted(clips))
    n_eval = n_eval_persons(len(groups)) if n_eval is None else n_eval
    if n_eval < 1 or len(groups) < 2 * n_eval + 1:
        raise UserError(
            f"split: {counted(len(groups), 'person is', 'persons are')} too few for {n_eval} each in test and "
            "validation and one to train on; add speakers or write the lists by hand"
        )
    names = list(groups)
    persons = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    parts = {"train": persons[: -2 * n_eval], "val": persons[-2 * n_eval : -n_eval], "test": persons[-n_eval:]}
    return {name: [clip for person in part for clip in groups[person]] for name, part in parts.items()}


def split_of(clip: str) -> str:
    """'train' (90 %), 'val' (5 %) or 'test' (5 %) by a hash of the clip's name, the same in every data set."""
    share = zlib.crc32(clip.encode()) % 100
    return "train" if share < 90 else "val" if share < 95 else "test"
