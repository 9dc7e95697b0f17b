"""Motion of one tracker with head shapes of another -> motion npz files: the first step of the published preparation.

    python -m scripts_for_dataset.combine_mica_and_spectre --spectre DIR --mica DIR --out DIR

Folders hold `<person>/<video>.npz` (any tracker's files that import_coefs reads). The shape is the one of the same
name, or else the person's first (`<person>.npy`, `<person>/identity.npy`). Outputs newer than their inputs stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scripts_for_dataset.preparing.batch import (
    ARRAYS,
    COEFS,
    DONE,
    SKIPPED,
    THERE,
    BatchFlags,
    Outcome,
    check_writable,
    find_clips,
    is_current,
    share_out,
    summarise,
    with_persons,
)
from scripts_for_dataset.preparing.preparation import Sources, Treatment, prepare_motion
from utils.atomic import check_apart
from utils.config import read_flags
from utils.errors import UserError, cli


@dataclass(frozen=True)
class Job:
    """One clip's input and output."""

    sources: Sources
    output: Path
    treatment: Treatment


def write_motion(job: Job) -> Outcome:
    """Runs in a worker. A problem with a clip becomes its outcome; an output that cannot be written ends the run.

    Raises:
        UserError: the output cannot be written, or the disk is full.
    """
    if is_current(job.output, job.sources.files):
        return Outcome(job.sources.clip, THERE)
    try:
        motion, notes = prepare_motion(job.sources, job.treatment)
    except UserError as error:
        return Outcome(job.sources.clip, SKIPPED, str(error))
    motion.save(job.output)
    return Outcome(job.sources.clip, DONE, notes=tuple(notes))


def write_all(jobs: list[Job], flags: BatchFlags, what: str) -> list[Outcome]:
    """Write the outputs that do not exist yet and log a summary. With --dry_run nothing is written.

    Raises:
        UserError: an output cannot be written or is a source, or no clip could be used at all.
    """
    check_apart((job.output for job in jobs), (file for job in jobs for file in job.sources.files))
    if flags.dry_run:
        there = [is_current(job.output, job.sources.files) for job in jobs]
        outcomes = [Outcome(job.sources.clip, THERE if old else "to do") for job, old in zip(jobs, there)]
    else:
        check_writable(flags.out)
        outcomes = share_out(write_motion, {job.sources.clip: job for job in jobs}, flags, flags.out, what)
    summarise(outcomes, str(flags.out))
    if outcomes and all(outcome.status == SKIPPED for outcome in outcomes):
        raise UserError(f"--out {flags.out}: no clip can be used; the first: {outcomes[0].reason}")
    return outcomes


@dataclass(frozen=True, kw_only=True)
class CombineFlags(BatchFlags):
    """All flags of the program."""

    spectre: Path
    """Folder of tracked motion."""
    mica: Path
    """Folder of head shapes."""
    out: Path
    """Folder of the combined npz."""


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(CombineFlags, argv, __doc__ or "")
    motions = find_clips(flags.spectre, COEFS, tracked=True, without=flags.out)
    shape_of = with_persons(find_clips(flags.mica, ARRAYS))
    treatment = Treatment(flags.files.options(), smooth=False)
    found = {clip: shape_of(clip) for clip in motions}
    jobs = [
        Job(Sources(clip, path, shape=found[clip]), flags.out / f"{clip}.npz", treatment)
        for clip, path in motions.items()
        if found[clip] is not None
    ]
    write_all(jobs, flags, "combining")
    summarise([Outcome(c, SKIPPED, "has no head shape") for c in motions if found[c] is None], "without a partner")


if __name__ == "__main__":
    main()
