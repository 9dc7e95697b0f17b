"""Clips of coefficients and audio -> LMDB, lists, statistics: what make_combined_dataset and prepare_dataset do."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from datasets.clip_encoding import encode_clip
from datasets.clip_store import ClipStore
from datasets.clip_writer import ClipWriter
from datasets.sources.folders import TREATMENT
from datasets.splits import SPLITS, generate_split, group_by_person, read_list
from datasets.statistics import random_crop_stats
from scripts_for_dataset.preparing.batch import (
    DONE,
    SKIPPED,
    THERE,
    BatchFlags,
    Outcome,
    check_writable,
    outcome_from,
    run_all,
    summarise,
)
from scripts_for_dataset.preparing.preparation import Sources, Treatment, prepare_clip
from scripts_for_dataset.preparing.rehearsal import Rehearsal, lengths_of
from utils.atomic import write_text
from utils.config import check_least
from utils.errors import UserError
from utils.reading.json_file import read_json
from utils.reports.wording import counted
from utils.runs.shards import FinishedPart, SharedWork, settings_of

log = logging.getLogger(__name__)
REPORT = "preparation.json"
STATS_FRAMES = 100  # a crop of the statistics
TRAINED_FRAMES = 210  # shorter clips are used by neither network (SPEC: style encoder 210 frames, denoiser 200)
SEG_LEN = 100


@dataclass(frozen=True, kw_only=True)
class BuildFlags(BatchFlags):
    """What the commands that build a data set share."""

    coefs: Path
    """Folder of coefficients."""
    audio: Path
    """Folder of audio (or video) files."""
    out: Path
    """Folder of the data set."""
    max_mismatch: float = 0.5
    """Seconds that audio and motion may differ."""
    audio_track: int | None = None
    """Number of the audio track, from 1 (default: the first that is not silent)."""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        check_least(self, audio_track=1)
        if not 0 <= self.max_mismatch < 1e6:
            raise UserError(f"--max_mismatch {self.max_mismatch:g}: must not be negative")


@dataclass(frozen=True)
class Job:
    """One clip."""

    sources: Sources
    treatment: Treatment


@dataclass(frozen=True)
class Encoded:
    """A worker's result for a clip; `values` is empty if it was skipped."""

    outcome: Outcome
    values: dict[str, bytes]
    n_frames: int = 0
    head_model: str = ""


def encode(job: Job) -> Encoded:
    """Runs in a worker: everything up to the values of the LMDB."""
    clip = job.sources.clip
    try:
        audio, motion, notes = prepare_clip(job.sources, job.treatment)
        coefs = {"exp": motion.exp, "pose": motion.pose, "shape": motion.shape}
        values = encode_clip(clip, audio, coefs, SEG_LEN)
    except UserError as error:
        return Encoded(Outcome(clip, SKIPPED, str(error)), {})
    if len(motion) < TRAINED_FRAMES:
        notes.append(f"shorter than {TRAINED_FRAMES} frames: not used in training")
    return Encoded(Outcome(clip, DONE, notes=tuple(notes)), values, len(motion), motion.head_model)


def pair_up(coefs: dict[str, Path], audio: dict[str, Path]) -> tuple[list[Sources], list[Outcome]]:
    """Clips with both files, and those that lack one."""
    both = [Sources(clip, path, audio[clip]) for clip, path in coefs.items() if clip in audio]
    alone = [Outcome(clip, SKIPPED, "has no audio of this name") for clip in coefs if clip not in audio]
    alone += [Outcome(clip, SKIPPED, "has no coefficients of this name") for clip in audio if clip not in coefs]
    if not both:
        raise UserError(
            f"--coefs, --audio: no clip is in both (coefficients: {next(iter(coefs))} ..., audio: "
            f"{next(iter(audio))} ...); name them alike"
        )
    return both, alone


