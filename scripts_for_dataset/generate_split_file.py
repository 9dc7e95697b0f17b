"""Write `train.txt`, `val.txt` and `test.txt` of a data set, split by person.

python -m scripts_for_dataset.generate_split_file --data_root datasets/HDTF_TFHP/lmdb
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from datasets.clip_store import ClipStore
from datasets.splits import generate_split, group_by_person, write_list
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
    return parser.parse_args(argv)


@cli
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    parts = generate_split(ClipStore(args.data_root).clips(), args.seed, args.n_eval)
    present = [f"{name}.txt" for name in parts if (args.data_root / f"{name}.txt").exists()]
    if present and not args.overwrite:
        raise UserError(f"{args.data_root}: has {', '.join(present)} already; --overwrite replaces them")
    for name, clips in parts.items():
        write_list(args.data_root / f"{name}.txt", clips)
        log.info("%s.txt: %d clips of %d persons", name, len(clips), len(group_by_person(clips)))


if __name__ == "__main__":
    main()
