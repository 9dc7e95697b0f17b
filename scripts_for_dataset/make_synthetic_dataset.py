"""Speech with phone times -> a training set: LMDB, lists, statistics.

    python -m scripts_for_dataset.make_synthetic_dataset --speech data/speech --output data/synthetic --hours 4

The result depends on the speech, the hours and the seed alone, not on the number of workers. A run that was cut off
continues where it stopped when the same command is given again.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from scripts_for_dataset.synthetic.augment import AugmentConfig
from scripts_for_dataset.synthetic.clips import make_clips
from scripts_for_dataset.synthetic.corpus import read_rows
from scripts_for_dataset.synthetic.plan import Speaker, plan_speakers
from scripts_for_dataset.synthetic.sidecars import second_takes, speaker_phones
from scripts_for_dataset.synthetic.statistics import widen
from utils.atomic import atomic_path, make_folder
from utils.errors import UserError, cli
from utils.motion_file import Motion
from utils.reading.json_file import read_json
from utils.speech import PHONES_FILE, Phone, write_phones
from utils.timebase import FPS

log = logging.getLogger(__name__)
SPLITS = ("train", "val", "test")
CROP, STATISTICS_ROUNDS = 100, 8  # frames; crops per clip
Result = TypeVar("Result")


@dataclass(frozen=True)
class Job:
    """One speaker to render, with everything a worker needs."""

    speaker: Speaker
    shape: np.ndarray  # (100,)
    close_factor: float
    augment: AugmentConfig | None


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, help="folder made by make_synthetic_speech")
    parser.add_argument("--output", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--hours", type=float, default=4.0, help="hours of training and validation clips")
    parser.add_argument("--limit", type=int, help="at most this many speakers per split, for a quick try")
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count(), help="processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no_augment", action="store_true", help="leave the speech clean")
    parser.add_argument(
        "--with_resample", action="store_true", help="also write second takes of the test clips, for evaluate.py"
    )
    args = parser.parse_args(argv)
    for name, low in (("hours", 0.001), ("workers", 1), ("seed", 0), ("limit", 1)):
        if getattr(args, name) is not None and getattr(args, name) < low:
            parser.error(f"--{name} must be at least {low}")
    return args


def plan_jobs(args: argparse.Namespace) -> list[Job]:
    """Speakers with their identities; the lip closures of all of them are solved in one batch."""
    import torch

    from models.heads.flame import Flame
    from scripts_for_dataset.synthetic.identity import close_factors, sample_shape
    from utils.heads.head_file import load_head_file

    speakers = plan_speakers(read_rows(args.speech), args.hours, args.seed)
    if args.limit:
        speakers = [s for split in SPLITS for s in [s for s in speakers if s.split == split][: args.limit]]
    if not any(s.split == "train" for s in speakers):
        raise UserError(f"--speech {args.speech}: holds too little speech for one training clip; make more")
    shapes = np.stack([sample_shape(np.random.default_rng([s.seed, 7])) for s in speakers])
    flame = Flame(load_head_file())
    with torch.inference_mode():
        factors = np.concatenate([close_factors(flame, part) for part in np.array_split(shapes, len(shapes) // 32 + 1)])
    config = None if args.no_augment else AugmentConfig()
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


def done(task: Callable[[Job], Result], jobs: list[Job], workers: int) -> Iterator[tuple[Job, Result]]:
    """Jobs with what a task made of them, in the order of the jobs whatever the number of workers."""
    if workers == 1 or not jobs:
        yield from ((job, task(job)) for job in jobs)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers' own: they fill the cores already
    with multiprocessing.get_context("spawn").Pool(min(workers, len(jobs))) as pool:
        yield from zip(jobs, pool.imap(task, jobs))


def build(args: argparse.Namespace) -> None:
    """Write clips, lists and statistics into args.output."""
    from datasets.clip_store import ClipStore
    from datasets.statistics import random_crop_stats

    jobs = plan_jobs(args)
    _check_plan(args)
    _write_clips(args, jobs)
    _write_lists(args.output, [job.speaker for job in jobs])
    store = ClipStore(args.output)
    keys = [key for job in jobs if job.speaker.split == "train" for key in _keys(job.speaker)]
    train = [store.read_coefs(key) for key in keys]
    crops = random_crop_stats(store, keys, CROP, STATISTICS_ROUNDS, args.seed)
    with atomic_path(args.output / "stats_train.npz") as temporary:
        np.savez(temporary, **widen({name: value.numpy() for name, value in crops.to_dict().items()}, train))
    _describe(args.output, jobs, train)
    _write_sidecars(args, [job for job in jobs if job.speaker.split != "train"])


def _write_clips(args: argparse.Namespace, jobs: list[Job]) -> None:
    """Render what is not there yet."""
    from datasets.clip_writer import ClipWriter
    from datasets.splits import read_list

    listed = args.output / "keys.txt"  # written last: the clips in it are complete
    if listed.is_file() and set(read_list(listed)) == {key for job in jobs for key in _keys(job.speaker)}:
        return
    with ClipWriter(args.output, resume=True) as writer:
        todo = [job for job in jobs if not all(key in writer for key in _keys(job.speaker))]
        for job, clips in _bar(done(render, todo, args.workers), todo, "speakers"):
            for key, (audio, coefs) in zip(_keys(job.speaker), clips):
                if key not in writer:
                    writer.add_clip(key, audio, coefs)


def _write_sidecars(args: argparse.Namespace, jobs: list[Job]) -> None:
    """Phone times of the validation and test clips; with --with_resample second takes of the test clips' motion."""
    from datasets.spoken_clips import second_take

    phones = args.output / PHONES_FILE
    if not phones.is_file():
        found = _bar(done(phones_of, jobs, args.workers), jobs, "phones")
        write_phones(phones, {key: clip for job, clips in found for key, clip in zip(_keys(job.speaker), clips)})
    test = [job for job in jobs if job.speaker.split == "test"] if args.with_resample else []
    todo = [job for job in test if not all(second_take(args.output, key).is_file() for key in _keys(job.speaker))]
    for job, motions in _bar(done(retake, todo, args.workers), todo, "second takes"):
        for key, motion in zip(_keys(job.speaker), motions):
            motion.save(second_take(args.output, key))


