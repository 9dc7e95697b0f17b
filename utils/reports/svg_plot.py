"""Line and scatter plots as SVG text, for HTML reports; no plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

INK, GRID, MUTED = "#222222", "#e3e3e3", "#6b6b6b"
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 26, 34  # margins in pixels


@dataclass(frozen=True)
class Line:
    """One curve."""

    x: Sequence[float]
    y: Sequence[float]
    colour: str
    label: str = ""  # empty: not in the legend
    width: float = 1.6
    opacity: float = 1.0
    dash: str = ""


@dataclass(frozen=True)
class Points:
    """Marks of one kind: circle, cross or ring."""

    x: Sequence[float]
    y: Sequence[float]
    colours: Sequence[str]
    mark: str = "circle"
    label: str = ""
    titles: Sequence[str] = ()  # shown by the browser when the pointer rests on a mark


@dataclass(frozen=True)
class Axes:
    """Size and titles of a plot."""

    x_title: str = ""
    y_title: str = ""
    title: str = ""
    width: int = 920
    height: int = 240
    marks: Sequence[float] = field(default_factory=tuple)  # x values with a small tick at the lower edge
    marks_label: str = ""
    log_x: bool = False  # x > 0


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers between low and high."""
    span = high - low
    if not span > 0 or not math.isfinite(span):
        return [low]
    raw = span / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [float(f"{k * step:.10g}") for k in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, 20 ... between low and high."""
    powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    return [m * 10**k for k in powers for m in (1, 2, 5) if low <= m * 10**k <= high]


class _Canvas:
    """Data coordinates -> pixels, and the pieces drawn so far."""

    def __init__(self, axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
        self.axes, self.pieces = axes, []
        self.x, self.y = _limits(np.log(x) if axes.log_x else x, 0.0), _limits(y, 0.05)
        self.x_ticks = log_ticks(float(np.nanmin(x)), float(np.nanmax(x))) if axes.log_x else nice_ticks(*self.x, 8)

    def px(self, x: float) -> float:
        inner = self.axes.width - _LEFT - _RIGHT
        at = math.log(x) if self.axes.log_x else x
        return _LEFT + inner * (at - self.x[0]) / (self.x[1] - self.x[0])

    def py(self, y: float) -> float:
        inner = self.axes.height - _TOP - _BOTTOM
        return _TOP + inner * (1 - (y - self.y[0]) / (self.y[1] - self.y[0]))

    def add(self, text: str) -> None:
        self.pieces.append(text)

    def text(self, x: float, y: float, words: str, anchor: str = "middle", colour: str = MUTED) -> None:
        self.add(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>')

    def frame(self) -> None:
        """Grid, numbers, titles and marks."""
        axes = self.axes
        bottom, right = axes.height - _BOTTOM, axes.width - _RIGHT
        for value in nice_ticks(*self.y):
            y = self.py(value)
            self.add(f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>')
            self.text(_LEFT - 6, y + 4, f"{value:g}", "end")
        for value in self.x_ticks:
            self.text(self.px(value), bottom + 15, f"{value:g}")
        for value in axes.marks:
            x = self.px(value)
            self.add(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom - 7}" stroke="{INK}"/>')
        self.text((_LEFT + right) / 2, axes.height - 3, axes.x_title)
        self.text(_LEFT, 14, " - ".join(t for t in (axes.title, axes.y_title) if t), "start", INK)

    def legend(self, entries: list[tuple[str, str]]) -> None:
        """(label, svg sample drawn around 0, 0), from the right upper corner leftwards."""
        x = self.axes.width - _RIGHT
        for label, sample in reversed(entries):
            self.text(x, 14, label, "end", INK)
            x -= 6.6 * len(label) + 18
            self.add(f'<g transform="translate({x + 4:.1f},10)">{sample}</g>')
            x -= 20

    def finish(self) -> str:
        size = f'width="{self.axes.width}" height="{self.axes.height}"'
        view = f'viewBox="0 0 {self.axes.width} {self.axes.height}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {view} font-family="sans-serif" font-size="12">'
            + "".join(self.pieces)
            + "</svg>"
        )


def line_plot(lines: Sequence[Line], axes: Axes) -> str:
    """Curves over a common x axis; gaps where y is not finite."""
    canvas = _Canvas(axes, _joined(lines, "x"), _joined(lines, "y"))
    canvas.frame()
    entries = []
    for line in lines:
        look = f'fill="none" stroke="{line.colour}" stroke-width="{line.width}" opacity="{line.opacity}"'
        look += f' stroke-dasharray="{line.dash}"' if line.dash else ""
        canvas.add(f'<path d="{_path(canvas, line)}" {look}/>')
        if line.label:
            entries.append((line.label, f'<path d="M-16 0H0" {look}/>'))
    if axes.marks_label:
        entries.append((axes.marks_label, f'<path d="M-4 5V-2" stroke="{INK}"/>'))
    canvas.legend(entries)
    return canvas.finish()


def scatter_plot(groups: Sequence[Points], axes: Axes, links: Sequence[tuple[float, float, float, float]] = ()) -> str:
    """Marks in a plane; `links` are thin lines (x1, y1, x2, y2) below them."""
    canvas = _Canvas(axes, _joined(groups, "x"), _joined(groups, "y"))
    canvas.x, canvas.y = (_limits(_joined(groups, name), 0.05) for name in "xy")
    canvas.frame()
    for x1, y1, x2, y2 in links:
        ends = f"M{canvas.px(x1):.1f} {canvas.py(y1):.1f}L{canvas.px(x2):.1f} {canvas.py(y2):.1f}"
        canvas.add(f'<path d="{ends}" stroke="#bbbbbb" stroke-width="0.7"/>')
    for group in groups:
        for i, (x, y, colour) in enumerate(zip(group.x, group.y, group.colours)):
            title = f"<title>{escape(group.titles[i])}</title>" if group.titles else ""
            place = f'transform="translate({canvas.px(x):.1f},{canvas.py(y):.1f})"'
            canvas.add(f"<g {place}>{_mark(group.mark, colour)}{title}</g>")
    canvas.legend([(group.label, _mark(group.mark, MUTED)) for group in groups if group.label])
    return canvas.finish()


def _mark(kind: str, colour: str) -> str:
    if kind == "cross":
        return f'<path d="M-4 -4L4 4M-4 4L4 -4" stroke="{colour}" stroke-width="1.8"/>'
    if kind == "ring":
        return f'<circle r="5" fill="none" stroke="{colour}" stroke-width="1.8"/>'
    return f'<circle r="4" fill="{colour}"/>'


def _path(canvas: _Canvas, line: Line) -> str:
    steps, pen = [], "M"
    for x, y in zip(line.x, line.y):
        if not math.isfinite(y):
            pen = "M"
            continue
        steps.append(f"{pen}{canvas.px(x):.1f} {canvas.py(y):.1f}")
        pen = "L"
    return "".join(steps)


def _joined(items: Sequence[Line] | Sequence[Points], name: str) -> np.ndarray:
    return np.concatenate([np.asarray(getattr(item, name), float) for item in items] or [np.zeros(1)])


def _limits(values: np.ndarray, margin: float) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    room = margin * (high - low)
    return low - room, high + room
