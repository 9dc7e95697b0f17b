"""Compute `stats_train.npz`, the normalisation statistics of a data set, from random crops of its training clips.

python -m scripts_for_dataset.calc_stats_random_sample --data_root datasets/HDTF_TFHP/lmdb
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from datasets.clip_store import ClipStore
from datasets.statistics import random_crop_stats
from utils.atomic import check_apart
from utils.config import check_least, flag, read_flags
from utils.errors import cli
from utils.reports.wording import counted

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StatsFlags:
    """All flags of the program."""

    data_root: Path
    """Folder with data.mdb."""
    list: Path | None = None
    """List of the clips to use (default: DATA_ROOT/train.txt)."""
    output: Path | None = flag(None, "-o")
    """The npz to write (default: DATA_ROOT/stats_train.npz)."""
    n_motions: int = 100
    """Frames per crop."""
    rounds: int = 100
    """Crops per clip."""
    seed: int = 0
    """Seed of the crops."""
    dry_run: bool = False
    """Say what would be done; write nothing."""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        check_least(self, n_motions=1, rounds=1)


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(StatsFlags, argv, "Mean and standard deviation of the FLAME coefficients over random crops.")
    store = ClipStore(flags.data_root)
    clips = store.clips(flags.list or flags.data_root / "train.txt")
    output = flags.output or flags.data_root / "stats_train.npz"
    check_apart([output.with_suffix(".npz")], [flags.list])
    crops = f"{counted(len(clips), 'clip')}, {counted(flags.rounds, 'crop')} each"
    if flags.dry_run:
        log.info("%s: to do, from %s", output.with_suffix(".npz"), crops)
        return
    stats = random_crop_stats(store, clips, flags.n_motions, flags.rounds, flags.seed, progress=True)
    stats.save(output.with_suffix(".npz"))
    log.info("%s: %s", output.with_suffix(".npz"), crops)


if __name__ == "__main__":
    main()