def _bar(results: Iterator[tuple[Job, Result]], jobs: list[Job], what: str) -> Iterator[tuple[Job, Result]]:
    return tqdm(results, total=len(jobs), desc=what, unit="speaker", disable=not jobs)


def _keys(speaker: Speaker) -> list[str]:
    return [f"{speaker.name}/{number:03d}" for number in range(len(speaker.clips))]


def _check_plan(args: argparse.Namespace) -> None:
    """Remember what the folder is being made from; refuse to continue another plan's data set."""
    tables = sorted(args.speech.glob("*/part_*.jsonl"))
    speech = zlib.crc32("".join(f"{t.parent.name}/{t.name} {t.stat().st_size}\n" for t in tables).encode())
    plan = {
        "speech": speech,
        "hours": args.hours,
        "seed": args.seed,
        "limit": args.limit,
        "augment": not args.no_augment,
    }
    record = args.output / "plan.json"
    if record.is_file() and read_json(record) != plan:
        raise UserError(
            f"--output {args.output}: was made otherwise ({record.read_text().strip()}); choose another folder"
        )
    make_folder(args.output)
    record.write_text(json.dumps(plan) + "\n")


def _write_lists(output: Path, speakers: list[Speaker]) -> None:
    from datasets.splits import write_list

    for split in SPLITS:
        write_list(output / f"{split}.txt", [key for s in speakers if s.split == split for key in _keys(s)])


def _describe(output: Path, jobs: list[Job], train: list[dict]) -> None:
    """`speakers.json`: who has which style and split, for evaluations."""
    table = {
        j.speaker.name: {"split": j.speaker.split, "close_factor": j.close_factor, "style": asdict(j.speaker.style)}
        for j in jobs
    }
    (output / "speakers.json").write_text(json.dumps(table, indent=1) + "\n")
    hours = sum(len(clip["exp"]) for clip in train) / FPS / 3600
    counts = ", ".join(f"{sum(j.speaker.split == split for j in jobs)} {split}" for split in SPLITS)
    log.info("%s: %.2f h for training, speakers: %s", output, hours, counts)


@cli
def main(argv: list[str] | None = None) -> None:
    build(parse_args(argv))


if __name__ == "__main__":
    main()
