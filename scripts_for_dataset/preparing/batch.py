"""What the commands that work on folders of clips share: finding clips, using all cores, reporting what was skipped."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.pool import IMapIterator, Pool
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from utils.atomic import check_output
from utils.errors import UserError
from utils.media.input_list import RECORDINGS, is_recording
from utils.reports.wording import counted
from utils.runs.shards import SharedWork, WorkFlags, cores, settings_of
from utils.trackers.flags import ImportFlags
from utils.trackers.folders import holds_motion, is_tracked_folder

log = logging.getLogger(__name__)

COEFS = (".npz", ".npy", ".csv", ".tsv", ".json", ".pt", ".pth", ".pkl")
AUDIO = RECORDINGS  # and files of unlisted kinds that hold sound
ARRAYS = (".npy", ".npz")
DONE, THERE, SKIPPED = "done", "there already", "skipped"
_SHOWN = 5  # skipped clips and notes of a kind that the summary names; the report has all
_START = 3.0  # seconds that processes take to start
_AHEAD = 8  # jobs and results in memory for each worker
_PATIENCE = 2.0  # seconds between looks for workers that were killed
_GRACE = 5  # seconds that a worker has to end
_NUMBER = re.compile(r"\d+(\.\d+)?")  # remarks that differ in numbers only are counted together
Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class BatchFlags:
    """What the commands that work on folders of clips share."""

    out: Path
    """Output folder."""
    dry_run: bool = False
    """Say what would be done; write nothing."""
    work: WorkFlags = WorkFlags()
    """sharing the work"""
    files: ImportFlags = ImportFlags()
    """what the files are"""


@dataclass(frozen=True)
class Outcome:
    """What became of one clip."""

    clip: str
    status: str  # DONE, THERE or SKIPPED
    reason: str = ""
    notes: tuple[str, ...] = ()


def clip_of(path: Path, folder: Path) -> str:
    """`<person>/<video>` of a file: its path in the folder without the suffix; a file at the top is video 000."""
    relative = path.relative_to(folder)
    relative = relative.with_suffix("") if path.is_file() else relative
    return relative.as_posix() if len(relative.parts) > 1 else f"{relative.as_posix()}/000"


def find_clips(
    folder: Path, suffixes: Sequence[str], tracked: bool = False, without: Path | None = None
) -> dict[str, Path]:
    """Clip -> file, by name; with `tracked` also folders of one tracked video (not searched further).

    `without` is a folder of results, which is passed over if it lies in `folder`.

    Raises:
        UserError: the folder is missing or holds none; two files are the same clip.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; check the path")
    found: dict[str, Path] = {}
    results = None if without is None or without.resolve() == folder.resolve() else without.resolve()
    for path in _walk(folder, suffixes, tracked):
        if results is not None and results in path.resolve().parents:
            continue
        clip = clip_of(path, folder)
        if clip in found:
            raise UserError(f"{folder}: {found[clip].name} and {path.name} are the same clip {clip}; remove one")
        found[clip] = path
    if not found:
        raise UserError(f"{folder}: holds no {' '.join(suffixes)} files, <person>/<video>.*; check the path")
    return dict(sorted(found.items()))


def _walk(folder: Path, suffixes: Sequence[str], tracked: bool) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error
    for path in entries:
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if tracked and is_tracked_folder(path):
                yield path
            else:
                yield from _walk(path, suffixes, tracked)
        elif suffixes is AUDIO:
            if is_recording(path):
                yield path
        elif path.suffix.lower() in suffixes and (path.suffix.lower() != ".json" or holds_motion(path)):
            yield path


def with_persons(found: dict[str, Path]) -> Callable[[str], Path | None]:
    """Clip -> its file, or else the first one of its person (one shape is enough for a person)."""
    firsts: dict[str, Path] = {}
    for clip, path in found.items():
        firsts.setdefault(clip.rpartition("/")[0], path)
    return lambda clip: found.get(clip) or firsts.get(clip.rpartition("/")[0])


def is_current(output: Path, inputs: Iterable[Path]) -> bool:
    """Whether an output exists and no input is newer."""
    if not output.exists():
        return False
    made = output.stat().st_mtime
    return all(path.stat().st_mtime <= made for path in inputs)


def run_all(
    task: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None, label: str = "", unit: str = "clip"
) -> Iterator[Result]:
    """Results in the order of the jobs, from `workers` processes, with a progress bar if it has a label.

    None: all cores, but work that ends before processes would have started is done here.
    `task` is a function of a module; it makes a result of its job's UserError: one bad file does not end the run.

    Raises:
        UserError: a worker was killed.
    """
    if not jobs:
        return
    with tqdm(total=len(jobs), desc=label, unit=unit, disable=not label) as bar:
        for result in _results(task, jobs, workers):
            bar.update()
            yield result


