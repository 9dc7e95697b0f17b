"""Results as text, JSON, CSV and a page of HTML, written into one folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.metrics.catalogue import MAIN, METRICS, Metric, formula
from models.metrics.comparison import UNITS, Comparison, Interval, Test, compare
from models.metrics.page import Table, build_page
from models.metrics.phone_errors import MEASURES, PhoneErrors, viseme_class
from models.metrics.results import Group, Results
from models.metrics.suite import BASELINES, Suite, lve_ratio
from utils.atomic import write_text
from utils.reports.json_text import json_text
from utils.reports.text_table import text_table
from utils.reports.wording import counted

FORMAT = "evaluation-1"


def number(value: float | None, digits: int) -> str:
    """A value with this many decimals or, if negative, significant digits; a dash for None."""
    if value is None:
        return "-"
    text = f"{value:.{digits}f}" if digits >= 0 else f"{value:.{-digits}g}"
    return text if float(text) else text.removeprefix("-")


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
        body.append([label(name) + (f" ({counted(most, 'clip')})" if 0 < most < len(group.clips) else ""), *cells])
    return [["metric", *group.methods], ["clips"] + [str(len(group.clips))] * len(group.methods), *body]


def scored_methods(results: Results) -> list[str]:
    """The methods that are not baselines; `model` first."""
    return [method for method in results.methods if method not in BASELINES]


def compared(results: Results) -> Comparison:
    """The comparison of the scored methods or, if there is one alone, with the baselines."""
    return compare(results, scored_methods(results), [method for method in results.methods if method in BASELINES[1:]])


def interval_rows(results: Results, comparison: Comparison) -> list[list[str]]:
    """Metric by method: the value and its interval over speakers, or over clips where there is one speaker."""
    table = [["metric", *results.methods]]
    pooled = {method: results.pooled(method) for method in results.methods}
    for name in results.metrics():
        cells = []
        for method in results.methods:
            digits, interval = METRICS[name].digits, best_known(comparison.intervals[method].get(name, {}))
            cells.append(number(pooled[method].get(name, {}).get("mean"), digits) + limits_text(interval, digits))
        table.append([label(name), *cells])
    return table


def best_known(found: Mapping[str, Interval]) -> Interval | None:
    """The interval over speakers, else over clips; None if there is neither."""
    known = [found[unit] for unit in reversed(UNITS) if unit in found and found[unit].n > 1]
    return known[0] if known else None


def limits_text(interval: Interval | None, digits: int) -> str:
    """' [low, high]'; nothing without an interval, and for one of no width, such as that of the truth's errors."""
    if interval is None or interval.low == interval.high:
        return ""
    return f" [{number(interval.low, digits)}, {number(interval.high, digits)}]"


def test_rows(tests: Sequence[Test]) -> list[list[str]]:
    """Each test: the difference with its interval, and the p values over clips and over speakers."""
    table = [["metric", "difference", "value", "95 % interval", "p (clips)", "p (speakers)", "p (speakers, Holm)"]]
    for test in tests:
        digits, interval = METRICS[test.metric].digits, best_known(test.interval)
        limits = limits_text(interval, digits).strip() or "-"
        p = [test.p["clips"], test.p["speakers"], test.p_holm["speakers"]]
        difference = number(test.difference, digits)
        table.append([label(test.metric), f"{test.a} - {test.b}", difference, limits, *(f"{x:.2g}" for x in p)])
    return table


def results_text(results: Results, comparison: Comparison) -> str:
    """The tables as aligned text: the ratio of LVE below the first and, for several methods, the tests at the end."""
    whole, *rest = results.groups()
    text, ratio = text_table(rows(results, whole)), lve_ratio(results)
    text += "" if ratio is None else f"\nlve relative to the mean pose's: {ratio:.3f}"
    parts = [text, *(f"{title(group, whole)}:\n{text_table(rows(results, group))}" for group in rest)]
    if len(scored_methods(results)) > 1:
        main = [test for test in comparison.tests if test.metric in MAIN]
        parts.append(f"Paired tests of the main figures (all: report.html):\n{text_table(test_rows(main))}")
    return "\n\n".join(parts)


def title(group: Group, whole: Group) -> str:
    """The heading of a table over fewer clips than the first."""
    added = " and ".join(method for method in group.methods if method not in whole.methods)
    return f"The {len(group.clips)} of {len(whole.clips)} clips for which there is: {added}"


def phone_rows(phones: PhoneErrors, methods: Sequence[str]) -> list[list[str]]:
    """Viseme classes, then phones: the opening error of each method, signed in brackets, and the closure recall."""
    table = [["phone", "class", "phones", *(f"{method}{what}" for method in methods for what in (", mm", ", closed"))]]
    for by_class in (True, False):
        pooled = {method: phones.pooled(method, by_class) for method in methods}
        for name, entry in pooled[methods[0]].items():
            cells = []
            for method in methods:
                found = pooled[method].get(name, {})
                error, bias, recall = (found.get(key, {}).get("mean") for key in MEASURES)
                cells.append("-" if error is None or bias is None else f"{error:.2f} ({bias:+.2f})")
                cells.append(number(recall, 3))
            kind = name if by_class else viseme_class(name)
            table.append(["all" if by_class else name, kind, str(entry["phones"]), *cells])
    return table


def tables(suite: Suite, comparison: Comparison) -> list[Table]:
    """The page's tables."""
    results = suite.results
    whole, *rest = results.groups()
    spoken = [method for method in whole.methods if suite.phones.pooled(method)]
    note = "Value and 95 % bootstrap interval over speakers (over clips, if there is one speaker)."
    tests = ("Paired permutation tests: p two-sided, clips or speakers exchanged as a whole; Holm's correction is for "
             "the number of pairs of methods.")  # fmt: skip
    phones = ("Mean |o - o*| over the frames of a phone and, in brackets, mean o - o*, mm; share of p, b and m that "
              "close.")  # fmt: skip
    return [
        Table("", rows(results, whole)),
        *(Table(title(group, whole), rows(results, group)) for group in rest),
        Table("Intervals", interval_rows(results, comparison), note, folded=True),
        Table("Tests", test_rows(comparison.tests), tests, folded=True),
        *([Table("Phones", phone_rows(suite.phones, spoken), phones, folded=True)] if spoken else []),
    ]


def to_json(suite: Suite, settings: dict[str, Any], comparison: Comparison) -> str:
    """All results as JSON: settings, formulas, pooled values, intervals, tests, values of every clip and sample."""
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
        "intervals": comparison.intervals,
        "tests": comparison.tests,
        "phones": {method: suite.phones.pooled(method) for method in suite.phones.methods},
        "viseme_classes": {method: suite.phones.pooled(method, by_class=True) for method in suite.phones.methods},
        "clips": {method: results.per_clip(method) for method in results.methods},
    }
    return json_text(content)


def write_results(
    folder: Path, suite: Suite, settings: dict[str, Any], comparison: Comparison, pictures: bool = True
) -> None:
    """Write metrics.csv, report.html and metrics.json, each whole or not at all; the JSON comes last."""
    files = {
        "metrics.csv": suite.results.to_csv(),
        "report.html": build_page(suite, settings, tables(suite, comparison), pictures),
        "metrics.json": to_json(suite, settings, comparison),
    }
    for name, text in files.items():
        write_text(folder / name, text)
