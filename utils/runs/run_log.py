"""A run's scalars and pictures: for TensorBoard, W&B or MLflow, and one JSON line per entry for other tools."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np

from utils.atomic import write_text
from utils.errors import UserError
from utils.reading.json_file import read_json

LOGGERS = ("tensorboard", "wandb", "mlflow")
_PROJECT = "diffposetalk"


class RunLog:
    """Writes to `folder`. Entries after `step`, which a killed run left, are dropped: they will be written again."""

    def __init__(self, folder: Path, step: int = 0, enabled: bool = True, log_with: str = "tensorboard") -> None:
        """
        Args:
            folder: `logs` in the run's folder.
            enabled: False (every process but the first): nothing is written.
            log_with: one of LOGGERS.
        """
        self._lines, self._enabled = folder / "metrics.jsonl", enabled
        self._board = self._tracker = None
        if not enabled:
            return
        folder.mkdir(parents=True, exist_ok=True)
        drop_later_lines(self._lines, step)
        if log_with != "tensorboard":
            self._tracker = start_tracker(log_with, folder)
            return
        from torch.utils.tensorboard import SummaryWriter

        self._board = SummaryWriter(folder, purge_step=step + 1 if step else None)

    def write(self, step: int, scalars: dict[str, float]) -> None:
        if not self._enabled:
            return
        if self._board is not None:
            for name, value in scalars.items():
                self._board.add_scalar(name, value, step)
        if self._tracker is not None:
            self._tracker.log(scalars, step=step)
        with self._lines.open("a") as file:
            file.write(json.dumps({"step": step, **scalars}) + "\n")

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        """pixels: uint8 (H, W, 3)."""
        if self._board is not None:
            self._board.add_image(name, pixels, step, dataformats="HWC")
        if self._tracker is not None and hasattr(self._tracker, "log_images"):
            self._tracker.log_images({name: [pixels]}, step=step)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *error) -> None:
        if self._board is not None:
            self._board.close()
        if self._tracker is not None:
            self._tracker.finish()


def check_logger(name: str) -> None:
    """Raises UserError if the package of `--log_with` is not installed."""
    if importlib.util.find_spec(name) is None:
        raise UserError(f"--log_with {name}: is not installed; pip install {name}, or leave the flag out")


def start_tracker(name: str, folder: Path) -> Any:
    """accelerate's tracker of a run, which knows the run's flags; W&B continues a run of the same folder."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    run = folder.parent.name
    more = {"name": run, "id": run, "resume": "allow", "dir": str(folder)} if name == "wandb" else {"run_name": run}
    tracker = LOGGER_TYPE_TO_CLASS[name](_PROJECT, **more)
    tracker.start()
    record = folder.parent / "config.json"
    groups = read_json(record) if record.is_file() else {}
    tracker.store_init_configuration({flag: value for group in groups.values() for flag, value in group.items()})
    return tracker


def drop_later_lines(path: Path, step: int) -> None:
    """Keep the JSON lines up to `step`; a line that a kill cut off is dropped."""
    if not path.exists():
        return
    kept = [line for line in path.read_text(errors="replace").splitlines() if _step_of(line) <= step]
    write_text(path, "".join(line + "\n" for line in kept))


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return float("inf")
