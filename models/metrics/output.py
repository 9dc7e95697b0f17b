"""Results as text, JSON, CSV and a page of HTML, written into one folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.metrics.catalogue import METRICS, Metric, formula
from models.metrics.page import build_page
from models.metrics.results import Results
from models.metrics.suite import Suite, lve_ratio
from utils.atomic import write_text
from utils.reports.text_table import text_table

FORMAT = "evaluation-1"


def number(value: float | None, digits: int) -> str:
    """A value with this many decimals or, if negative, significant digits; a dash for None."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if digits >= 0 else f"{value:.{-digits}g}"


def cell(entry: dict[str, Any] | None, metric: Metric) -> str:
    """mean +- std."""
    if entry is None or entry["mean"] is None:
        return "-"
    spread = "" if entry["std"] is None else f" +- {number(entry['std'], metric.digits)}"
    return number(entry["mean"], metric.digits) + spread


def rows(results: Results) -> list[list[str]]:
    """The table of metrics by method, with a heading row."""
    pooled = {method: results.pooled(method) for method in results.methods}
    body = [
        [f"{name} [{METRICS[name].unit}]" if METRICS[name].unit else name]
        + [cell(pooled[method].get(name), METRICS[name]) for method in results.methods]
        for name in results.metrics()
    ]
    return [["metric", *results.methods], *body]


def results_text(results: Results) -> str:
    """The table as aligned text, with the ratio of LVE below it."""
    text, ratio = text_table(rows(results)), lve_ratio(results)
    return text if ratio is None else f"{text}\nlve relative to the mean pose's: {ratio:.3f}"


def to_json(suite: Suite, settings: dict[str, Any]) -> str:
    """All results as JSON: settings, formulas, pooled values, values of every clip and sample."""
    results, rule = suite.results, suite.rule
    metrics = {
        name: {
            "unit": METRICS[name].unit, "better": METRICS[name].better, "source": METRICS[name].source,
            "formula": formula(name, rule.closed_mm, rule.tolerance), "target": METRICS[name].target,
        }
        for name in results.metrics()
    }  # fmt: skip
    content = {
        "format": FORMAT,
        "settings": settings,
        "metrics": metrics,
        "lve_relative_to_mean_pose": lve_ratio(results),
        "pooled": {method: results.pooled(method) for method in results.methods},
        "clips": {method: results.per_clip(method) for method in results.methods},
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def write_results(folder: Path, suite: Suite, settings: dict[str, Any], pictures: bool = True) -> None:
    """Write metrics.csv, report.html and metrics.json, each whole or not at all; the JSON comes last."""
    files = {
        "metrics.csv": suite.results.to_csv(),
        "report.html": build_page(suite, settings, rows(suite.results), pictures),
        "metrics.json": to_json(suite, settings),
    }
    for name, text in files.items():
        write_text(folder / name, text)
