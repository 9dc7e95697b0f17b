"""What all benchmarks print and write: an aligned text table and a JSON file without NaN."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utils.atomic import atomic_path
from utils.reports.text_table import text_table

__all__ = ["Spread", "text_table", "write_json"]


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
