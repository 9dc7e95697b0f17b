"""Results for a paper: LaTeX tables and PDF figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.metrics.catalogue import MAIN, METRICS
from models.metrics.comparison import Comparison
from models.metrics.output import best_known, label, limits_text, number, scored_methods
from models.metrics.phone_errors import PhoneErrors, viseme_class
from models.metrics.results import Results
from models.metrics.suite import Suite
from utils.atomic import write_text
from utils.reports.latex_table import latex_numbers, latex_table, latex_text
from utils.reports.plots import BLUE, GREEN, INK, ORANGE, legend, new_figure, set_titles, write_pdf

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIGNIFICANT = 0.05
_ARROWS = {"lower": r"$\downarrow$", "higher": r"$\uparrow$", "closest to 1": r"$\to 1$", "closest to 0": r"$\to 0$"}
_NOTE = """\
Values with 95 % bootstrap intervals over speakers; *: differs from the first method, paired permutation test over
speakers, p < .05 after Holm's correction."""
_LOOKS = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (INK, "D"), (BLUE, "v"), (ORANGE, "P"), (GREEN, "X"), (INK, "x"))


def write_paper(folder: Path, suite: Suite, comparison: Comparison) -> None:
    """Write metrics.tex and intervals.pdf and, where phones are known, phones.tex and phones.pdf."""
    results = suite.results
    write_text(folder / "metrics.tex", metrics_latex(results, comparison))
    write_pdf(folder / "intervals.pdf", interval_figure(results, comparison))
    methods = [method for method in results.groups()[0].methods if suite.phones.pooled(method)]
    if methods:
        write_text(folder / "phones.tex", phones_latex(suite.phones, methods))
        write_pdf(folder / "phones.pdf", phone_figure(suite.phones, methods[1:]))


def metrics_latex(results: Results, comparison: Comparison) -> str:
    """Metric by method, over the clips that all of these methods have."""
    group, first = results.groups()[0], scored_methods(results)[0]
    pooled = {method: results.pooled(method, group.clips) for method in group.methods}
    sure = {
        (test.metric, test.b) for test in comparison.tests
        if test.a == first and test.p_holm["speakers"] < _SIGNIFICANT
    }  # fmt: skip
    rows = [["metric", *map(latex_text, group.methods)], ["clips"] + [str(len(group.clips))] * len(group.methods)]
    for name in results.metrics():
        row = [f"{latex_text(label(name))} {_ARROWS.get(METRICS[name].better, '')}".rstrip()]
        for method in group.methods:
            interval = best_known(comparison.intervals[method].get(name, {}))
            mean = pooled[method].get(name, {}).get("mean")
            star = "$^*$" if (name, method) in sure else ""
            limits = limits_text(interval, METRICS[name].digits)
            row.append("--" if mean is None else latex_numbers(number(mean, METRICS[name].digits) + star + limits))
        rows.append(row)
    return latex_table(rows, _NOTE)


def phones_latex(phones: PhoneErrors, methods: list[str]) -> str:
    """Viseme classes and phones by method: opening error, and closure recall of p, b and m."""
    rows = [["phone", "phones", *map(latex_text, methods)]]
    for by_class in (True, False):
        pooled = {method: phones.pooled(method, by_class) for method in methods}
        for name, entry in pooled[methods[0]].items():
            found = [pooled[method].get(name, {}) for method in methods]
            cells = [number(each.get("opening_error", {}).get("mean"), 2) for each in found]
            recalls = [each.get("closure_recall", {}).get("mean") for each in found]
            cells = [cell if x is None else f"{cell} ({100 * x:.0f}\\,\\%)" for cell, x in zip(cells, recalls)]
            rows.append([latex_text(name), str(entry["phones"]), *cells])
    return latex_table(rows, "Mean |o - o*| over the phone's frames, mm; in brackets: closure recall.")


def interval_figure(results: Results, comparison: Comparison) -> Figure:
    """The main metrics of the first table's methods with their intervals."""
    methods = results.groups()[0].methods
    names = [name for name in MAIN if name in results.metrics()]
    figure = new_figure(2 * 340, 70 + 24 * len(methods) * -(-len(names) // 2) + 60 * -(-len(names) // 2),
                        rows=-(-len(names) // 2), columns=2)  # fmt: skip
    pooled = {method: results.pooled(method) for method in methods}
    for axes, name in zip(figure.axes, names):
        for row, method in enumerate(methods):
            mean = pooled[method].get(name, {}).get("mean")
            if mean is None:
                continue
            interval, (colour, mark) = best_known(comparison.intervals[method].get(name, {})), _look(row)
            if interval is not None:
                axes.plot([interval.low, interval.high], [row, row], color=colour, linewidth=1.4)
            axes.plot([mean], [row], mark, color=colour, markersize=4.5)
        axes.set_yticks(range(len(methods)), methods)
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.margins(x=0.05)
        axes.grid(axis="x", color=INK, alpha=0.15, linewidth=0.6)
        set_titles(axes, label(name), "")
    for axes in figure.axes[len(names) :]:
        axes.set_axis_off()
    return figure


def phone_figure(phones: PhoneErrors, methods: list[str]) -> Figure:
    """The opening error of each phone by method, phones of a viseme class side by side."""
    pooled = {method: phones.pooled(method) for method in methods}
    names = list(pooled[methods[0]])
    figure = new_figure(max(520, 26 * len(names)), 300)
    (axes,) = figure.axes
    for i, method in enumerate(methods):
        means = [pooled[method].get(name, {}).get("opening_error", {}).get("mean") for name in names]
        colour, mark = _look(i)
        known = [np.nan if mean is None else mean for mean in means]
        axes.plot(range(len(names)), known, mark, color=colour, label=method, markersize=5)
    classes = [viseme_class(name) for name in names]
    for i in range(1, len(names)):
        if classes[i] != classes[i - 1]:
            axes.axvline(i - 0.5, color=INK, alpha=0.3, linewidth=0.6)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(bottom=0)
    set_titles(axes, "opening error, mm", "")
    legend(axes)
    return figure


def _look(i: int) -> tuple[str, str]:
    return _LOOKS[i % len(_LOOKS)]
