"""Trackers' files and audio -> a data set that training takes: LMDB, lists, statistics, in one command.

    python -m scripts_for_dataset.prepare_dataset --coefs DIR --audio DIR --out LMDB_FOLDER [--shapes DIR]

Coefficients: `<person>/<video>` as a file or folder of any tracker that import_coefs reads. Audio: the same names, any
format. A run that was cut off continues when the same command is given again. LMDB_FOLDER/preparation.json says of
every clip whether it was taken, why not, and what was remarkable.
"""

from __future__ import annotations

import argparse
import logging
import shlex
from pathlib import Path

from scripts_for_dataset.make_combined_dataset import add_build_flags, check_build_flags
from scripts_for_dataset.preparing.batch import ARRAYS, AUDIO, COEFS, SKIPPED, Outcome, find_clips, of_person
from scripts_for_dataset.preparing.building import Job, build, pair_up, with_extras, write_lists, write_stats
from scripts_for_dataset.preparing.preparation import Sources, Treatment
from utils.config import UserParser
from utils.errors import cli
from utils.trackers.flags import import_options

log = logging.getLogger(__name__)


def make_parser() -> UserParser:
    parser = UserParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_build_flags(parser)
    group = parser.add_argument_group("preparation")
    add = group.add_argument
    add("--shapes", type=Path, help="folder of head shapes (MICA), per clip or per person")
    add("--rotations", type=Path, help="folder of head rotations (6DRepNet) that replace the tracker's")
    add("--no_smooth", action="store_true", help="without the published Savitzky-Golay filters")
    add("--n_eval", type=int, help="persons each for val and test (default: 64, fewer in small sets)")
    add("--seed", type=int, default=0, help="of the split and the statistics (default: 0)")
    return parser


def find_sources(args: argparse.Namespace) -> tuple[list[Sources], list[Outcome]]:
    """Clips with all their files, and those that lack one.

    Raises:
        UserError: a folder is missing or empty, or no clip has both coefficients and audio.
    """
    clips, alone = pair_up(find_clips(args.coefs, COEFS, tracked=True), find_clips(args.audio, AUDIO))
    shapes = find_clips(args.shapes, ARRAYS) if args.shapes else {}
    rotations = find_clips(args.rotations, ARRAYS) if args.rotations else {}
    complete = []
    for sources in clips:
        shape, rotation = of_person(sources.clip, shapes), rotations.get(sources.clip)
        wanted = (("head shape", shapes, shape), ("head rotations", rotations, rotation))
        lacking = [name for name, folder, found in wanted if folder and found is None]
        if lacking:
            alone.append(Outcome(sources.clip, SKIPPED, f"has no {' and no '.join(lacking)}"))
        else:
            complete.append(with_extras(sources, shape, rotation))
    return complete, alone


@cli
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    check_build_flags(args)
    clips, alone = find_sources(args)
    treatment = Treatment(import_options(args), not args.no_smooth, args.max_mismatch)
    build([Job(sources, treatment) for sources in clips], alone, args)
    if args.dry_run:
        return
    changed = write_lists(args.out, args.seed, args.n_eval)
    if changed or not (args.out / "stats_train.npz").is_file():
        write_stats(args.out, args.seed)
    log.info("%s is ready: main_se.py --data_root %s", args.out, shlex.quote(str(args.out)))


if __name__ == "__main__":
    main()
