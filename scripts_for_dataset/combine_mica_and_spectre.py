"""Motion of one tracker with head shapes of another -> motion npz files: the first step of the published preparation.

    python -m scripts_for_dataset.combine_mica_and_spectre --spectre DIR --mica DIR --out DIR

Folders hold `<person>/<video>.npz` (any tracker's files that import_coefs reads). The shape is the one of the same
name, or else the person's first (`<person>.npy`, `<person>/identity.npy`). What is there and newer stays.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from scripts_for_dataset.preparing.batch import (
    ARRAYS,
    COEFS,
    DONE,
    SKIPPED,
    THERE,
    Outcome,
    add_batch_flags,
    check_writable,
    find_clips,
    is_current,
    of_person,
    run_all,
    summarise,
)
from scripts_for_dataset.preparing.preparation import Sources, Treatment, prepare_motion
from utils.config import UserParser
from utils.errors import UserError, cli
from utils.trackers.flags import add_import_flags, import_options


@dataclass(frozen=True)
class Job:
    """One clip's input and output."""

    sources: Sources
    output: Path
    treatment: Treatment


def write_motion(job: Job) -> Outcome:
    """Runs in a worker. What is wrong with a clip is its outcome; an output that cannot be written ends all.

    Raises:
        UserError: the output cannot be written, or the disk is full.
    """
    try:
        motion, notes = prepare_motion(job.sources, job.treatment)
    except UserError as error:
        return Outcome(job.sources.clip, SKIPPED, str(error))
    motion.save(job.output)
    return Outcome(job.sources.clip, DONE, notes=tuple(notes))


def write_all(jobs: list[Job], args: argparse.Namespace, what: str) -> list[Outcome]:
    """Write what is not there yet; a summary in the log. With --dry_run nothing is written.

    Raises:
        UserError: an output cannot be written, or no clip could be used at all.
    """
    fresh = [job for job in jobs if not is_current(job.output, job.sources.files)]
    outcomes = [Outcome(job.sources.clip, THERE) for job in jobs if job not in fresh]
    if args.dry_run:
        outcomes += [Outcome(job.sources.clip, "to do") for job in fresh]
    else:
        check_writable(args.out)
        outcomes += list(run_all(write_motion, fresh, args.workers, what))
    summarise(outcomes, str(args.out))
    if outcomes and all(outcome.status == SKIPPED for outcome in outcomes):
        raise UserError(f"--out {args.out}: no clip can be used; the first: {outcomes[0].reason}")
    return outcomes


def make_parser() -> UserParser:
    parser = UserParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--spectre", type=Path, required=True, help="folder of tracked motion")
    add("--mica", type=Path, required=True, help="folder of head shapes")
    add("--out", type=Path, required=True, help="folder of the combined npz")
    add_batch_flags(parser)
    add_import_flags(parser)
    return parser


@cli
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    motions, shapes = find_clips(args.spectre, COEFS, tracked=True), find_clips(args.mica, ARRAYS)
    treatment = Treatment(import_options(args), smooth=False)
    found = {clip: of_person(clip, shapes) for clip in motions}
    jobs = [
        Job(Sources(clip, path, shape=found[clip]), args.out / f"{clip}.npz", treatment)
        for clip, path in motions.items()
        if found[clip] is not None
    ]
    write_all(jobs, args, "combining")
    summarise([Outcome(c, SKIPPED, "has no head shape") for c in motions if found[c] is None], "without a partner")


if __name__ == "__main__":
    main()
