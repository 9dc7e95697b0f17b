"""Work that several processes or machines share: which part this process does, and what the parts leave behind.

Part i of n does every n-th item, from number i on. It writes what has to be merged into OUT/.shards/i-of-n/, whose
shard.json says what the work is, and whether it is done. The same command without a part merges all of them. Starting
processes, and starting lost ones again, is left to torchrun, srun and Kubernetes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from utils.atomic import make_folder, write_text
from utils.config import check_least, flag, flags_of, groups_of
from utils.errors import UserError
from utils.reading.json_file import read_json
from utils.runs.file_lock import hold

log = logging.getLogger(__name__)
FOLDER, RECORD = ".shards", "shard.json"  # hidden, because it is removed: no folder of a user has that name
_PRACTICAL = ("workers", "shard", "dry_run", "overwrite", "device")  # flags that do not change results
Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """Part `index` (from 0) of `count`."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise UserError(f"part {self.index} of {self.count}: parts are numbered from 0 to N - 1")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def of(self, items: Sequence[Item]) -> list[Item]:
        """The items of this part."""
        return list(items[self.index :: self.count])


@dataclass(frozen=True)
class ShardFlags:
    """How much of the work this process does."""

    shard: str | None = flag(None, metavar="I/N")
    """Do part I of N, I from 0 (default: as torchrun, srun, a SLURM array or Kubernetes say); the same command without
    it merges the parts."""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        if self.shard is not None:  # a launcher's variables matter only where work is shared
            self.part()

    def part(self) -> Shard | None:
        """This process's part; None: all of the work, or the merging of the parts.

        Raises:
            UserError: it is not I/N, or the environment contradicts itself.
        """
        if self.shard is None:
            shard = launched(os.environ)
        elif found := re.fullmatch(r"(\d{1,9})/(\d{1,9})", self.shard):
            shard = Shard(*map(int, found.groups()))
        else:
            raise UserError(f"--shard {self.shard}: must be I/N, such as 0/4 for the first of four parts")
        return shard if shard.count > 1 else None


@dataclass(frozen=True)
class WorkerFlags:
    """With how many processes the work is done."""

    workers: int | None = None
    """Processes on this machine (default: all cores)."""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        check_least(self, workers=1)


@dataclass(frozen=True)
class WorkFlags(WorkerFlags, ShardFlags):
    """Both."""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        ShardFlags.check(self)
        WorkerFlags.check(self)


