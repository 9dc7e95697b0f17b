"""Speech with phone times -> a training set: LMDB, lists, statistics.

    python -m scripts_for_dataset.make_synthetic_dataset --speech data/speech --output data/synthetic --hours 4

The result depends on the speech, the hours and the seed alone, not on the number of workers. An interrupted run
continues where it stopped when the same command is given again. Processes and machines share the work with --shard I/N
(docs/scale.md).
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from datasets.splits import SPLITS
from scripts_for_dataset.preparing.batch import run_all
from scripts_for_dataset.preparing.record import remember
from scripts_for_dataset.synthetic.augment import AugmentConfig
from scripts_for_dataset.synthetic.clips import make_clips, second_takes, speaker_phones
from scripts_for_dataset.synthetic.corpus import read_rows
from scripts_for_dataset.synthetic.plan import Speaker, plan_speakers
from utils.config import check_least, read_flags
from utils.errors import UserError, cli
from utils.motion_file import Motion
from utils.reading.json_file import read_json
from utils.runs.shards import FinishedPart, SharedWork, WorkFlags, settings_of
from utils.speech import PHONES_FILE, Phone, write_phones
from utils.timebase import FPS

log = logging.getLogger(__name__)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Job:
    """One speaker to render, with everything a worker needs."""

    speaker: Speaker
    shape: np.ndarray  # (100,)
    close_factor: float
    augment: AugmentConfig | None


@dataclass(frozen=True, kw_only=True)
class DatasetFlags:
    """All flags of the program."""

    speech: Path
    """Folder made by make_synthetic_speech."""
    output: Path
    """Folder of the data set."""
    hours: float = 4.0
    """Hours of training and validation clips."""
    limit: int | None = None
    """At most this many speakers per split, for a quick try."""
    seed: int = 0
    """Seed of the speakers and their motion."""
    no_augment: bool = False
    """Leave the speech clean."""
    with_resample: bool = False
    """Also write second takes of the test clips, for evaluate.py."""
    work: WorkFlags = WorkFlags()
    """sharing the work"""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        check_least(self, hours=0.001, seed=0, limit=1)


def plan_jobs(flags: DatasetFlags) -> list[Job]:
    """Speakers with their identities; the lip closures of all of them are solved in one batch."""
    import torch

    from models.heads.flame import Flame
    from scripts_for_dataset.synthetic.identity import close_factors, sample_shape
    from utils.heads.head_file import load_head_file

    speakers = plan_speakers(read_rows(flags.speech), flags.hours, flags.seed)
    if flags.limit:
        speakers = [s for split in SPLITS for s in [s for s in speakers if s.split == split][: flags.limit]]
    if not any(s.split == "train" for s in speakers):
        raise UserError(f"--speech {flags.speech}: holds too little speech for one training clip; make more")
    shapes = np.stack([sample_shape(np.random.default_rng([s.seed, 7])) for s in speakers])
    flame = Flame(load_head_file())
    with torch.inference_mode():
        factors = np.concatenate([close_factors(flame, part) for part in np.array_split(shapes, len(shapes) // 32 + 1)])
    config = None if flags.no_augment else AugmentConfig()
    return [Job(s, shape, float(f), config) for s, shape, f in zip(speakers, shapes, factors)]


def render(job: Job) -> list[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """All clips of one speaker (runs in a worker)."""
    return list(make_clips(job.speaker, job.shape, job.close_factor, job.augment))


def phones_of(job: Job) -> list[list[Phone]]:
    """Phones of all clips of one speaker (runs in a worker)."""
    return speaker_phones(job.speaker, job.augment)


def retake(job: Job) -> list[Motion]:
    """Second takes of all clips of one speaker (runs in a worker)."""
    return list(second_takes(job.speaker, job.shape, job.close_factor, job.augment))


def build(flags: DatasetFlags) -> None:
    """Write clips, lists and statistics into flags.output."""
    from datasets.clip_store import ClipStore
    from scripts_for_dataset.synthetic.statistics import write_wide_stats

    jobs = plan_jobs(flags)
    _check_plan(flags)
    settings = settings_of(flags) | read_json(flags.output / "plan.json")
    shard, work = flags.work.part(), SharedWork(flags.output, [job.speaker.name for job in jobs], settings)
    if shard is not None:
        work.do_part(shard, lambda folder: _write_clips(folder, shard.of(jobs), flags.work.workers))
        return
    _write_clips(flags.output, jobs, flags.work.workers, work.finished())
    work.remove()
    _write_lists(flags.output, [job.speaker for job in jobs])
    keys = [key for job in jobs if job.speaker.split == "train" for key in _keys(job.speaker)]
    write_wide_stats(flags.output, keys, flags.seed)
    _describe(flags.output, jobs, sum(ClipStore(flags.output).n_frames(key) for key in keys))
    _write_sidecars(flags, [job for job in jobs if job.speaker.split != "train"])


def _write_clips(folder: Path, jobs: list[Job], workers: int | None, parts: Sequence[FinishedPart] = ()) -> None:
    """Render the clips that do not exist yet, or take them from parts that are done."""
    from datasets.clip_store import ClipStore
    from datasets.clip_writer import ClipWriter
    from datasets.splits import read_list

    listed = folder / "keys.txt"  # written last: the clips in it are complete
    if jobs and listed.is_file() and set(read_list(listed)) == {key for job in jobs for key in _keys(job.speaker)}:
        return
    with ClipWriter(folder, resume=True, may_be_empty=not jobs) as writer:
        owners = {clip: store for store in (ClipStore(part.folder) for part in parts) for clip in store.clips()}
        for key in [key for job in jobs for key in _keys(job.speaker) if key in owners and key not in writer]:
            writer.add_encoded(key, owners[key].values(key))
        todo = [job for job in jobs if not all(key in writer for key in _keys(job.speaker))]
        for job, clips in zip(todo, run_all(render, todo, workers, "speakers", "speaker")):
            for key, (audio, coefs) in zip(_keys(job.speaker), clips):
                if key not in writer:
                    writer.add_clip(key, audio, coefs)


def _write_sidecars(flags: DatasetFlags, jobs: list[Job]) -> None:
    """Phone times of the validation and test clips; with --with_resample second takes of the test clips' motion."""
    from datasets.spoken_clips import second_take

    phones = flags.output / PHONES_FILE
    if not phones.is_file():
        found = zip(jobs, run_all(phones_of, jobs, flags.work.workers, "phones", "speaker"))
        write_phones(phones, {key: clip for job, clips in found for key, clip in zip(_keys(job.speaker), clips)})
    test = [job for job in jobs if job.speaker.split == "test"] if flags.with_resample else []
    todo = [job for job in test if not all(second_take(flags.output, key).is_file() for key in _keys(job.speaker))]
    for job, motions in zip(todo, run_all(retake, todo, flags.work.workers, "second takes", "speaker")):
        for key, motion in zip(_keys(job.speaker), motions):
            motion.save(second_take(flags.output, key))


