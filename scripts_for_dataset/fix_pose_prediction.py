"""Jaw that only opens, other head rotations, filters: the second step of the published preparation.

    python -m scripts_for_dataset.fix_pose_prediction --coefs DIR --rotations DIR --out DIR

Folders hold `<person>/<video>.npz`; rotations are (T, 3, 3) matrices (6DRepNet's), npy or npz, at 25 fps. Without
--rotations the head keeps the tracker's. Savitzky-Golay filters of order 2: 5 frames on expressions and jaw, 7 on the
head; --no_smooth leaves them out. Outputs newer than their inputs stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scripts_for_dataset.combine_mica_and_spectre import Job, write_all
from scripts_for_dataset.preparing.batch import ARRAYS, COEFS, SKIPPED, BatchFlags, Outcome, find_clips, summarise
from scripts_for_dataset.preparing.preparation import Sources, Treatment
from utils.config import read_flags
from utils.errors import cli


@dataclass(frozen=True, kw_only=True)
class FixFlags(BatchFlags):
    """All flags of the program."""

    coefs: Path
    """Folder of motion npz (or any tracker's files)."""
    rotations: Path | None = None
    """Folder of head rotations."""
    out: Path
    """Folder of the corrected npz."""
    no_smooth: bool = False
    """Leave the filters out."""


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(FixFlags, argv, __doc__ or "")
    motions = find_clips(flags.coefs, COEFS, tracked=True, without=flags.out)
    rotations = find_clips(flags.rotations, ARRAYS) if flags.rotations else dict.fromkeys(motions)
    treatment = Treatment(flags.files.options(), smooth=not flags.no_smooth)
    jobs = [
        Job(Sources(clip, path, rotations=rotations[clip]), flags.out / f"{clip}.npz", treatment)
        for clip, path in motions.items()
        if clip in rotations
    ]
    write_all(jobs, flags, "correcting")
    summarise(
        [Outcome(c, SKIPPED, "has no head rotations") for c in motions if c not in rotations], "without a partner"
    )


if __name__ == "__main__":
    main()
