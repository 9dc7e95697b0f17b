"""A published LMDB (pickled values) -> the safe encoding: faster to read, and nothing in it can be executed.

    python -m scripts_for_dataset.convert_dataset datasets/HDTF_TFHP/lmdb datasets/HDTF_TFHP/safe

Every value is decoded again and compared before it is written, and once more from the finished file. Lists and
statistics are checked and copied. An interrupted run continues when the same command is given again; the original
is not changed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from datasets.clip_store import ClipStore
from datasets.conversion import Converted, convert, verify
from datasets.splits import SPLITS, read_list, write_list
from scripts_for_dataset.preparing.batch import DONE, SKIPPED, THERE, Outcome, check_writable, summarise
from utils.atomic import check_output
from utils.coefs import CoefStats
from utils.config import positional, read_flags
from utils.errors import UserError, cli

log = logging.getLogger(__name__)
STATS = "stats_train.npz"


@dataclass(frozen=True)
class ConvertFlags:
    """All flags of the program."""

    source: Path = positional(metavar="LMDB")
    """The published data set's folder."""
    output: Path = positional(metavar="OUT")
    """Folder of the converted data set."""
    dry_run: bool = False
    """Say what would be done; write nothing."""


def copy_lists(source: Path, target: Path, converted: set[str]) -> None:
    """Split lists without the clips that were left out, and the statistics; missing ones stay missing."""
    for name in (f"{split}.txt" for split in SPLITS):
        if (source / name).is_file():
            clips = read_list(source / name)
            kept = [clip for clip in clips if clip in converted]
            write_list(target / name, kept)
            log.info(
                "%s: %d clips%s", name, len(kept), f" ({len(clips) - len(kept)} left out)" if kept != clips else ""
            )
    if (source / STATS).is_file():
        CoefStats.load(source / STATS).save(target / STATS)


def to_outcome(result: Converted) -> Outcome:
    status = SKIPPED if result.problem else THERE if result.there else DONE
    return Outcome(result.clip, status, result.problem)


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(ConvertFlags, argv, __doc__ or "")
    source = ClipStore(flags.source)
    clips = source.clips()
    if flags.output.resolve() == source.path:
        raise UserError(f"{flags.output}: is the data set itself; choose another folder")
    if flags.dry_run:
        there = ClipStore(flags.output, unfinished=True) if (flags.output / "data.mdb").is_file() else ()
        summarise([Outcome(c, THERE if c in there else "to do") for c in clips], f"{flags.output} (dry run)")
        return
    check_writable(flags.output)
    if not (flags.output / "data.mdb").exists():
        check_output(flags.output / "data.mdb", (flags.source / "data.mdb").stat().st_size)
    outcomes = [
        to_outcome(r) for r in tqdm(convert(source, flags.output, clips), "converting", len(clips), unit="clip")
    ]
    target = ClipStore(flags.output)
    kept = [outcome.clip for outcome in outcomes if outcome.status != SKIPPED]
    for clip in tqdm(kept, desc="comparing", unit="clip"):
        verify(source, target, clip)
    copy_lists(flags.source, flags.output, set(kept))
    summarise(outcomes, str(flags.output))
    log.info("%s: all values of %d clips are equal to the original's", flags.output, len(kept))


if __name__ == "__main__":
    main()
