"""The findings of inspect_dataset as JSON and as one HTML page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.inspection import NAMES, ClipFacts, Summary
from datasets.splits import group_by_person
from utils.atomic import write_text
from utils.coefs import DIMS
from utils.reports.html_page import png_address, render
from utils.reports.json_text import json_text
from utils.reports.plots import BLUE, INK, legend, new_figure, set_titles, to_svg, whole_x
from utils.reports.wording import counted
from utils.timebase import FPS

_SIZE = (920, 220)  # pixels of a plot
_SHOWN = 40  # entries of a finding on the page; the JSON has all


def write_json(path: Path, summary: Summary, lists: dict[str, Any], extra: dict[str, Any]) -> None:
    """Everything that was found; NaN becomes null."""
    content = extra | {"lists": lists} | summary.plain()
    write_text(path, json_text(content))


def write_page(
    path: Path, name: str, facts: Sequence[ClipFacts], summary: Summary, lists: dict[str, Any], sheet: np.ndarray | None
) -> None:
    """One self-contained page."""
    text = render(
        "inspection.html",
        title=f"Data set {name}",
        overview=_overview(summary, lists),
        findings=_findings(summary),
        clip_plots=[*length_plots(facts), level_plot(facts)],
        ranges=[range_plot(summary, key) for key in DIMS],
        sheet="" if sheet is None else png_address(sheet),
    )
    write_text(path, text)


def _overview(summary: Summary, lists: dict[str, Any]) -> list[tuple[str, str]]:
    frames = summary.frames
    rows = [
        ("", "value"),
        ("clips", str(summary.clips)),
        ("speakers", str(summary.speakers)),
        ("hours", f"{summary.hours:.2f}"),
        (
            "length of clips: least, median, most",
            " / ".join(f"{frames[k] / FPS:.1f} s" for k in ("min", "median", "max")),
        ),
        ("clips too short for training", str(summary.too_short)),
    ]
    for key, value in lists.items():
        if isinstance(value, dict):
            value = f"{counted(value['clips'], 'clip')}, {counted(value['speakers'], 'speaker')}"
        rows.append((key, ", ".join(value) if isinstance(value, list) else str(value)))
    return rows


def _findings(summary: Summary) -> list[dict[str, Any]]:
    kinds = {
        "cannot be read": summary.broken,
        "silent": summary.silent,
        "clipped audio": summary.clipped,
        "frozen motion (frames)": summary.frozen,
        "jumps of the head (degrees in a frame)": summary.jumps,
        "head turned away (degrees)": summary.turned_away,
        "same motion": [", ".join(group) for group in summary.same_motion],
        "same audio": [", ".join(group) for group in summary.same_audio],
        "outliers": summary.outliers,
    }
    findings = []
    for name, found in kinds.items():
        items = found.items() if isinstance(found, dict) else [(text, "") for text in found]
        rows = [("clip", ""), *((str(a), str(b)) for a, b in list(items)[:_SHOWN])]
        findings.append({"name": name, "count": len(found), "rows": rows})
    return findings


def length_plots(facts: Sequence[ClipFacts]) -> list[str]:
    """Clip lengths, longest first, and speakers' minutes."""
    lengths = {f.clip: f.n_frames for f in facts if not f.problem}
    seconds = [n / FPS for n in lengths.values()]
    minutes = [sum(lengths[c] for c in own) / FPS / 60 for own in group_by_person(lengths).values()]
    return [
        _sorted_plot(sorted(seconds, reverse=True), "length of the clips, seconds", "clip, longest first"),
        _sorted_plot(sorted(minutes, reverse=True), "length of the speakers' clips, minutes", "speaker, most first"),
    ]


def level_plot(facts: Sequence[ClipFacts]) -> str:
    """Loudness of the clips' audio."""
    levels = [20 * math.log10(max(f.level, 1e-6)) for f in facts if not f.problem and math.isfinite(f.level)]
    return _sorted_plot(sorted(levels), "level of the audio, dB (rms)", "clip, quietest first")


def _sorted_plot(values: Sequence[float], title: str, x_title: str) -> str:
    figure = new_figure(*_SIZE)
    (axes,) = figure.axes
    axes.plot(range(1, len(values) + 1), values, ".-", color=BLUE, linewidth=0.7, markersize=5)
    whole_x(axes)
    set_titles(axes, title, x_title)
    return to_svg(figure)


def range_plot(summary: Summary, key: str) -> str:
    """Least, mean and greatest value of each coefficient, and one standard deviation around the mean."""
    found = [
        summary.coefficients[name] for name in NAMES if name.startswith(f"{key}[") and name in summary.coefficients
    ]
    x = range(len(found))
    low, high, mean, std = (np.array([c[k] for c in found]) for k in ("min", "max", "mean", "std"))
    figure = new_figure(*_SIZE)
    (axes,) = figure.axes
    axes.fill_between(x, low, high, color=BLUE, alpha=0.2, step="mid", linewidth=0, label="least to greatest")
    axes.fill_between(
        x, mean - std, mean + std, color=BLUE, alpha=0.5, step="mid", linewidth=0, label="standard deviation"
    )
    axes.plot(x, mean, color=INK, linewidth=1.1, drawstyle="steps-mid", label="mean")
    whole_x(axes)
    set_titles(axes, f"{key}, value", "coefficient")
    legend(axes)
    return to_svg(figure)
