"""Figures by matplotlib. As SVG, equal data give equal bytes, and ink takes the colour of the text around it.

A figure is an object; pyplot and its list of open figures are not used. matplotlib is imported on the first figure.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from utils.atomic import atomic_path, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#010203"  # saved as CSS's currentColor
# For any kind of colour vision; contrast 3:1 or more on white and on black.
BLUE, ORANGE, GREEN = "#2a7fd4", "#d95f02", "#1b9e77"
POINTS_PER_PIXEL, PIXELS_PER_INCH = 0.75, 96
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 12 * POINTS_PER_PIXEL, "text.color": INK, "text.parse_math": False,
    "axes.edgecolor": INK, "axes.labelcolor": INK, "axes.linewidth": 0.6,
    "axes.spines.top": False, "axes.spines.right": False,
    "figure.constrained_layout.use": True, "svg.fonttype": "none", "svg.hashsalt": "DiffPoseTalk",
}  # fmt: skip
_NAMESPACE = "http://www.w3.org/2000/svg"
_ALONE = "svg{color:#222;background:#fff}@media(prefers-color-scheme:dark){svg{color:#ddd;background:#16181c}}"


def new_figure(width: int, height: int, rows: int = 1, columns: int = 1) -> Figure:
    """A figure of width x height pixels with a grid of axes, row by row in `figure.axes`."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width / PIXELS_PER_INCH, height / PIXELS_PER_INCH))
        for axes in figure.subplots(rows, columns, squeeze=False).flat:
            axes.tick_params(colors=INK, width=0.6, length=3)
            axes.grid(axis="y", color=INK, alpha=0.15, linewidth=0.6)
            axes.set_axisbelow(True)
            axes.margins(x=0.01)
    return figure


def set_titles(axes: Axes, title: str, x_title: str, y_title: str = "") -> None:
    """Titles: of the plot at its upper left, and of the axes."""
    axes.set_title(title, loc="left", fontsize="medium")
    axes.set(xlabel=x_title, ylabel=y_title)


def legend(axes: Axes) -> None:
    """The labelled artists in a line above the axes, after the title."""
    import matplotlib

    handles, labels = axes.get_legend_handles_labels()
    with matplotlib.rc_context(_STYLE):
        place = {"loc": "lower left", "bbox_to_anchor": (0.22, 1), "borderaxespad": 0.2}
        axes.legend(handles, labels, ncols=max(len(labels), 1), frameon=False, **place)


def whole_x(axes: Axes) -> None:
    """Only whole numbers on the x axis, for things that are counted."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def log_x(axes: Axes) -> None:
    """A logarithmic x axis with the plain numbers 1, 2, 5, 10, 20 ..."""
    from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())


def to_svg(figure: Figure, titles: Mapping[str, Sequence[str]] | None = None) -> str:
    """The figure as an <svg> element that can stand in a page beside others.

    `titles`: gid of a scatter plot -> a name for each of its marks, shown when the pointer rests on it.
    """
    root = _saved(figure)
    for group in root.iter("g"):
        names = (titles or {}).get(group.get("id", ""))
        if names is not None:
            marks = list(group.iter("use")) or list(group.iter("path"))  # few marks are written in full
            for mark, name in zip(marks, names, strict=True):
                ElementTree.SubElement(mark, "title").text = name
    text = ElementTree.tostring(root, encoding="unicode").replace(INK, "currentColor")
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", text)
    own = hashlib.sha256(text.encode()).hexdigest()[:8]  # ids of two figures of a page must differ
    return re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{own}-", text)


def write_svg(path: Path, figure: Figure) -> None:
    """The figure as a file, for light and dark viewers.

    Raises:
        UserError: the path cannot be written.
    """
    head, end, rest = to_svg(figure).partition(">")
    write_text(path, f"{head}{end}<style>{_ALONE}</style>{rest}\n")


def write_pdf(path: Path, figure: Figure) -> None:
    """The figure for a paper: letters as TrueType, equal data in equal bytes.

    Raises:
        UserError: the path cannot be written.
    """
    import matplotlib

    nothing = dict.fromkeys(("CreationDate", "Creator", "Producer"))
    with atomic_path(path) as temporary, matplotlib.rc_context({**_STYLE, "pdf.fonttype": 42}):
        figure.savefig(temporary, format="pdf", metadata=nothing)


def to_pixels(figure: Figure) -> np.ndarray:
    """The figure on white, uint8 (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(PIXELS_PER_INCH)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def _saved(figure: Figure) -> ElementTree.Element:
    """matplotlib's SVG with bare element names, without date, software and xlink."""
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    root = ElementTree.fromstring(file.getvalue())
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for name in [key for key in element.attrib if key.startswith("{")]:
            element.set(name.rpartition("}")[2], element.attrib.pop(name))
    root.remove(root[0])  # a style sheet, which would hold for the whole page
    root.attrib |= {"xmlns": _NAMESPACE, "stroke-linejoin": "round"}
    return root
