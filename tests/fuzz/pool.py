"""Readers at work in child processes that may die."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import time
import traceback
from collections import deque
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path

import torch
from tqdm import tqdm

from tests.fuzz.readers import Reader, make_input
from tests.fuzz.seeds import Seed
from tests.fuzz.watch import Watch

HANGS = 60.0  # seconds without a sign
WORKING_ON, READ, FAILED, ENDED = range(4)
_fork = multiprocessing.get_context("fork")  # everything is imported once, before


@dataclass(frozen=True)
class Job:
    """A reader, and how much it has to read."""

    reader: Reader
    seed: int
    inputs: int
    seconds: float  # 0: no limit
    keep: Path


@dataclass
class Result:
    """What became of a reader's files; failures of a kind are counted, and the first is kept."""

    reader: str
    done: int = 0
    taken: int = 0
    n_failed: int = 0
    failures: dict[str, tuple[int, Path]] = field(default_factory=dict)


class Worker:
    """One child process, started again after each crash."""

    def __init__(self, job: Job, folder: Path) -> None:
        self.job, self.folder, self.result = job, folder, Result(job.reader.name)
        folder.mkdir()
        self.corpus = job.reader.seeds(folder)
        self.deadline = time.monotonic() + job.seconds if job.seconds else float("inf")
        self._start(0)

    def _start(self, first: int) -> None:
        self.index, self.beat = first, time.monotonic()
        self.connection, theirs = _fork.Pipe(duplex=False)
        self.process = _fork.Process(target=_work, args=(self, first, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def pump(self) -> int | None:
        """Take what the child has said -> how many files are done more; None: it is finished."""
        before = self.result.done
        while self.connection.poll():
            try:
                kind, value = self.connection.recv()
            except EOFError:
                return self._died(before, f"died with exit code {self._exit_code()}")
            self.beat = time.monotonic()
            if kind == WORKING_ON:
                self.index = value
            elif kind == READ:
                self.result.done, self.result.taken = self.result.done + 1, self.result.taken + value
            elif kind == FAILED:
                self._fail(value)
                self._start(self.index + 1)
            else:
                self.process.join()
                return None
        if time.monotonic() - self.beat > HANGS:
            self.process.kill()
            return self._died(before, f"hung for {HANGS:.0f} s")
        return self.result.done - before

    def _exit_code(self) -> int | None:
        self.process.join()
        return self.process.exitcode

    def _died(self, before: int, problem: str) -> int:
        self._fail(problem)
        self._start(self.index + 1)
        return self.result.done - before

    def _fail(self, problem: str) -> None:
        self.process.join(5)
        self.result.done, self.result.n_failed = self.result.done + 1, self.result.n_failed + 1
        kind = re.sub(r"\d+", "#", problem.partition(" at ")[2] or problem)[:100]
        known = next(
            (
                text
                for text in self.result.failures
                if re.sub(r"\d+", "#", text.partition(" at ")[2] or text)[:100] == kind
            ),
            None,
        )
        if known is not None:
            count, path = self.result.failures[known]
            self.result.failures[known] = (count + 1, path)
            return
        bad = make_input(self.job.reader, self.corpus, self.job.seed, self.index)
        self.job.keep.mkdir(parents=True, exist_ok=True)
        path = self.job.keep / f"{self.job.reader.name}-{self.job.seed}-{self.index}{bad.suffix}"
        path.write_bytes(bad.data)
        self.result.failures[problem] = (1, path)


def _kind(problem: str) -> str:
    """Where it happened, if that is known; else what, without its numbers."""
    return problem.partition(" at ")[2] or re.sub(r"\d+", "#", problem)[:100]


def _work(worker: Worker, first: int, connection: Connection) -> None:
    """In the child: read files until one fails; then the process has served, as its memory may be in any state."""
    job, corpus, folder = worker.job, worker.corpus, worker.folder
    logging.disable()
    with (folder / "stderr").open("w") as file:  # what C libraries print about damaged files
        os.dup2(file.fileno(), 2)
    here = folder / "in"
    here.mkdir(exist_ok=True)
    for seed in corpus:  # loads what the reader imports late, and takes its memory, before the watch begins
        _quietly(job, here, seed)
    watch = Watch(folder)
    for index in range(first, job.inputs):
        if time.monotonic() > worker.deadline:
            break
        connection.send((WORKING_ON, index))
        made = make_input(job.reader, corpus, job.seed, index)
        path = here / f"x{made.suffix}"
        path.write_bytes(made.data)
        taken, problem = watch.attempt(job.reader.read, path)
        if not problem and (folder / "executed").exists():
            problem = "executed code"
        path.unlink(missing_ok=True)
        connection.send((FAILED, problem) if problem else (READ, taken))
        if problem:
            return
    connection.send((ENDED, None))


def _quietly(job: Job, here: Path, seed: Seed) -> None:
    path = here / f"x{seed.suffix}"
    path.write_bytes(seed.data)
    try:
        job.reader.read(path)
    except Exception:
        logging.debug("%s", traceback.format_exc())


def run_all(jobs: list[Job], workers: int, folder: Path) -> list[Result]:
    """All jobs, `workers` at a time, with a progress bar."""
    torch.set_num_threads(1)  # a fork takes no threads along
    waiting, active, results = deque(enumerate(jobs)), [], {}
    with tqdm(total=sum(job.inputs for job in jobs), desc="reading", unit="file", mininterval=2) as bar:
        while waiting or active:
            while waiting and len(active) < workers:
                number, job = waiting.popleft()
                active.append((number, Worker(job, folder / job.reader.name)))
            wait([worker.connection for _, worker in active], timeout=1)
            for item in list(active):
                done = item[1].pump()
                if done is None:
                    active.remove(item)
                    results[item[0]] = item[1].result
                bar.update(done or 0)
    return [results[number] for number in sorted(results)]
