"""Motion npz and audio -> LMDB data set: the third step of the published preparation.

    python -m scripts_for_dataset.make_combined_dataset --coefs DIR --audio DIR --out LMDB_FOLDER

Folders hold `<person>/<video>.npz` and `<person>/<video>.*` with sound (any format, any rate). An interrupted run
continues when the same command is given again, without making clips twice. generate_split_file and
calc_stats_random_sample come next; prepare_dataset does all of it in one command.
"""

from __future__ import annotations

from scripts_for_dataset.preparing.batch import AUDIO, COEFS, find_clips
from scripts_for_dataset.preparing.building import BuildFlags, Job, build, pair_up
from scripts_for_dataset.preparing.preparation import Treatment
from utils.config import read_flags
from utils.errors import cli


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(BuildFlags, argv, __doc__ or "")
    coefs = find_clips(flags.coefs, COEFS, tracked=True, without=flags.out)
    audio = find_clips(flags.audio, AUDIO)
    clips, alone = pair_up(coefs, audio)
    treatment = Treatment(flags.files.options(), False, flags.max_mismatch, flags.audio_track)
    build([Job(sources, treatment) for sources in clips], alone, flags)


if __name__ == "__main__":
    main()
