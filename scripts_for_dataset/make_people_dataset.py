"""Recordings of people -> a training set: short recordings joined, mouths of many sizes, heads and eyes by rule.

    python -m scripts_for_dataset.track_video VIDEOS -o COEFS
    python -m scripts_for_dataset.prepare_dataset --coefs COEFS --audio VIDEOS --out data/recordings --no_smooth
    python -m scripts_for_dataset.make_people_dataset --data data/recordings --output data/people --hours 6
    python -m scripts_for_dataset.merge_datasets data/synthetic data/people -o data/both

For corpora of sentences, whose recordings are shorter than a training pair and whose heads keep still. The result
depends on the data, the flags and the seed alone. An interrupted run continues when the same command is given
again.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from datasets.clip_encoding import encode_clip
from datasets.clip_store import ClipStore
from datasets.clip_writer import ClipWriter
from datasets.splits import SPLITS, write_list
from models.heads.flame import load_flame
from models.tracking.embedding import LandmarkHead
from scripts_for_dataset.people.clips import Recipe, make_clip
from scripts_for_dataset.people.plan import Take, plan_takes
from scripts_for_dataset.preparing.batch import run_all
from scripts_for_dataset.preparing.building import read_report
from scripts_for_dataset.preparing.record import remember
from scripts_for_dataset.synthetic.augment import AugmentConfig
from scripts_for_dataset.synthetic.statistics import write_wide_stats
from utils.config import check_least, read_flags
from utils.errors import UserError, cli
from utils.runs.shards import WorkerFlags
from utils.timebase import FPS

log = logging.getLogger(__name__)
SEG_LEN = 100
# A handful of talkers needs a wider range of voices and paces than a corpus of many voices.
DEGRADED = AugmentConfig(resample=0.8, resample_range=(0.8, 1.25))


@dataclass(frozen=True, kw_only=True)
class PeopleFlags:
    """All flags of the program."""

    data: Path
    """Data set of the recordings, from prepare_dataset: <person>/<recording>, motion of the open head."""
    output: Path
    """Folder of the new data set."""
    hours: float = 4.0
    """Hours of training clips; recordings are repeated in other orders, voices and sizes of the mouth's motion."""
    held: tuple[str, ...] = ()
    """Talkers that are never trained on: the test split."""
    most_share: float = 0.5
    """Largest share of the training clips of one talker."""
    own_heads: bool = False
    """Keep the people's own head motion and gaze, instead of the synthetic corpus' rules."""
    no_augment: bool = False
    """Leave the sound clean."""
    seed: int = 0
    """Seed of the clips."""
    work: WorkerFlags = WorkerFlags()
    """processes"""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        check_least(self, hours=0.001, seed=0)
        if not 0 < self.most_share <= 1:
            raise UserError(f"--most_share {self.most_share:g}: must lie above 0 and be at most 1")


@dataclass(frozen=True)
class Job:
    """One clip to make."""

    take: Take
    data: Path
    recipe: Recipe


@functools.cache
def _sources(data: Path) -> tuple[ClipStore, LandmarkHead]:
    """What a worker needs for every clip."""
    torch.set_num_threads(1)
    return ClipStore(data), LandmarkHead(load_flame().head)


def encode(job: Job) -> dict[str, bytes]:
    """A clip's values as they are stored (runs in a worker)."""
    audio, coefs = make_clip(job.take, *_sources(job.data), job.recipe)
    return encode_clip(job.take.name, audio, coefs, SEG_LEN)


def plan(flags: PeopleFlags) -> list[Job]:
    """The clips to make, with their recipes."""
    store = ClipStore(flags.data)
    foreign = [model for model in read_report(flags.data).get("head_models", {}) if model.startswith("FLAME")]
    if foreign:
        raise UserError(f"--data {flags.data}: holds {foreign[0]}'s coefficients; make it of track_video's motion")
    lengths = {clip: store.n_frames(clip) for clip in store.clips()}
    takes = plan_takes(lengths, flags.hours, flags.held, flags.most_share, flags.seed)
    degraded = None if flags.no_augment else DEGRADED
    varied = Recipe(rule_heads=not flags.own_heads, augment=degraded)
    plain = Recipe(rule_heads=not flags.own_heads, vary=False)
    return [Job(take, flags.data, varied if take.split == "train" else plain) for take in takes]


def build(flags: PeopleFlags) -> None:
    """Write clips, lists and statistics into flags.output."""
    if flags.output.resolve() == flags.data.resolve():
        raise UserError(f"--output {flags.output}: is the data set itself; choose another folder")
    jobs = plan(flags)
    settings = {"data": str(flags.data), "hours": flags.hours, "held": list(flags.held), "seed": flags.seed}
    settings |= {"most_share": flags.most_share, "own_heads": flags.own_heads, "augment": not flags.no_augment}
    remember(flags.output, settings)
    with ClipWriter(flags.output, SEG_LEN, resume=True) as writer:
        todo = [job for job in jobs if job.take.name not in writer]
        for job, values in zip(todo, run_all(encode, todo, flags.work.workers, "clips")):
            writer.add_encoded(job.take.name, values)
    for split in SPLITS:
        write_list(flags.output / f"{split}.txt", [job.take.name for job in jobs if job.take.split == split])
    train = [job.take.name for job in jobs if job.take.split == "train"]
    write_wide_stats(flags.output, train, flags.seed)
    store = ClipStore(flags.output)
    hours = sum(store.n_frames(clip) for clip in train) / FPS / 3600
    counts = ", ".join(f"{sum(job.take.split == split for job in jobs)} {split}" for split in SPLITS)
    log.info("%s: %.2f h for training; clips: %s", flags.output, hours, counts)


@cli
def main(argv: list[str] | None = None) -> None:
    build(read_flags(PeopleFlags, argv, __doc__ or ""))


if __name__ == "__main__":
    main()
