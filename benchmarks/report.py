"""The frame of all benchmarks: flags, timing, and rows -> an aligned text table and a JSON file without NaN."""

from __future__ import annotations

import logging
import math
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from utils import config
from utils.atomic import check_output, write_text
from utils.reports.json_text import json_text
from utils.reports.text_table import text_table

__all__ = ["DeviceFlags", "Flags", "Spread", "column", "machine", "publish", "read_flags", "table", "text_table",
           "write_json"]  # fmt: skip

log = logging.getLogger(__name__)
FlagsT = TypeVar("FlagsT")
RowT = TypeVar("RowT")


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What every benchmark can be told; a benchmark adds fields of its own, whose docstrings are the help."""

    json: Path | None = None
    """Also write all figures to this file."""

    def check(self) -> None:
        """Raises UserError: --json cannot be written."""
        if self.json is not None:
            check_output(self.json)


@dataclass(frozen=True, kw_only=True)
class DeviceFlags(Flags):
    """Of a benchmark that computes on a device."""

    device: str = "auto"
    """cuda, cpu or auto."""


def read_flags(flags_class: type[FlagsT], doc: str | None, argv: Sequence[str] | None) -> FlagsT:
    """The command line of a benchmark whose module docstring is `doc`.

    Raises:
        UserError: a flag cannot be used.
    """
    return config.read_flags(flags_class, None if argv is None else list(argv), (doc or "").splitlines()[0])


def column(heading: str, form: str = "{}", *, scale: float | None = None, default: Any = MISSING) -> Any:
    """A dataclass field that the table shows under `heading`, times `scale`; NaN is shown as -."""
    return field(default=default, metadata={"heading": heading, "form": form, "scale": scale})


def table(rows: Sequence[Any]) -> str:
    """Dataclasses of one kind -> lines, one column for each field made by `column`; the other fields are not shown."""
    if not rows:
        return "(no rows)"
    shown = [one for one in fields(rows[0]) if "heading" in one.metadata]
    cells = [tuple(_cell(getattr(row, one.name), **one.metadata) for one in shown) for row in rows]
    return text_table([tuple(one.metadata["heading"] for one in shown), *cells])


def _cell(value: Any, heading: str, form: str, scale: float | None) -> str:
    if isinstance(value, float) and math.isnan(value):
        return "-"
    return form.format(value if scale is None else scale * value)


def publish(title: str, rows: Sequence[Any], path: Path | None, /, **more: Any) -> None:
    """Print the title and the table of the rows; write them, with whatever else was found, to `path` (--json)."""
    print(title, table(rows), sep="\n")
    write_json(path, {"machine": title, "rows": rows, **more})


def write_json(path: Path | None, content: Any) -> None:
    """NaN becomes null, so that any JSON reader takes it; dataclasses become objects. Nothing without a path.

    Raises:
        UserError: the path cannot be written.
    """
    if path is not None:
        write_text(path, json_text(content))


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a measure over the samples that have it."""

    mean: float
    std: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """NaN values do not count; NaN if none is left. One value has the standard deviation 0."""
        known = [v for v in values if not math.isnan(v)]
        return cls(float(np.mean(known)), float(np.std(known))) if known else cls(math.nan, math.nan)

    def text(self, digits: int = 2, scale: float = 1.0) -> str:
        """`mean ± std`, or - if unknown."""
        if math.isnan(self.mean):
            return "-"
        return f"{scale * self.mean:.{digits}f} ± {scale * self.std:.{digits}f}"


def machine(device: torch.device) -> str:
    """What it is called, for the head of a table."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def measured(modes: Iterable[str], run: Callable[[str], RowT], what: str) -> list[RowT]:
    """The rows of all modes that work: out of memory or without a compiler, the others are still of interest."""
    rows = []
    for mode in modes:
        try:
            rows.append(run(mode))
        except RuntimeError as error:
            log.warning("%s, %s: %s", mode, what, str(error).strip().splitlines()[0])
    return rows


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The fastest of some runs."""
    best = float("inf")
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        run()
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    return best


def memory_gb(device: torch.device) -> tuple[float, float]:
    """Peak of the memory that tensors took, and of what was reserved; NaN on a CPU."""
    if device.type != "cuda":
        return math.nan, math.nan
    return torch.cuda.max_memory_allocated() / 1e9, torch.cuda.max_memory_reserved() / 1e9


def matrix_rate(precision: str, device: torch.device, size: int) -> float:
    """Operations per second of one large square product."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        a @ b
        number = 10 if seconds(lambda: a @ b, device, 1) < 0.1 else 1  # some processors only imitate bf16
        best = seconds(lambda: [a @ b for _ in range(number)], device, 3)
    finally:
        torch.set_float32_matmul_precision(before)
    return number * 2 * size**3 / best


def kernels(run: Callable[[], object], n_steps: int, device: torch.device) -> tuple[float, float]:
    """Kernels per step, and the share of the time during which one ran; NaN on a CPU."""
    if device.type != "cuda":
        return math.nan, math.nan
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as record:
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        wall = time.perf_counter() - start
    times = [e.device_time_total for e in record.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    return len(times) / n_steps, sum(times) / 1e6 / wall
