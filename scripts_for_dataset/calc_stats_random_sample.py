"""Compute `stats_train.npz`, the normalisation statistics of a data set, from random crops of its training clips.

python -m scripts_for_dataset.calc_stats_random_sample --data_root datasets/HDTF_TFHP/lmdb
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np

from datasets.clip_store import ClipStore
from datasets.statistics import random_crop_stats
from utils.atomic import atomic_path
from utils.errors import UserError, cli

log = logging.getLogger(__name__)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Mean and standard deviation of the FLAME coefficients over random crops.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--data_root", type=Path, required=True, help="folder with data.mdb")
    parser.add_argument("--list", type=Path, help="clips to use; without it DATA_ROOT/train.txt")
    parser.add_argument("-o", "--output", type=Path, help="without it DATA_ROOT/stats_train.npz")
    parser.add_argument("--n_motions", type=int, default=100, help="frames per crop")
    parser.add_argument("--rounds", type=int, default=100, help="crops per clip")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dry_run", action="store_true", help="say what would be done")
    args = parser.parse_args(argv)
    for name in ("n_motions", "rounds"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name} {getattr(args, name)}: must be at least 1")
    return args


@cli
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    store = ClipStore(args.data_root)
    clips = store.clips(args.list or args.data_root / "train.txt")
    output = args.output or args.data_root / "stats_train.npz"
    if args.dry_run:
        log.info("%s: to do, from %d clips, %d crops each", output.with_suffix(".npz"), len(clips), args.rounds)
        return
    stats = random_crop_stats(store, clips, args.n_motions, args.rounds, args.seed, progress=True)
    with atomic_path(output.with_suffix(".npz")) as temporary:
        np.savez(temporary, **{name: values.numpy() for name, values in stats.to_dict().items()})
    log.info("%s: %d clips, %d crops each", output.with_suffix(".npz"), len(clips), args.rounds)


if __name__ == "__main__":
    main()
