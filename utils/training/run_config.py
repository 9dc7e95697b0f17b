"""What every run needs: its flags and its folder."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from utils.atomic import write_text
from utils.config import all_flags, flag, read_flags, read_values
from utils.devices import PRECISION_SPELLINGS, PRECISIONS
from utils.errors import UserError
from utils.reading.json_file import read_json
from utils.runs.checkpoint import load_checkpoint
from utils.runs.file_lock import hold
from utils.runs.run_dir import find_run, find_runs, iter_name, new_run, saved_steps
from utils.runs.shards import ShardFlags
from utils.training.trainer import TrainerConfig

if TYPE_CHECKING:
    from torch.distributed import Store  # pyright: ignore[reportPrivateImportUsage]

log = logging.getLogger(__name__)
# Flags that may differ between a run and its continuation by the same command.
_PRACTICAL = (
    *("resume", "fresh", "dry_run", "num_workers", "device", "mode", "iter", "cuda_graph", "preload"),
    *("log_with", "ablate"),
)
_KINDS = {"SE": "style_encoder", "DPT": "talker"}
_NOTE = "run"
_PATIENCE = 120  # seconds; file servers keep the locks of a machine that is gone for a while


@dataclass(frozen=True, kw_only=True)
class RunConfig(TrainerConfig):
    """Flags that both training scripts share: the run's own, and the loop's."""

    exp_name: str
    """Name of the run; its folder gets a time stamp."""
    data_root: Path = Path("datasets/HDTF_TFHP/lmdb")
    """Folder of the LMDB data set, with train.txt, val.txt and test.txt beside it; or several folders: A,B, a text file
    with one a line, or a JSON object {folder: weight} (docs/scale.md)."""
    stats_file: Path = Path("stats_train.npz")
    """Statistics, relative to data_root."""
    mode: str = flag("train", choices=("train", "test"))
    """train or test."""
    iter: int | None = None
    """Iteration to test (default: the last)."""
    batch_size: int = 16
    """Items per batch and process."""
    num_workers: int = 4
    """Processes that read data, at most one for each core."""
    seed: int = 0
    """Seed of weights, data order, noise and dropout."""
    device: str = "auto"
    """cuda, cpu, or auto."""
    precision: str = flag("fp32", choices=PRECISIONS, spellings=PRECISION_SPELLINGS)
    """Precision of products: fp32, tf32 (about three digits), bf16 or fp16 (autocast; losses stay in fp32)."""
    tf32: bool = False
    """The same as --precision tf32."""
    compile: bool = False
    """Compile the network with torch.compile."""
    cuda_graph: bool = False
    """Replay each training step from a captured CUDA graph: faster where launching kernels takes most of the time."""
    preload: bool = False
    """Keep the training set decoded in device memory (about 0.2 GB per hour of clips) instead of reading it."""
    resume: bool = False
    """Continue the newest run of this name even if other flags have changed. The same command continues without it."""
    fresh: bool = False
    """Begin a new run although the same command left an unfinished one."""
    ablate: Path | None = None
    """JSON of flags to try, {flag: [values]} or [{flag: value}, {}]: train all variants and print their validations."""
    freeze: str | None = None
    """Parts of the network that are not trained: names of modules, separated by commas."""
    dry_run: bool = False
    """Print the configuration, sizes, and a step's time and memory; write nothing."""

    @property
    def matmul_precision(self) -> str:
        return "tf32" if self.tf32 and self.precision == "fp32" else self.precision


class _Program(Protocol):
    """All flags of a training script."""

    @property
    def run(self) -> RunConfig: ...

    @property
    def work(self) -> ShardFlags: ...


Program = TypeVar("Program", bound=_Program)


def check_heads(feature_dim: int, n_heads: int) -> None:
    """Raises UserError: attention cannot divide the features among its heads."""
    if feature_dim < 1 or n_heads < 1 or feature_dim % n_heads:
        raise UserError(f"--feature_dim {feature_dim}: must be a multiple of --n_heads, which is {n_heads}")


def read_run_flags(kind: str, program: type[Program], argv: list[str] | None, description: str) -> Program:
    """The flags of a training script. A test takes those that are not given from the run's own config.json.

    Raises:
        UserError: as `read_flags`; a part of something else than variants; in a test also: no such run.
    """
    flags = read_flags(program, argv, description)
    if flags.work.shard is not None and flags.run.ablate is None:
        raise UserError(f"--shard {flags.work.shard}: shares the variants of --ablate; several processes share one run "
                        "through torchrun (docs/training.md)")  # fmt: skip
    if flags.run.mode == "train":
        return flags
    record = find_run(kind, flags.run.exp_name) / "config.json"
    if not record.is_file():
        log.info("%s has no config.json, so defaults stand for the flags that are not given", record.parent.name)
        return flags
    known = read_values(record, {n: one for n, one in all_flags(program).items() if n not in _PRACTICAL}, some=True)
    return read_flags(program, argv, description, {name: known[name] for name in known if name != "exp_name"})


