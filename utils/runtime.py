"""What every run needs: its flags, its device, its folder, its random numbers."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from utils.errors import UserError
from utils.run_dir import find_run, iter_name, new_run, saved_steps
from utils.trainer import TrainerConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunConfig(TrainerConfig):
    """Flags that both training scripts share: the run's own, and the loop's."""

    exp_name: str
    """Name of the run; its folder gets a time stamp."""
    data_root: Path = Path("datasets/HDTF_TFHP/lmdb")
    """Folder of the LMDB data set, with train.txt, val.txt and test.txt beside it."""
    stats_file: Path = Path("stats_train.npz")
    """Statistics, relative to data_root."""
    mode: str = "train"
    """train or test."""
    iter: int = 100_000
    """Iteration to test."""
    batch_size: int = 16
    """Items per step."""
    num_workers: int = 4
    """Processes that read data."""
    seed: int = 0
    """Seed of weights, data order and noise."""
    device: str = "auto"
    """cuda, cpu, or auto."""
    tf32: bool = False
    """Let the GPU multiply float32 matrices in TF32 (faster, about three digits)."""
    resume: bool = False
    """Continue the newest run of this name from its last checkpoint."""


class Randomness:
    """Two seeded generators: `host` for decisions the CPU takes, `device` for noise, drawn where it is used."""

    def __init__(self, seed: int, device: torch.device | str) -> None:
        self.host = torch.Generator().manual_seed(seed)
        self.device = torch.Generator(device).manual_seed(seed)

    def state(self) -> dict[str, Tensor]:
        return {"host": self.host.get_state(), "device": self.device.get_state()}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.host.set_state(state["host"].cpu())
        self.device.set_state(state["device"].cpu())


def pick_device(name: str, tf32: bool = False) -> torch.device:
    """'auto' takes the GPU when there is one.

    Raises:
        UserError: the device is unknown or absent.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name}: not available here; use cpu, or auto") from error
    if tf32:
        torch.set_float32_matmul_precision("high")
    return device


def open_run(kind: str, config: RunConfig, resolved: dict[str, Any]) -> tuple[Path, Path | None]:
    """The run's folder (with its configuration written to config.json) and the checkpoint to resume from, if any.

    Raises:
        UserError: `--resume` without a run or a checkpoint of that name.
    """
    if config.resume:
        run = find_run(kind, config.exp_name)
        steps = saved_steps(run)
        if not steps:
            raise UserError(f"--resume: {run.name} has no checkpoint yet; start it without --resume")
        log.info("resuming %s from step %d", run.name, max(steps))
        return run, run / "checkpoints" / f"{iter_name(max(steps))}.pt"
    run = new_run(kind, config.exp_name)
    (run / "config.json").write_text(json.dumps(resolved, indent=2) + "\n")
    log.info("writing to %s", run)
    return run, None
