"""Results as text, JSON, CSV and a page of HTML, written into one folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.metrics.catalogue import METRICS, Metric, formula
from models.metrics.page import Table, build_page
from models.metrics.results import Group, Results
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


def label(name: str) -> str:
    """A metric's name with its unit."""
    return f"{name} [{METRICS[name].unit}]" if METRICS[name].unit else name


def rows(results: Results, group: Group) -> list[list[str]]:
    """The table of metrics by method over a group's clips: a heading row, the number of clips, and the metrics.

    Where fewer clips count, their number follows the metric's name, or the value if other columns have more.
    """
    pooled = {method: results.pooled(method, group.clips) for method in group.methods}
    body = []
    for name in results.metrics():
        entries = [pooled[method].get(name) for method in group.methods]
        most = max((entry["clips"] for entry in entries if entry is not None), default=0)
        fewer = [f" ({entry['clips']})" if entry and 0 < entry["clips"] < most else "" for entry in entries]
        cells = [cell(entry, METRICS[name]) + text for entry, text in zip(entries, fewer)]
        body.append([label(name) + (f" ({most} clips)" if 0 < most < len(group.clips) else ""), *cells])
    return [["metric", *group.methods], ["clips"] + [str(len(group.clips))] * len(group.methods), *body]


def results_text(results: Results) -> str:
    """The tables as aligned text, with the ratio of LVE below the first."""
    whole, *rest = results.groups()
    text, ratio = text_table(rows(results, whole)), lve_ratio(results)
    text += "" if ratio is None else f"\nlve relative to the mean pose's: {ratio:.3f}"
    return "\n\n".join([text, *(f"{title(group, whole)}:\n{text_table(rows(results, group))}" for group in rest)])


def title(group: Group, whole: Group) -> str:
    """The heading of a table over fewer clips than the first."""
    added = " and ".join(method for method in group.methods if method not in whole.methods)
    return f"The {len(group.clips)} of {len(whole.clips)} clips for which there is: {added}"


def tables(results: Results) -> list[Table]:
    """The page's tables."""
    whole, *rest = results.groups()
    return [Table("", rows(results, whole)), *(Table(title(group, whole), rows(results, group)) for group in rest)]


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
        "same_clips": [
            {**asdict(group), "pooled": {method: results.pooled(method, group.clips) for method in group.methods}}
            for group in results.groups()
        ],
        "pooled": {method: results.pooled(method) for method in results.methods},
        "clips": {method: results.per_clip(method) for method in results.methods},
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def write_results(folder: Path, suite: Suite, settings: dict[str, Any], pictures: bool = True) -> None:
    """Write metrics.csv, report.html and metrics.json, each whole or not at all; the JSON comes last."""
    files = {
        "metrics.csv": suite.results.to_csv(),
        "report.html": build_page(suite, settings, tables(suite.results), pictures),
        "metrics.json": to_json(suite, settings),
    }
    for name, text in files.items():
        write_text(folder / name, text)
