"""Several data sets -> one to train on: all clips, the lists joined, statistics of all training clips.

    python -m scripts_for_dataset.merge_datasets data/synthetic data/people -o data/both

A data set's share of training is its share of the listed clips; make it with more or fewer hours for another share.
Clips are copied as they are. An interrupted run continues when the same command is given again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from datasets.clip_store import ClipStore
from datasets.splits import SPLITS, read_list, write_list
from scripts_for_dataset.preparing.conversion import Converted, convert
from scripts_for_dataset.preparing.record import remember
from scripts_for_dataset.synthetic.statistics import write_wide_stats
from utils.config import check_least, positional, read_flags, required
from utils.errors import UserError, cli
from utils.speech import PHONES_FILE, read_phones, write_phones

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class MergeFlags:
    """All flags of the program."""

    sources: tuple[Path, ...] = positional(metavar="LMDB")
    """Data sets with train.txt, val.txt and test.txt; their coefficients must belong to the same head."""
    output: Path = required("-o")
    """Folder of the merged data set."""
    seed: int = 0
    """Seed of the statistics."""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        check_least(self, seed=0)


def lists_of(source: Path) -> dict[str, list[str]]:
    """Split -> clips; a split without a list, or with an empty one, has none.

    Raises:
        UserError: a list that cannot be read, or no training list.
    """
    paths = {split: source / f"{split}.txt" for split in SPLITS}
    found = {split: read_list(path) if path.is_file() and path.stat().st_size else [] for split, path in paths.items()}
    if not found["train"]:
        raise UserError(f"{paths['train']}: missing or empty; make lists with scripts_for_dataset.generate_split_file")
    return found


def merge(flags: MergeFlags) -> None:
    """Write clips, lists, phone times and statistics into flags.output.

    Raises:
        UserError: a damaged source, a clip's name in two of them, or segments of different length.
    """
    if len(flags.sources) < 2:
        raise UserError(f"LMDB: {len(flags.sources)} data set given; name two or more to merge")
    lists = {source: lists_of(source) for source in flags.sources}
    stores = {source: ClipStore(source) for source in flags.sources}
    owner: dict[str, Path] = {}
    for source, splits in lists.items():
        for clip in (clip for clips in splits.values() for clip in clips):
            if clip in owner:
                raise UserError(f"{source}: {clip} is in {owner[clip]} as well; rename it in one of them")
            owner[clip] = source
    if flags.output.resolve() in [store.path for store in stores.values()]:
        raise UserError(f"--output {flags.output}: is one of the data sets; choose another folder")
    remember(flags.output, {"sources": [str(source) for source in flags.sources], "seed": flags.seed})
    for source, splits in lists.items():
        clips = [clip for split in SPLITS for clip in splits[split]]
        for result in tqdm(convert(stores[source], flags.output, clips), str(source), len(clips), unit="clip"):
            _refuse_damage(result)
    for split in SPLITS:
        write_list(flags.output / f"{split}.txt", [clip for splits in lists.values() for clip in splits[split]])
    phones = [read_phones(source / PHONES_FILE) for source in flags.sources if (source / PHONES_FILE).is_file()]
    if phones:
        write_phones(flags.output / PHONES_FILE, {clip: own for part in phones for clip, own in part.items()})
    write_wide_stats(flags.output, [clip for splits in lists.values() for clip in splits["train"]], flags.seed)
    log.info("%s: %s", flags.output, ", ".join(f"{sum(len(s[k]) for s in lists.values())} {k}" for k in SPLITS))


def _refuse_damage(result: Converted) -> None:
    if result.problem:
        raise UserError(f"{result.problem}; take {result.clip} out of its list")


@cli
def main(argv: list[str] | None = None) -> None:
    merge(read_flags(MergeFlags, argv, __doc__ or ""))


if __name__ == "__main__":
    main()
