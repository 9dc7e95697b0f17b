"""What the commands that work on folders of clips share: finding clips, using all cores, reporting what was skipped."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from utils.atomic import check_output
from utils.config import check_least
from utils.errors import UserError
from utils.media.input_list import RECORDINGS, is_recording
from utils.trackers.flags import ImportFlags
from utils.trackers.folders import holds_motion, is_tracked_folder

log = logging.getLogger(__name__)

COEFS = (".npz", ".npy", ".csv", ".tsv", ".json", ".pt", ".pth", ".pkl")
AUDIO = RECORDINGS  # and files of unlisted kinds that hold sound
ARRAYS = (".npy", ".npz")
DONE, THERE, SKIPPED = "done", "there already", "skipped"
_SHOWN = 5  # skipped clips and notes of a kind that the summary names; the report has all
_WORTH_A_PROCESS = 200  # clips: a process takes seconds to start, in which another one does a hundred
_NUMBER = re.compile(r"\d+(\.\d+)?")  # remarks that differ in numbers only are counted together
Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class BatchFlags:
    """What the commands that work on folders of clips share."""

    out: Path
    """Output folder."""
    workers: int = os.cpu_count() or 1
    """Processes (default: all cores)."""
    dry_run: bool = False
    """Say what would be done; write nothing."""
    files: ImportFlags = ImportFlags()
    """what the files are"""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        check_least(self, workers=1)


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


def of_person(clip: str, found: dict[str, Path]) -> Path | None:
    """The file of this clip, or else the first one of its person (one shape is enough for a person)."""
    person = clip.rpartition("/")[0]
    return found.get(clip) or next((path for other, path in found.items() if other.rpartition("/")[0] == person), None)


def is_current(output: Path, inputs: Iterable[Path]) -> bool:
    """Whether an output exists and no input is newer."""
    if not output.exists():
        return False
    made = output.stat().st_mtime
    return all(path.stat().st_mtime <= made for path in inputs)


def run_all(
    task: Callable[[Job], Result],
    jobs: Sequence[Job],
    workers: int,
    label: str,
    worth: int = _WORTH_A_PROCESS,
    unit: str = "clip",
) -> Iterator[Result]:
    """Results in the order of the jobs, from up to `workers` processes, one for `worth` jobs, with a progress bar.

    `task` is a function of a module; it makes a result of its job's UserError: one bad file does not end the run.
    """
    if not jobs:
        return
    workers = min(workers, max(1, len(jobs) // worth))
    if workers == 1:
        yield from tqdm(map(task, jobs), total=len(jobs), desc=label, unit=unit)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers' own: they fill the cores already
    with worker_pool(workers) as pool:
        yield from tqdm(pool.imap(task, jobs), total=len(jobs), desc=label, unit=unit)


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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


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
        log.info("  %d clips: %s%s", len(notes), example, notes[0])


def check_writable(folder: Path) -> None:
    """UserError if a file in this folder could not be written."""
    check_output(folder / "any")
