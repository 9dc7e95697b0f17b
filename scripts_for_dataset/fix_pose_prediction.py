"""Jaw that only opens, other head rotations, filters: the second step of the published preparation.

    python -m scripts_for_dataset.fix_pose_prediction --coefs DIR --rotations DIR --out DIR

Folders hold `<person>/<video>.npz`; rotations are (T, 3, 3) matrices (6DRepNet's), npy or npz, at 25 fps. Without
--rotations the head keeps the tracker's. Savitzky-Golay filters of order 2: 5 frames on expressions and jaw, 7 on the
head; --no_smooth leaves them out. What is there and newer stays.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from scripts_for_dataset.combine_mica_and_spectre import Job, write_all
from scripts_for_dataset.preparing.batch import (
    ARRAYS,
    COEFS,
    SKIPPED,
    Outcome,
    add_batch_flags,
    find_clips,
    summarise,
)
from scripts_for_dataset.preparing.preparation import Sources, Treatment
from utils.config import UserParser
from utils.errors import cli
from utils.trackers.flags import add_import_flags, import_options


def make_parser() -> UserParser:
    parser = UserParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--coefs", type=Path, required=True, help="folder of motion npz (or any tracker's files)")
    add("--rotations", type=Path, help="folder of head rotations")
    add("--out", type=Path, required=True, help="folder of the corrected npz")
    add("--no_smooth", action="store_true", help="no filters")
    add_batch_flags(parser)
    add_import_flags(parser)
    return parser


@cli
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    motions = find_clips(args.coefs, COEFS, tracked=True)
    rotations = find_clips(args.rotations, ARRAYS) if args.rotations else dict.fromkeys(motions)
    treatment = Treatment(import_options(args), smooth=not args.no_smooth)
    jobs = [
        Job(Sources(clip, path, rotations=rotations[clip]), args.out / f"{clip}.npz", treatment)
        for clip, path in motions.items()
        if clip in rotations
    ]
    write_all(jobs, args, "correcting")
    summarise(
        [Outcome(c, SKIPPED, "has no head rotations") for c in motions if c not in rotations], "without a partner"
    )


if __name__ == "__main__":
    main()