def _results(task: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None) -> Iterator[Result]:
    number = min(workers or cores(), len(jobs))
    done, until = 0, time.monotonic() + (_START if workers is None else 0)
    while done < len(jobs) and (number == 1 or time.monotonic() < until):
        yield task(jobs[done])
        done += 1
    if done == len(jobs):
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers' own: they fill the cores already
    rest = jobs[done:]
    slots = threading.Semaphore(_AHEAD * number)
    with worker_pool(min(number, len(rest))) as pool:
        try:
            children = {child.pid for child in multiprocessing.active_children()}
            results = pool.imap(task, (job for job in rest if slots.acquire()))
            for left in reversed(range(len(rest))):
                result = _next(results, children)
                slots.release()
                if not left:  # before the last result: who reads it need not ask for more
                    pool.close()
                    pool.join()  # or a worker that ends by itself would be told to end meanwhile
                yield result
        finally:
            slots.release(len(rest))  # the pool's thread must not wait for ever when the pool ends


def _next(results: IMapIterator, children: set[int | None]) -> Any:
    """The next result. The pool would wait for ever for that of a worker that was killed, and start another worker."""
    while True:
        try:
            return results.next(timeout=_PATIENCE)
        except multiprocessing.TimeoutError as error:
            if {child.pid for child in multiprocessing.active_children()} != children:
                raise UserError("a worker process was killed, most likely for want of memory; give the same command "
                                "again with fewer --workers") from error  # fmt: skip


def worker_pool(workers: int) -> Pool:
    """Processes that leave Ctrl-C to their parent, while they start as well; to be used in the main thread."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the workers inherit it
    try:
        return multiprocessing.get_context("spawn").Pool(workers, _leave_to_parent)
    finally:
        signal.signal(signal.SIGINT, before)


def _leave_to_parent() -> None:
    """In a worker: Ctrl-C is the parent's affair; when that ends, temporary files are removed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a worker that replaces a lost one has not inherited it
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGALRM, _end)


def _end(number: int, frame: object) -> None:
    """End by an exception, which removes temporary files. Python swallows one in a finaliser, and the parent would wait
    for ever: after some seconds it is raised again, and then the process is killed."""
    if number == signal.SIGALRM:
        signal.signal(number, signal.SIG_DFL)
    sys.unraisablehook = lambda _: None  # would show a traceback of it
    signal.alarm(_GRACE)
    sys.exit(1)


def share_out(
    task: Callable[[Job], Outcome], jobs: Mapping[str, Job], flags: Any, out: Path, label: str, long: bool = False
) -> list[Outcome]:
    """Outcomes of jobs whose results are files of their own (name -> job): of this process's part, or of all.

    Without a part, jobs of parts that are done count as done, and the parts' records are removed. `long`: each job is
    worth a process.
    """
    workers = flags.work.workers or (cores() if long else None)
    shard, work = flags.work.part(), SharedWork(out, list(jobs), settings_of(flags))
    every = list(jobs.values())
    if shard is None:
        parts = work.finished()
        rows = (parts[i % len(parts)].results[i // len(parts)] for i in range(len(every) if parts else 0))
        outcomes = [outcome_from(row) for row in rows] or list(run_all(task, every, workers, label))
        work.remove()
        return outcomes
    outcomes = []

    def do(_: Path) -> list[dict[str, Any]]:
        outcomes.extend(run_all(task, shard.of(every), workers, label))
        return [asdict(outcome) for outcome in outcomes]

    work.do_part(shard, do)
    return outcomes


def outcome_from(row: dict[str, Any]) -> Outcome:
    """An outcome as a part recorded it."""
    return Outcome(**{**row, "notes": tuple(row["notes"])})


def summarise(outcomes: Sequence[Outcome], what: str, shown: int = _SHOWN) -> None:
    """Log how many clips were done, and the first few that were skipped or have notes, with the reason."""
    counts = Counter(outcome.status for outcome in outcomes)
    log.info("%s: %s", what, ", ".join(f"{n} {status}" for status, n in counts.items()) or "nothing to do")
    skipped = [outcome for outcome in outcomes if outcome.status == SKIPPED]
    for outcome in skipped[:shown]:
        log.info("  skipped %s: %s", outcome.clip, outcome.reason)
    if len(skipped) > shown:
        log.info("  ... and %d more", len(skipped) - shown)
    kinds: dict[str, list[str]] = {}
    for note in (note for outcome in outcomes for note in outcome.notes):
        kinds.setdefault(_NUMBER.sub("#", note), []).append(note)
    for notes in sorted(kinds.values(), key=len, reverse=True):
        example = "for example " if len(set(notes)) > 1 else ""
        log.info("  %s: %s%s", counted(len(notes), "clip"), example, notes[0])


def check_writable(folder: Path) -> None:
    """UserError if a file in this folder could not be written."""
    check_output(folder / "any")
