"""Motion npz and audio -> LMDB data set: the third step of the published preparation.

    python -m scripts_for_dataset.make_combined_dataset --coefs DIR --audio DIR --out LMDB_FOLDER

Folders hold `<person>/<video>.npz` and `<person>/<video>.*` with sound (any format, any rate). A run that was cut off
continues when the same command is given again; clips that are there are not done twice. Then follow
generate_split_file and calc_stats_random_sample; prepare_dataset does all in one go.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from scripts_for_dataset.preparing.batch import AUDIO, COEFS, add_batch_flags, find_clips
from scripts_for_dataset.preparing.building import Job, build, pair_up
from scripts_for_dataset.preparing.preparation import Treatment
from utils.config import UserParser
from utils.errors import UserError, cli
from utils.trackers.flags import add_import_flags, import_options


def add_build_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--coefs", type=Path, required=True, help="folder of coefficients")
    add("--audio", type=Path, required=True, help="folder of audio (or video) files")
    add("--out", type=Path, required=True, help="folder of the data set")
    add("--max_mismatch", type=float, default=0.5, help="seconds that audio and motion may differ (default: 0.5)")
    add_batch_flags(parser)
    add_import_flags(parser)


def check_build_flags(args: argparse.Namespace) -> None:
    if not 0 <= args.max_mismatch < 1e6:
        raise UserError(f"--max_mismatch {args.max_mismatch:g}: must not be negative")


def make_parser() -> UserParser:
    parser = UserParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_build_flags(parser)
    return parser


@cli
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    check_build_flags(args)
    coefs, audio = find_clips(args.coefs, COEFS, tracked=True), find_clips(args.audio, AUDIO)
    clips, alone = pair_up(coefs, audio)
    treatment = Treatment(import_options(args), smooth=False, max_mismatch=args.max_mismatch)
    build([Job(sources, treatment) for sources in clips], alone, args)


if __name__ == "__main__":
    main()
