"""Every metric's name, unit, formula and source, as reports show them: the rows of catalogue.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

OWN = "this project"
# The figures of single clips and tests that are shown first.
MAIN = ("lve", "mod", "opening_correlation", "sync_lag", "closure_recall", "jitter", "style_cosine")


@dataclass(frozen=True)
class Metric:
    """The meaning of a number in the results."""

    name: str
    formula: str
    unit: str = ""
    better: str = ""  # lower, higher, "closest to 1", "closest to 0"; empty: neither
    source: str = OWN
    root: bool = False  # the value is the square root of the pooled quotient
    target: tuple[float, float] | None = None  # range that the shipped model must reach
    digits: int = 2  # decimals in tables; negative: significant digits, for tiny numbers


_ROWS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
METRICS = {name: Metric(name, **row) for name, row in _ROWS.items()}


def formula(name: str, closed_mm: float, tolerance: int) -> str:
    """A metric's formula with the closure rule's numbers filled in."""
    return METRICS[name].formula.replace("{closed}", f"{closed_mm:g}").replace("{tolerance}", str(tolerance))
