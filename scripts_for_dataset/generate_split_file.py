"""Write `train.txt`, `val.txt` and `test.txt` of a data set, split by person.

python -m scripts_for_dataset.generate_split_file --data_root datasets/HDTF_TFHP/lmdb
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from datasets.clip_store import ClipStore
from datasets.splits import generate_split, group_by_person, read_list, write_list
from utils.errors import UserError, cli

log = logging.getLogger(__name__)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Split a data set by person.", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data_root", type=Path, required=True, help="folder with data.mdb; the lists go there")
    parser.add_argument("--n_eval", type=int, help="persons each for val and test; without it 64, fewer in small sets")
    parser.add_argument("--seed", type=int, default=0, help="of the shuffle")
    parser.add_argument("--overwrite", action="store_true", help="replace lists that are there")
    parser.add_argument("--dry_run", action="store_true", help="say what would be written")
    return parser.parse_args(argv)


def lists_are(folder: Path, parts: dict[str, list[str]]) -> bool:
    """Whether the lists are there, with just these clips."""
    files = {folder / f"{name}.txt": clips for name, clips in parts.items()}
    return all(path.is_file() and clips and read_list(path) == clips for path, clips in files.items())


@cli
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    parts = generate_split(ClipStore(args.data_root).clips(), args.seed, args.n_eval)
    if lists_are(args.data_root, parts):
        log.info("%s: its lists are these already", args.data_root)
        return
    present = [f"{name}.txt" for name in parts if (args.data_root / f"{name}.txt").exists()]
    if present and not (args.overwrite or args.dry_run):
        raise UserError(f"{args.data_root}: has {', '.join(present)} already; --overwrite replaces them")
    for name, clips in parts.items():
        if not args.dry_run:
            write_list(args.data_root / f"{name}.txt", clips)
        log.info("%s.txt: %d clips of %d persons", name, len(clips), len(group_by_person(clips)))


if __name__ == "__main__":
    main()
