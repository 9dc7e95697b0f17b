"""Variants of a training run, which processes may share, and one table of them: `--ablate` of both scripts."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from utils.atomic import write_text
from utils.errors import UserError
from utils.reading.json_file import read_lines
from utils.reports.text_table import text_table
from utils.runs import run_dir
from utils.runs.grid import Point, flags_in, grid_csv, grid_rows, read_points
from utils.runs.shards import ShardFlags, SharedWork, settings_of
from utils.training.process_group import alone, first_after_all
from utils.training.run_config import RunConfig, finished_run

log = logging.getLogger(__name__)
_MEASURED = "val/"
_OF_ALL = ("exp_name", "ablate", "mode", "dry_run", "shard", "config")  # what variants cannot set


class Program(Protocol):
    """All flags of a training script, a dataclass."""

    @property
    def run(self) -> RunConfig: ...

    @property
    def work(self) -> ShardFlags: ...

    def resolved(self) -> dict[str, Any]:
        """The flags as config.json records them."""
        ...


Flags = TypeVar("Flags", bound=Program)


def ablate(
    kind: str, flags: Flags, argv: list[str], parse: Callable[[list[str]], Flags], train: Callable[[Flags], None]
) -> None:
    """Train every variant that is not trained yet; write and print the table of their last validations.

    Of several parts, each trains every n-th variant by itself, on one device; the process that merges writes the table.

    Args:
        kind: SE or DPT.
        flags: of the command line `argv`.

    Raises:
        UserError: a file that is no grid of flags, or variants that could not be trained.
    """
    path, name = flags.run.ablate, flags.run.exp_name
    assert path is not None
    if flags.run.mode != "train":
        raise UserError("--ablate: trains variants; leave --mode out")
    points, shard = read_points(path), flags.work.part()
    if set_for_all := [flag for flag in flags_in(points) if flag in _OF_ALL]:
        raise UserError(f"{path}: sets {set_for_all[0]}, which is for all variants; give it on the command line")
    variants = [_variant(point, path, name, argv, parse) for point in points]
    mine = variants if shard is None else shard.of(variants)
    if flags.run.dry_run:
        _report(path, mine, train_all(kind, mine, train))
        return
    out = run_dir.EXPERIMENTS / kind / f"{name}-ablation"
    work = SharedWork(out, [one.run.exp_name for one in variants], settings_of(flags))
    if shard is not None:
        failed: list[str] = []
        work.do_part(shard, lambda _: failed.extend(train_all(kind, mine, train)) or failed)
        if not first_after_all(shard.count):
            if "RANK" not in os.environ:  # else torchrun's first process reports, and an error here would end it
                _report(path, mine, failed)
            return
    parts = work.finished()
    failed = [each for part in parts for each in part.results] if parts else train_all(kind, mine, train)
    runs = [finished_run(kind, one.run, one.resolved()) for one in variants]
    measured = [{} if run is None else last_validation(run) for run in runs]
    print(write_table(out.with_name(f"{out.name}.csv"), points, measured))
    work.remove()
    with contextlib.suppress(OSError):  # there is no such folder without parts
        out.rmdir()
    _report(path, variants, failed)


def train_all(kind: str, variants: Sequence[Flags], train: Callable[[Flags], None]) -> list[str]:
    """Train these variants one after the other, except finished ones; the names of those that failed."""
    failed = []
    for number, one in enumerate(variants, 1):
        if not one.run.fresh and finished_run(kind, one.run, one.resolved()):
            continue
        log.info("variant %d of %d: %s", number, len(variants), one.run.exp_name)
        try:
            with alone(one.run.device) as device:
                train(_with_run(one, device=device))
        except Exception as error:  # out of memory, for example; the others may be better
            log.error("%s: %s", one.run.exp_name, error, exc_info=not isinstance(error, UserError))
            failed.append(one.run.exp_name)
    return failed


def _report(path: Path, variants: Sequence[Program], failed: list[str]) -> None:
    """Raises UserError if variants failed."""
    if failed:
        raise UserError(f"{path}: {len(failed)} of {len(variants)} variants failed, see above: {', '.join(failed)}")


def _with_run(flags: Flags, **changed: Any) -> Flags:
    return replace(flags, run=replace(flags.run, **changed))  # pyright: ignore[reportArgumentType]


def _variant(point: Point, path: Path, name: str, argv: list[str], parse: Callable[[list[str]], Flags]) -> Flags:
    """Its flags; each variant is a separate run, named after its values."""
    try:
        found = parse([*argv, *point.argv, "--exp_name", f"{name}+{point.name.replace(',', '+')}"])
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return _with_run(found, ablate=None)


def last_validation(run: Path) -> dict[str, float]:
    """Measure -> value after the last step, from the run's log."""
    entries = [json.loads(line) for line in read_lines(run / "logs" / "metrics.jsonl")]
    found = {name: value for entry in entries for name, value in entry.items() if name.startswith(_MEASURED)}
    return {name.removeprefix(_MEASURED): value for name, value in found.items()}


def write_table(out: Path, points: list[Point], found: list[dict[str, float]]) -> str:
    """All measures as CSV; the table of the losses, without what was measured on generated clips."""
    columns = list(dict.fromkeys(name for one in found for name in one))
    write_text(out, grid_csv(points, columns, found))
    log.info("wrote %s", out)
    shown = [name for name in columns if "/" not in name]
    body = [[*row, *(f"{one[name]:.5g}" if name in one else "-" for name in shown)]
            for row, one in zip(grid_rows(points), found)]  # fmt: skip
    return text_table([[*flags_in(points), *shown], *body])
