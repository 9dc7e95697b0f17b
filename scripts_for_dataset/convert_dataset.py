"""A published LMDB (pickled values) -> the safe encoding: faster to read, and nothing in it can be executed.

    python -m scripts_for_dataset.convert_dataset datasets/HDTF_TFHP/lmdb datasets/HDTF_TFHP/safe

Every value is decoded again and compared before it is written, and once more from the finished file. Lists and
statistics are checked and copied. An interrupted run continues when the same command is given again; the original
is not changed. Processes and machines share the work with --shard I/N (docs/scale.md).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from datasets.clip_store import ClipStore
from datasets.splits import SPLITS, read_list, write_list
from scripts_for_dataset.preparing.batch import DONE, SKIPPED, THERE, Outcome, check_writable, run_all, summarise
from scripts_for_dataset.preparing.conversion import Converted, convert, converted, verify
from utils.atomic import check_output
from utils.coefs import CoefStats
from utils.config import positional, read_flags
from utils.errors import UserError, cli
from utils.reports.wording import counted
from utils.runs.shards import FinishedPart, SharedWork, WorkFlags, settings_of

log = logging.getLogger(__name__)
STATS = "stats_train.npz"


@dataclass(frozen=True, kw_only=True)
class ConvertFlags:
    """All flags of the program."""

    source: Path = positional(metavar="LMDB")
    """The published data set's folder."""
    output: Path = positional(metavar="OUT")
    """Folder of the converted data set."""
    dry_run: bool = False
    """Say what would be done; write nothing."""
    work: WorkFlags = WorkFlags()
    """sharing the work"""


def copy_lists(source: Path, target: Path, converted: set[str]) -> None:
    """Split lists without the clips that were left out, and the statistics; missing ones stay missing."""
    for name in (f"{split}.txt" for split in SPLITS):
        if (source / name).is_file():
            clips = read_list(source / name)
            kept = [clip for clip in clips if clip in converted]
            write_list(target / name, kept)
            left = f" ({len(clips) - len(kept)} left out)" if kept != clips else ""
            log.info("%s: %s%s", name, counted(len(kept), "clip"), left)
    if (source / STATS).is_file():
        CoefStats.load(source / STATS).save(target / STATS)


def to_outcome(result: Converted) -> Outcome:
    status = SKIPPED if result.problem else THERE if result.there else DONE
    return Outcome(result.clip, status, result.problem)


def encode_one(job: tuple[Path, str]) -> Converted:
    """Runs in a worker."""
    path, clip = job
    return converted(ClipStore(path), clip)


def encode_here(source: ClipStore, workers: int | None, clips: list[str]) -> Iterator[Converted]:
    """The clips' values, from this machine's processes."""
    return run_all(encode_one, [(source.path, clip) for clip in clips], workers, "converting")


def merged(parts: list[FinishedPart], clips: list[str]) -> Iterator[Converted]:
    """The clips' values, from parts that are done."""
    problems = {clip: problem for part in parts for clip, problem in part.results.items()}
    owners = {clip: store for store in (ClipStore(part.folder) for part in parts) for clip in store.clips()}
    for clip in tqdm(clips, "merging", unit="clip"):
        problem = problems.get(clip, "")
        yield Converted(clip, {} if problem else owners[clip].values(clip), problem)


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
    here = partial(encode_here, source, flags.work.workers)
    size = {"bytes of data.mdb": (flags.source / "data.mdb").stat().st_size}
    shard, work = flags.work.part(), SharedWork(flags.output, clips, settings_of(flags) | size)
    if shard is not None:

        def do(folder: Path) -> dict[str, str]:
            results = convert(source, folder, shard.of(clips), here, may_be_empty=True)
            return {result.clip: result.problem for result in results if result.problem}

        work.do_part(shard, do)
        return
    parts = work.finished()
    outcomes = [to_outcome(r) for r in convert(source, flags.output, clips, partial(merged, parts) if parts else here)]
    target = ClipStore(flags.output)
    kept = [outcome.clip for outcome in outcomes if outcome.status != SKIPPED]
    for clip in tqdm(kept, desc="comparing", unit="clip"):
        verify(source, target, clip)
    copy_lists(flags.source, flags.output, set(kept))
    work.remove()
    summarise(outcomes, str(flags.output))
    log.info("%s: all values of %s are equal to the original's", flags.output, counted(len(kept), "clip"))


if __name__ == "__main__":
    main()
