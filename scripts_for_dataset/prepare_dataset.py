"""Trackers' files and audio -> a data set that training takes: LMDB, lists, statistics, in one command.

    python -m scripts_for_dataset.prepare_dataset --coefs DIR --audio DIR --out LMDB_FOLDER [--shapes DIR]

Coefficients: `<person>/<video>` as a file or folder of any tracker that import_coefs reads. Audio: the same names, any
format. An interrupted run continues when the same command is given again. LMDB_FOLDER/preparation.json lists for
every clip whether it was used, why not, and remarks. --dry_run reads every clip and says the same without writing.
Several processes or machines share the work with --shard I/N, or when torchrun or srun starts them; then the same
command without it merges what they made (docs/scale.md).
"""

from __future__ import annotations

import logging
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from datasets.splits import write_list
from scripts_for_dataset.preparing.batch import ARRAYS, AUDIO, COEFS, SKIPPED, Outcome, find_clips, with_persons
from scripts_for_dataset.preparing.building import (
    STATS_FRAMES,
    TRAINED_FRAMES,
    BuildFlags,
    Job,
    build,
    lists_cover,
    pair_up,
    split_clips,
    write_stats,
)
from scripts_for_dataset.preparing.preparation import Sources, Treatment
from utils.config import read_flags
from utils.errors import cli

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparationFlags:
    """What is done to the clips, and how they are split."""

    shapes: Path | None = None
    """Folder of head shapes (MICA), per clip or per person."""
    rotations: Path | None = None
    """Folder of head rotations (6DRepNet) that replace the tracker's."""
    no_smooth: bool = False
    """Leave out the published Savitzky-Golay filters."""
    n_eval: int | None = None
    """Persons each for val and test (default: 64, fewer in small sets)."""
    seed: int = 0
    """Seed of the split and the statistics."""


@dataclass(frozen=True, kw_only=True)
class PrepareFlags(BuildFlags):
    """All flags of the program."""

    preparation: PreparationFlags
    """preparation"""


def find_sources(flags: PrepareFlags) -> tuple[list[Sources], list[Outcome]]:
    """Clips with all their files, and those that lack one.

    Raises:
        UserError: a folder is missing or empty, or no clip has both coefficients and audio.
    """
    coefs = find_clips(flags.coefs, COEFS, tracked=True, without=flags.out)
    clips, alone = pair_up(coefs, find_clips(flags.audio, AUDIO))
    shapes = find_clips(flags.preparation.shapes, ARRAYS) if flags.preparation.shapes else {}
    shape_of = with_persons(shapes)
    rotations = find_clips(flags.preparation.rotations, ARRAYS) if flags.preparation.rotations else {}
    complete = []
    for sources in clips:
        shape, rotation = shape_of(sources.clip), rotations.get(sources.clip)
        wanted = (("head shape", shapes, shape), ("head rotations", rotations, rotation))
        lacking = [name for name, folder, found in wanted if folder and found is None]
        if lacking:
            alone.append(Outcome(sources.clip, SKIPPED, f"has no {' and no '.join(lacking)}"))
        else:
            complete.append(replace(sources, shape=shape, rotations=rotation))
    return complete, alone


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(PrepareFlags, argv, __doc__ or "")
    clips, alone = find_sources(flags)
    treatment = Treatment(flags.files.options(), not flags.preparation.no_smooth, flags.max_mismatch,
                          flags.audio_track)  # fmt: skip
    lengths = build([Job(sources, treatment) for sources in clips], alone, flags)
    if not lengths:
        return
    longest = max(lengths.values())
    out, name = str(flags.out), re.sub(r"[^\w.+=-]+", "_", flags.out.resolve().name)
    if longest < TRAINED_FRAMES:
        joined = ["--data", out, "--output", f"{out}_people"]
        log.warning("%s: no clip has the %d frames that training takes; join them: python -m "
                    "scripts_for_dataset.make_people_dataset %s", out, TRAINED_FRAMES, shlex.join(joined))  # fmt: skip
    if longest < STATS_FRAMES:
        return
    covered = lists_cover(flags.out, lengths)
    parts = {} if covered else split_clips(list(lengths), flags.preparation.seed, flags.preparation.n_eval)
    if flags.dry_run:
        return
    for split, part in parts.items():
        write_list(flags.out / f"{split}.txt", part)
    if not covered or not (flags.out / "stats_train.npz").is_file():
        write_stats(flags.out, flags.preparation.seed)
    log.info("%s is ready: python main_se.py --exp_name %s --data_root %s", out, name, shlex.quote(out))


if __name__ == "__main__":
    main()