def build(jobs: list[Job], alone: list[Outcome], flags: BuildFlags) -> dict[str, int]:
    """Write the clips that are not in `flags.out` yet; with `flags.dry_run` do everything else and say what it gave.

    Returns:
        The clips of the data set, with their frames; none of a part of the work.

    Raises:
        UserError: not a single clip could be used; the folder cannot be written, or is one of the sources'.
    """
    if flags.out.resolve() in (flags.coefs.resolve(), flags.audio.resolve()):
        raise UserError(f"--out {flags.out}: is a folder of sources; choose another")
    check_writable(flags.out)
    _check_treatment(flags.out, jobs[0].treatment, not flags.dry_run)
    shard = flags.work.part()
    work = SharedWork(flags.out, [job.sources.clip for job in jobs], settings_of(flags))
    if shard is not None and not flags.dry_run:
        work.do_part(shard, lambda folder: _encode_part(folder, shard.of(jobs), flags))
        return {}
    parts, before = [] if flags.dry_run else work.finished(), read_report(flags.out)
    models = sum((Counter(part.results["head_models"]) for part in parts), Counter(before.get("head_models", {})))
    remarks = {item["clip"]: item["notes"] for item in before.get("clips", [])}
    outcomes = list(alone)
    with Rehearsal(flags.out) if flags.dry_run else ClipWriter(flags.out, SEG_LEN, resume=True) as writer:
        there = [job.sources.clip for job in jobs if job.sources.clip in writer]
        outcomes += [Outcome(clip, THERE, "", tuple(remarks.get(clip, ()))) for clip in there]
        todo = [job for job in jobs if job.sources.clip not in writer]
        made = _encoded_in(parts, todo) if parts else run_all(encode, todo, flags.work.workers, "clips")
        for encoded in made:
            outcomes.append(encoded.outcome)
            if encoded.values and not parts:  # which have counted theirs
                models[encoded.head_model] += 1
            if encoded.values:
                writer.add_encoded(encoded.outcome.clip, encoded.values)
        usable = any(outcome.status in (DONE, THERE) for outcome in outcomes)
        if not flags.dry_run:
            _write_report(flags.out, outcomes, models)
        if not usable:
            raise UserError(f"--coefs {flags.coefs}: no clip can be used; the first: {outcomes[-1].reason}")
    if parts:
        work.remove()
    _say(outcomes, models, flags)
    if isinstance(writer, Rehearsal):
        return writer.result()
    return lengths_of(ClipStore(flags.out))


def _say(outcomes: list[Outcome], models: Counter, flags: BuildFlags) -> None:
    if flags.dry_run:
        planned = [replace(one, status="to do") if one.status == DONE else one for one in outcomes]
        summarise(planned, f"{flags.out} (dry run)", shown=len(planned))
    else:
        summarise(outcomes, str(flags.out))
    kinds = [model for model, n in models.items() if n]
    if len(kinds) > 1:
        log.warning(
            "the clips are of several head models (%s): their coefficients differ; train on one", ", ".join(kinds)
        )


def _encode_part(folder: Path, jobs: list[Job], flags: BuildFlags) -> dict[str, Any]:
    """A part's clips that the data set lacks, in a store of their own; what became of each, and of which heads."""
    done = ClipStore(flags.out, unfinished=True) if (flags.out / "data.mdb").is_file() else ()
    jobs = [job for job in jobs if job.sources.clip not in done]
    models: Counter = Counter()
    with ClipWriter(folder, SEG_LEN, resume=True, may_be_empty=True) as writer:
        outcomes = [Outcome(job.sources.clip, THERE) for job in jobs if job.sources.clip in writer]
        todo = [job for job in jobs if job.sources.clip not in writer]
        for encoded in run_all(encode, todo, flags.work.workers, "clips"):
            outcomes.append(encoded.outcome)
            if encoded.values:
                models[encoded.head_model] += 1
                writer.add_encoded(encoded.outcome.clip, encoded.values)
    summarise(outcomes, str(folder))
    return {"head_models": models, "outcomes": [asdict(outcome) for outcome in outcomes]}