def _keys(speaker: Speaker) -> list[str]:
    return [f"{speaker.name}/{number:03d}" for number in range(len(speaker.clips))]


def _check_plan(flags: DatasetFlags) -> None:
    """Remember what the folder is being made from; refuse to continue another plan's data set."""
    tables = sorted(flags.speech.glob("*/part_*.jsonl"))
    speech = zlib.crc32("".join(f"{t.parent.name}/{t.name} {t.stat().st_size}\n" for t in tables).encode())
    plan = {
        "speech": speech,
        "hours": flags.hours,
        "seed": flags.seed,
        "limit": flags.limit,
        "augment": not flags.no_augment,
    }
    remember(flags.output, plan)


def _write_lists(output: Path, speakers: list[Speaker]) -> None:
    from datasets.splits import write_list

    for split in SPLITS:
        write_list(output / f"{split}.txt", [key for s in speakers if s.split == split for key in _keys(s)])


def _describe(output: Path, jobs: list[Job], frames: int) -> None:
    """`speakers.json`: the style and split of every speaker, for evaluations."""
    table = {
        j.speaker.name: {"split": j.speaker.split, "close_factor": j.close_factor, "style": asdict(j.speaker.style)}
        for j in jobs
    }
    (output / "speakers.json").write_text(json.dumps(table, indent=1) + "\n")
    counts = ", ".join(f"{sum(j.speaker.split == split for j in jobs)} {split}" for split in SPLITS)
    log.info("%s: %.2f h for training, speakers: %s", output, frames / FPS / 3600, counts)


@cli
def main(argv: list[str] | None = None) -> None:
    build(read_flags(DatasetFlags, argv, __doc__ or ""))


if __name__ == "__main__":
    main()
