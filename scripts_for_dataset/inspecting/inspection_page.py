"""The findings of inspect_dataset as JSON and as one HTML page."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from datasets.inspection import NAMES, ClipFacts, Summary
from datasets.splits import group_by_person
from utils.atomic import atomic_path
from utils.coefs import DIMS
from utils.reports import html_page as html
from utils.reports.svg_plot import Axes, Line, line_plot
from utils.timebase import FPS

_BLUE, _RED, _GREY = "#2b6cb0", "#c0392b", "#999999"
_SHOWN = 40  # entries of a finding on the page; the JSON has all


def write_json(path: Path, summary: Summary, lists: dict[str, Any], extra: dict[str, Any]) -> None:
    """Everything that was found; NaN becomes null."""
    content = extra | {"lists": lists} | summary.plain()
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(_plain(content), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_page(
    path: Path,
    name: str,
    facts: Sequence[ClipFacts],
    summary: Summary,
    lists: dict[str, Any],
    sheet: np.ndarray | None,
) -> None:
    """One self-contained page."""
    parts = [html.heading(f"Data set {name}", 1), html.table(_overview(summary, lists))]
    parts += [html.heading("Findings"), *_findings(summary)]
    parts += [html.heading("Clips"), length_plot(facts), level_plot(facts)]
    parts += [html.heading("Coefficients"), *(range_plot(summary, key) for key in DIMS)]
    if sheet is not None:
        parts += [html.heading("Random clips"), html.picture(sheet, "frames of random clips")]
    with atomic_path(path) as temporary:
        temporary.write_text(html.page(f"Data set {name}", parts), encoding="utf-8")


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
        text = f"{value['clips']} clips, {value['speakers']} speakers" if isinstance(value, dict) else str(value)
        rows.append((key, text))
    return rows


def _findings(summary: Summary) -> list[str]:
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
    parts = []
    for name, found in kinds.items():
        if not found:
            parts.append(html.paragraph(f"{name}: none"))
            continue
        items = found.items() if isinstance(found, dict) else [(text, "") for text in found]
        rows = [("clip", ""), *((str(a), str(b)) for a, b in list(items)[:_SHOWN])]
        more = f" (the first {_SHOWN})" if len(found) > _SHOWN else ""
        parts.append(html.details(f"{name}: {len(found)}{more}", html.table(rows, words=True)))
    return parts


def length_plot(facts: Sequence[ClipFacts]) -> str:
    """Clip lengths, longest first, and speakers' minutes."""
    whole = [f for f in facts if not f.problem]
    seconds = sorted((f.n_frames / FPS for f in whole), reverse=True)
    lengths = {f.clip: f.n_frames for f in whole}
    minutes = sorted(
        (sum(lengths[c] for c in own) / FPS / 60 for own in group_by_person(lengths).values()), reverse=True
    )
    return line_plot([Line(range(1, len(seconds) + 1), seconds, _BLUE)], Axes("clip, longest first", "seconds")) + (
        line_plot([Line(range(1, len(minutes) + 1), minutes, _BLUE)], Axes("speaker, most first", "minutes"))
    )


def level_plot(facts: Sequence[ClipFacts]) -> str:
    """Loudness of the clips' audio."""
    levels = [20 * math.log10(max(f.level, 1e-6)) for f in facts if not f.problem and math.isfinite(f.level)]
    return line_plot([Line(range(1, len(levels) + 1), sorted(levels), _BLUE)], Axes("clip, quietest first", "dB (rms)"))


def range_plot(summary: Summary, key: str) -> str:
    """Least, mean and greatest value of each coefficient, and one standard deviation around the mean."""
    found = [
        summary.coefficients[name] for name in NAMES if name.startswith(f"{key}[") and name in summary.coefficients
    ]
    x = range(len(found))
    mean, std = (np.array([c[k] for c in found]) for k in ("mean", "std"))
    lines = [
        Line(x, [c["min"] for c in found], _RED, "least, greatest"),
        Line(x, [c["max"] for c in found], _RED),
        Line(x, mean - std, _GREY, "mean and deviation", dash="3 2"),
        Line(x, mean + std, _GREY, dash="3 2"),
        Line(x, mean, _BLUE, "mean"),
    ]
    return line_plot(lines, Axes(f"{key} coefficient", "value"))