def _encoded_in(parts: list[FinishedPart], jobs: list[Job]) -> Iterator[Encoded]:
    """What parts encoded, in the order of the jobs."""
    stores = [ClipStore(part.folder) for part in parts]
    known = {row["clip"]: (outcome_from(row), store)
             for part, store in zip(parts, stores) for row in part.results["outcomes"]}  # fmt: skip
    for job in tqdm(jobs, "merging", unit="clip"):
        outcome, store = known[job.sources.clip]
        yield Encoded(outcome, {} if outcome.status == SKIPPED else store.values(outcome.clip))


def _check_treatment(out: Path, treatment: Treatment, write: bool = True) -> None:
    """Record how the clips of a data set are treated; refuse to continue with another treatment.

    Raises:
        UserError: the data set was made with other flags, or the folder cannot be written.
    """
    flags = {"smooth": treatment.smooth, "full_jaw": treatment.options.full_jaw}
    record = out / TREATMENT
    try:
        known = read_json(record) if record.is_file() else None
    except UserError:
        known = None
    if known is not None and known != flags and (out / "data.mdb").is_file():
        raise UserError(f"--out {out}: its clips were made with {known}, not {flags}; choose another folder")
    if known != flags and write:
        write_text(record, json.dumps(flags) + "\n")


def read_report(out: Path) -> dict:
    """The report of an earlier run on a data set; {} if there is none, or it is damaged."""
    try:
        report = read_json(out / REPORT)
        clips = [{"clip": str(c["clip"]), "notes": [str(note) for note in c["notes"]]} for c in report["clips"]]
        return {"clips": clips, "head_models": {str(k): int(v) for k, v in report["head_models"].items()}}
    except (UserError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return {}


def _write_report(out: Path, outcomes: list[Outcome], models: Counter) -> None:
    counts = Counter(outcome.status for outcome in outcomes)
    content = {"counts": counts, "head_models": models, "clips": [asdict(outcome) for outcome in outcomes]}
    write_text(out / REPORT, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def lists_cover(out: Path, clips: Collection[str]) -> bool:
    """Whether a data set has split lists of exactly these clips."""
    paths = [out / f"{name}.txt" for name in SPLITS]
    if not all(path.is_file() for path in paths):
        return False
    listed = [clip for path in paths if path.stat().st_size for clip in read_list(path)]
    if sorted(listed) == sorted(clips):
        return True
    log.info("%s: its lists do not cover its clips; they are made again", out)
    return False


def split_clips(clips: list[str], seed: int, n_eval: int | None) -> dict[str, list[str]]:
    """'train', 'val' and 'test' -> clips, split by person.

    With fewer than three persons the clips themselves are split, and with fewer than three clips all are for training.
    """
    persons = len(group_by_person(clips))
    if persons >= 3 or n_eval is not None:
        parts = generate_split(clips, seed, n_eval)
    elif len(clips) >= 3:
        log.warning("%s too few to keep any for testing: single clips of known speakers are kept instead",
                    counted(persons, "person is", "persons are"))  # fmt: skip
        parts = {"train": clips[:-2], "val": clips[-2:-1], "test": clips[-1:]}
    else:
        log.warning("%s too few to keep any for testing: all are for training",
                    counted(len(clips), "clip is", "clips are"))  # fmt: skip
        parts = {"train": clips, "val": [], "test": []}
    for name, part in parts.items():
        log.info("%s.txt: %s of %s", name, counted(len(part), "clip"), counted(len(group_by_person(part)), "person"))
    return parts


def write_stats(out: Path, seed: int, rounds: int = 100) -> None:
    """`stats_train.npz` from random crops of the training clips."""
    store = ClipStore(out)
    stats = random_crop_stats(store, store.clips(out / "train.txt"), STATS_FRAMES, rounds, seed, progress=True)
    stats.save(out / "stats_train.npz")
