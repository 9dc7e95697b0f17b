"""The frame of all benchmarks: flags from a dataclass; rows -> an aligned text table, and a JSON file without NaN."""

from __future__ import annotations

import argparse
import json
import math
import platform
import typing
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from utils.atomic import atomic_path, check_output
from utils.config import UserParser, add_flags, field_docs, from_args
from utils.reports.text_table import text_table

__all__ = ["Flags", "Spread", "column", "machine", "publish", "read_flags", "table", "text_table", "write_json"]

FlagsT = TypeVar("FlagsT", bound="Flags")


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What every benchmark can be told; a benchmark adds fields of its own, whose docstrings are the help."""

    json: Path | None = None
    """Also write all figures to this file."""


def read_flags(flags_class: type[FlagsT], doc: str, argv: Sequence[str] | None) -> FlagsT:
    """The command line of a benchmark whose module docstring is `doc`.

    Raises:
        UserError: a bad flag, or --json cannot be written.
    """
    return checked(flags_class, make_parser(flags_class, doc).parse_args(argv))


def make_parser(flags_class: type[Flags], doc: str) -> UserParser:
    """One flag per field; a Sequence takes several words, and -o is short for --output."""
    parser = UserParser(description=doc.splitlines()[0].replace("%", "%%"))
    docs, hints = field_docs(flags_class), typing.get_type_hints(flags_class)
    for known in fields(flags_class):
        default, text = known.default, docs.get(known.name, "").replace("%", "%%")
        if typing.get_origin(hints[known.name]) is Sequence:
            (kind,) = typing.get_args(hints[known.name])
            text += f" (default: {' '.join(map(str, default))})" if default else ""
            parser.add_argument(f"--{known.name}", nargs="+", type=kind, default=default, help=text)
        elif known.name == "output":
            required = default is MISSING
            default = None if required else default
            parser.add_argument("-o", "--output", type=Path, required=required, default=default, help=text)
    add_flags(parser, flags_class, "benchmark")
    return parser


def checked(flags_class: type[FlagsT], args: argparse.Namespace) -> FlagsT:
    """Raises UserError: --json cannot be written, or the dataclass refuses a value."""
    flags = from_args(flags_class, args)
    if flags.json is not None:
        check_output(flags.json)
    return flags


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
    if path is not None:
        write_json(path, {"machine": title, "rows": [asdict(row) for row in rows], **more})


def machine(device: torch.device) -> str:
    """What it is called, for the head of a table."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


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


def write_json(path: Path, content: Any) -> None:
    """NaN becomes null, so that any JSON reader takes it.

    Raises:
        UserError: the path cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(_plain(content), indent=1) + "\n")


def _plain(content: Any) -> Any:
    if isinstance(content, dict):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if isinstance(content, Spread):
        return _plain(vars(content))
    if isinstance(content, np.generic):
        content = content.item()
    return None if isinstance(content, float) and math.isnan(content) else content