@dataclass(frozen=True)
class OpenedRun:
    """A run's folder, and the checkpoint to continue from, if any."""

    folder: Path
    resumed: Path | None


@contextlib.contextmanager
def open_run(
    kind: str, config: RunConfig, resolved: dict[str, Any], launch: Store | None = None
) -> Iterator[OpenedRun]:
    """The run to continue, or a new one, locked until the end, so that no other process trains in its folder.

    The newest unfinished run of this name with the same configuration is continued; with `--resume` the newest of this
    name, with whatever configuration. `config.json` says what a run was started with. If torchrun starts its processes
    again, they continue the run that is noted in its store (`launch`), also a finished one and with `--fresh`.

    Raises:
        UserError: `--resume` without a run or a checkpoint of that name, or while it is running.
    """
    begun = _begun(launch)
    folder = begun or _run_to_continue(kind, config, resolved)
    if folder is None:
        folder = new_run(kind, config.exp_name)
    if launch is not None:
        launch.set(_NOTE, str(folder))
    lock = hold(folder / "lock", _PATIENCE if begun else 0)
    if lock is None:
        raise UserError(f"{folder.name}: another process is training it; end that one, or use another --exp_name")
    try:
        for leftover in (folder / "checkpoints").glob(".*.tmp*"):
            leftover.unlink()
        resumed = _last_usable(folder, _KINDS[kind])
        write_text(folder / "config.json", json.dumps(resolved, indent=2) + "\n")
        try:
            yield OpenedRun(folder, resumed)
        finally:
            if not _has_results(folder):
                shutil.rmtree(folder)
    finally:
        lock.release()


def _has_results(run: Path) -> bool:
    """Whether a run has results; one that failed the checks before its first step has none."""
    return any(p.is_file() and p.name not in ("config.json", "lock") for p in run.rglob("*"))


def _begun(launch: Store | None) -> Path | None:
    """The folder of the run that this launch of torchrun has begun, unless it was removed with nothing in it."""
    if launch is None or not launch.check([_NOTE]):
        return None
    folder = Path(launch.get(_NOTE).decode())
    return folder if folder.is_dir() else None


def _run_to_continue(kind: str, config: RunConfig, resolved: dict[str, Any]) -> Path | None:
    if config.resume:
        run = find_run(kind, config.exp_name)
        if not saved_steps(run):
            raise UserError(f"--resume: {run.name} has no checkpoint yet; start it without --resume")
        for flag, (then, now) in _differences(run, resolved).items():
            log.info("--resume: %s was %s, is now %s", flag, then, now)
        return run
    for run in [] if config.fresh else find_runs(kind, config.exp_name):
        unfinished = max(saved_steps(run), default=0) < config.max_iter
        differing = _differences(run, resolved)
        if unfinished and not differing and not _is_locked(run):
            return run
        if unfinished and differing:
            log.info("%s is unfinished but not continued: %s differ; --resume would", run.name, ", ".join(differing))
    return None


def finished_run(kind: str, config: RunConfig, resolved: dict[str, Any]) -> Path | None:
    """The newest run of this name that has been trained to its end with the same configuration."""
    for run in find_runs(kind, config.exp_name):
        if max(saved_steps(run), default=0) >= config.max_iter and not _differences(run, resolved):
            return run
    return None


def _differences(run: Path, resolved: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Flags whose values have changed since the run was started -> (then, now)."""
    try:
        then = _flags(read_json(run / "config.json"))
    except (UserError, AttributeError):
        return {"config.json": ("unreadable", "")}
    now = _flags(_plain(resolved))
    names = [name for name in {**then, **now} if name not in _PRACTICAL]
    return {f"--{n}": (then.get(n), now.get(n)) for n in names if then.get(n) != now.get(n)}


def _flags(groups: dict[str, Any]) -> dict[str, Any]:
    """All flags of all groups, precisions in one spelling; AttributeError if a group is not a dictionary."""
    flags = {name: value for group in groups.values() for name, value in group.items()}
    return flags | {"precision": PRECISION_SPELLINGS.get(str(flags.get("precision")), flags.get("precision"))}


def _plain(resolved: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(resolved))


def _last_usable(run: Path, kind: str) -> Path | None:
    """The newest checkpoint that can be read."""
    for step in sorted(saved_steps(run), reverse=True):
        path = run / "checkpoints" / f"{iter_name(step)}.pt"
        try:
            load_checkpoint(path, kind)
        except UserError as error:
            log.warning("%s; going back to the checkpoint before", error)
            continue
        log.info("continuing %s from step %d", run.name, step)
        return path
    return None


def _is_locked(run: Path) -> bool:
    lock = hold(run / "lock")
    if lock is not None:
        lock.release()
    return lock is None
