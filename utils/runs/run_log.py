"""A run's scalars and pictures: for TensorBoard, and one JSON line per entry for other tools."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from utils.atomic import write_text


class RunLog:
    """Writes to `folder`. Entries after `step`, which a killed run left, are dropped: they will be written again."""

    def __init__(self, folder: Path, step: int = 0, enabled: bool = True) -> None:
        """`enabled` False (every process but the first): nothing is written."""
        self._lines = folder / "metrics.jsonl"
        self._board = None
        if enabled:
            from torch.utils.tensorboard import SummaryWriter

            folder.mkdir(parents=True, exist_ok=True)
            drop_later_lines(self._lines, step)
            self._board = SummaryWriter(folder, purge_step=step + 1 if step else None)

    def write(self, step: int, scalars: dict[str, float]) -> None:
        if self._board is None:
            return
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)
        with self._lines.open("a") as file:
            file.write(json.dumps({"step": step, **scalars}) + "\n")

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        """pixels: uint8 (H, W, 3)."""
        if self._board is not None:
            self._board.add_image(name, pixels, step, dataformats="HWC")

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *error) -> None:
        if self._board is not None:
            self._board.close()


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
