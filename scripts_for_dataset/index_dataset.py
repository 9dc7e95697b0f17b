"""Data sets -> their index: with it training starts in seconds, in little memory, on millions of clips.

    python -m scripts_for_dataset.index_dataset LMDB_FOLDER [LMDB_FOLDER ...]

Writes `index.npy` (names, lengths, lists) into each folder. An index that is older than its data set or lists is not
used; give the command again after changes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from datasets.sources.clip_index import INDEX, write_index
from utils.config import positional, read_flags
from utils.errors import cli
from utils.reports.wording import counted

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IndexFlags:
    """All flags of the program."""

    sources: tuple[Path, ...] = positional(metavar="LMDB_FOLDER")
    """Data sets."""


@cli
def main(argv: list[str] | None = None) -> None:
    for folder in read_flags(IndexFlags, argv, __doc__ or "").sources:
        log.info("%s: %s", folder / INDEX, counted(write_index(folder), "clip"))


if __name__ == "__main__":
    main()