def cores() -> int:
    """Cores for each process of this machine: those that it may use, shared among torchrun's local processes."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    local = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, usable // max(1, int(local) if local.isdigit() else 1))


def launched(environment: Mapping[str, str]) -> Shard:
    """The part that a launcher's variables describe; 0/1 without any.

    torchrun and accelerate set RANK and WORLD_SIZE, srun SLURM_PROCID and SLURM_NTASKS (a batch script has them as
    well, but no step), Kubernetes JOB_COMPLETION_INDEX, beside which the job's number of completions must be given as
    WORLD_SIZE. The tasks of a SLURM array are parts themselves, in each of which the processes share the work.

    Raises:
        UserError: a variable is missing, or is not a number.
    """

    def number(name: str) -> int:
        text = environment.get(name, "")
        if not re.fullmatch(r"\d{1,9}", text):
            raise UserError(f"{name}={text}: the launcher's variable is not a number; set it, or give --shard I/N")
        return int(text)

    shard = Shard(0, 1)
    if "RANK" in environment:
        shard = Shard(number("RANK"), number("WORLD_SIZE"))
    elif "SLURM_PROCID" in environment and ("SLURM_STEP_ID" in environment or "SLURM_JOB_ID" not in environment):
        tasks = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS"
        shard = Shard(number("SLURM_PROCID"), number(tasks))
    elif "JOB_COMPLETION_INDEX" in environment:
        shard = Shard(number("JOB_COMPLETION_INDEX"), number("WORLD_SIZE"))
    if "SLURM_ARRAY_TASK_ID" not in environment:
        return shard
    first, last, count = (number(f"SLURM_ARRAY_TASK_{name}") for name in ("MIN", "MAX", "COUNT"))
    step, rest = divmod(last - first, max(1, count - 1))
    row, uneven = divmod(number("SLURM_ARRAY_TASK_ID") - first, max(1, step))
    if rest or uneven:
        raise UserError("SLURM_ARRAY_TASK_ID: the array's numbers are not evenly spaced; give --shard I/N")
    return Shard(row * shard.count + shard.index, count * shard.count)


def settings_of(config: Any) -> dict[str, Any]:
    """The flags that change results; paths, which differ between machines, count as given or not."""
    found: dict[str, Any] = {}
    for name, _, _ in groups_of(type(config)):
        found |= settings_of(getattr(config, name))
    for one in flags_of(type(config)).values():
        value = getattr(config, one.name)
        if one.name not in _PRACTICAL:
            found[one.name] = value is not None if one.kind is Path else value
    return json.loads(json.dumps(found))


@dataclass(frozen=True)
class FinishedPart:
    """A finished part."""

    folder: Path
    results: Any  # what it recorded for the command that merges


@dataclass(frozen=True)
class SharedWork:
    """What a command does in a folder. Parts belong together if they agree on all of it."""

    out: Path
    items: Sequence[str]  # names, in order
    settings: Mapping[str, Any]

    def do_part(self, shard: Shard, do: Callable[[Path], Any]) -> None:
        """Do one part, unless it is done already: `do` takes its folder and returns results that fit into JSON.

        Raises:
            UserError: another process does it, or the folder holds parts of other work.
        """
        folder = self._folder(shard)
        self._check_counts(shard.count)
        make_folder(folder)
        lock = hold(folder / "lock")
        if lock is None:
            raise UserError(f"--shard {shard}: another process is working on it ({folder}); wait for it, or end it")
        try:
            self._check_counts(shard.count)
            known = self._record(folder)
            if known is not None and known["done"]:
                log.info("part %s is done already; the same command without --shard merges all parts", shard)
                return
            log.info("part %s: %d of %d items", shard, len(shard.of(self.items)), len(self.items))
            self._write(folder, False, None)
            self._write(folder, True, do(folder))
            log.info("part %s is done; when all are, the same command without --shard merges them", shard)
        finally:
            lock.release()

    def finished(self) -> list[FinishedPart]:
        """All parts in order, for merging; none if the work was not shared.

        Raises:
            UserError: a part is missing, not done, or of other work; parts overlap.
        """
        shutil.rmtree(self._merged, ignore_errors=True)
        count, folders = self._check_counts()
        parts = []
        for shard in (Shard(index, count) for index in range(count)):
            folder = self._folder(shard)
            record = self._record(folder) if folder in folders else None
            if record is None or not record["done"]:
                state = "is missing" if record is None else f"did not end (it ran on {record.get('host')})"
                raise UserError(f"{folder}: this part {state}; give the same command with --shard {shard}, then merge")
            parts.append(FinishedPart(folder, record["results"]))
        return parts

    def remove(self) -> None:
        """Remove the parts, when they are merged."""
        if (self.out / FOLDER).is_dir():
            (self.out / FOLDER).rename(self._merged)  # first: a kill must not leave some of the parts
            shutil.rmtree(self._merged, ignore_errors=True)

    @property
    def _merged(self) -> Path:
        return self.out / f"{FOLDER}.merged"

    def _folder(self, shard: Shard) -> Path:
        return self.out / FOLDER / f"{shard.index}-of-{shard.count}"

    def _check_counts(self, coming: int | None = None) -> tuple[int, list[Path]]:
        """Number of parts, and the folders that there are; UserError if they or a coming one differ in that number."""
        folders = sorted((self.out / FOLDER).glob("*-of-*"))
        counts = sorted({folder.name.partition("-of-")[2] for folder in folders} | ({str(coming)} if coming else set()))
        if len(counts) > 1:
            raise UserError(f"{self.out / FOLDER}: holds parts of {' and of '.join(counts)}, which overlap; remove the "
                            "folders of one number")  # fmt: skip
        return int(counts[0]) if counts and counts[0].isdigit() else 0, folders

    def _record(self, folder: Path) -> dict[str, Any] | None:
        """A part's record; UserError if it is of other work than this command's."""
        if not (folder / RECORD).is_file():
            return None
        record = read_json(folder / RECORD)
        now = self._identity()
        differing = [name for name in now if record.get(name) != now[name]]
        then = record.get("settings")
        if "settings" in differing and isinstance(then, dict):
            flags = [name for name in {**then, **now["settings"]} if then.get(name) != now["settings"].get(name)]
            differing = [*differing, *(f"--{name}" for name in flags)]
            differing.remove("settings")
        if differing:
            raise UserError(f"{folder}: this part was made of other {', '.join(differing)} than this command's; remove "
                            "the folder and repeat the part")  # fmt: skip
        return {"done": False, "results": None, **record}

    def _identity(self) -> dict[str, Any]:
        names = hashlib.blake2b("\n".join(self.items).encode(), digest_size=12).hexdigest()
        return {"items": f"{len(self.items)} {names}", "settings": dict(self.settings)}

    def _write(self, folder: Path, done: bool, results: Any) -> None:
        record = {**self._identity(), "done": done, "host": socket.gethostname(), "results": results}
        write_text(folder / RECORD, json.dumps(record, ensure_ascii=False) + "\n")
