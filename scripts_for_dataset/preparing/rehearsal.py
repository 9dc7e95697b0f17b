"""The dry run of building a data set: clips are read and encoded, and nothing is written."""

from __future__ import annotations

import logging
from pathlib import Path

from datasets.clip_encoding import decode_count
from datasets.clip_store import ClipStore
from utils.atomic import check_output
from utils.reports.wording import counted
from utils.timebase import FPS

log = logging.getLogger(__name__)
PAGE = 4096  # bytes; LMDB rounds large values up to pages


class Rehearsal:
    """Stands for the `ClipWriter` of a dry run: it adds up what would be written."""

    def __init__(self, out: Path) -> None:
        self.out, self.bytes = out, 0
        self.there = lengths_of(ClipStore(out, unfinished=True)) if (out / "data.mdb").is_file() else {}
        self.added: dict[str, int] = {}

    def __contains__(self, clip: str) -> bool:
        return clip in self.there

    def __enter__(self) -> Rehearsal:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def add_encoded(self, clip: str, values: dict[str, bytes]) -> None:
        """Count a clip."""
        self.added[clip] = decode_count(values[f"{clip}/metadata"], "n_frames", clip)
        self.bytes += sum(-(-len(value) // PAGE) * PAGE for value in values.values())

    def result(self) -> dict[str, int]:
        """Say what would be written; clips and frames of the whole data set.

        Raises:
            UserError: the disk is too full for it.
        """
        seconds = [frames / FPS for frames in self.added.values()]
        if seconds:
            log.info("%s (dry run): %s of %.1f to %.1f s, %.2f h in all, would take about %.1f MB", self.out,
                     counted(len(seconds), "clip"), min(seconds), max(seconds), sum(seconds) / 3600,
                     self.bytes / 1e6)  # fmt: skip
        check_output(self.out / "data.mdb", self.bytes)
        return dict(sorted({**self.there, **self.added}.items()))


def lengths_of(store: ClipStore) -> dict[str, int]:
    """The clips of a data set, with their frames."""
    return {clip: store.n_frames(clip) for clip in sorted(store.clips())}
