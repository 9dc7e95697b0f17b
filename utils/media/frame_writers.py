"""Writers of frames while they are made: lines of JSON or CSV, flushed at once, or an npz at the end."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import numpy as np

from utils.coefs import N_EXP, N_POSE
from utils.errors import UserError
from utils.motion_file import Motion
from utils.timebase import FPS

STDOUT = "-"
LINE_SUFFIXES = (".ndjson", ".jsonl", ".csv")
DIGITS = 6  # after the point: a millionth of a standard coefficient, a microradian
POSE_NAMES = ("head_x", "head_y", "head_z", "jaw_x", "jaw_y", "jaw_z")  # axis-angle, radians

assert len(POSE_NAMES) == N_POSE


def json_line(frame: int, exp: np.ndarray, pose: np.ndarray, tongue: np.ndarray | None = None) -> str:
    """One frame as one object: number, time in seconds, 50 expression coefficients, 6 rotations, the tongue's 2."""
    values = {"frame": frame, "time": round(frame / FPS, 3), "exp": _rounded(exp), "pose": _rounded(pose)}
    return json.dumps(values | ({} if tongue is None else {"tongue": _rounded(tongue)}), separators=(",", ":"))


def csv_line(frame: int, exp: np.ndarray, pose: np.ndarray, tongue: np.ndarray | None = None) -> str:
    """The same numbers in the order of `csv_header`, without the tongue."""
    return ",".join(f"{x:g}" for x in (frame, frame / FPS, *_rounded(exp), *_rounded(pose)))


def csv_header() -> str:
    return ",".join(["frame", "time", *(f"exp_{i}" for i in range(N_EXP)), *POSE_NAMES])


class LineWriter:
    """Writes frames as lines and flushes after each piece. A live file grows in place: it cannot appear as a whole."""

    def __init__(self, output: str | Path) -> None:
        """output: a path that ends in .ndjson, .jsonl or .csv, or `-` for JSON lines on standard output.

        Raises:
            UserError: the file cannot be written.
        """
        self.path, self.count = str(output), 0
        suffix = Path(output).suffix.lower()
        self._line: Callable[..., str] = csv_line if suffix == ".csv" else json_line
        if self.path == STDOUT and sys.stdout is None:
            raise UserError("--output -: standard output is closed; give a file")
        self._file = sys.stdout if self.path == STDOUT else _opened(Path(output))
        if suffix == ".csv":
            print(csv_header(), file=self._file, flush=True)

    def write(self, motion: Motion) -> None:
        """Append a piece of motion.

        Raises:
            UserError: the program that read the lines from standard output or a pipe has closed it.
        """
        try:
            tongues = [None] * len(motion) if motion.tongue is None else motion.tongue
            for i, frame in enumerate(zip(motion.exp, motion.pose, tongues), self.count):
                print(self._line(i, *frame), file=self._file)
            self._file.flush()
        except BrokenPipeError as error:
            if self._file is sys.stdout:  # what is still buffered would fail again when Python ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise UserError(f"--output {self.path}: the program that read the frames has closed the pipe") from error
        except OSError as error:  # a full disk does not say where
            error.filename = self.path
            raise
        self.count += len(motion)

    def close(self) -> None:
        if self._file is not sys.stdout:
            self._file.close()


def _opened(path: Path) -> TextIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another output path") from error


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(x), DIGITS) for x in values]
