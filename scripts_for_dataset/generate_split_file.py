"""Write `train.txt`, `val.txt` and `test.txt` of a data set, split by person.

python -m scripts_for_dataset.generate_split_file --data_root datasets/HDTF_TFHP/lmdb
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from datasets.clip_store import ClipStore
from datasets.splits import generate_split, group_by_person, read_list, write_list
from utils.config import read_flags
from utils.errors import UserError, cli
from utils.reports.wording import counted

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SplitFlags:
    """All flags of the program."""

    data_root: Path
    """Folder with data.mdb; the lists go there."""
    n_eval: int | None = None
    """Persons each for val and test (default: 64, fewer in small sets)."""
    seed: int = 0
    """Seed of the shuffle."""
    overwrite: bool = False
    """Replace existing lists."""
    dry_run: bool = False
    """Say what would be written."""


def lists_are(folder: Path, parts: dict[str, list[str]]) -> bool:
    """Whether the lists exist with exactly these clips."""
    files = {folder / f"{name}.txt": clips for name, clips in parts.items()}
    return all(path.is_file() and clips and read_list(path) == clips for path, clips in files.items())


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(SplitFlags, argv, "Split a data set by person.")
    parts = generate_split(ClipStore(flags.data_root).clips(), flags.seed, flags.n_eval)
    if lists_are(flags.data_root, parts):
        log.info("%s: its lists are up to date", flags.data_root)
        return
    present = [f"{name}.txt" for name in parts if (flags.data_root / f"{name}.txt").exists()]
    if present and not (flags.overwrite or flags.dry_run):
        raise UserError(f"{flags.data_root}: has {', '.join(present)} already; --overwrite replaces them")
    for name, clips in parts.items():
        if not flags.dry_run:
            write_list(flags.data_root / f"{name}.txt", clips)
        log.info("%s.txt: %s of %s", name, counted(len(clips), "clip"), counted(len(group_by_person(clips)), "person"))


if __name__ == "__main__":
    main()
