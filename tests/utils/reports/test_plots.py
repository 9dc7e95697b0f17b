"""Figures as SVG: lines lie where the data say, equal data give equal bytes, no colour needs a white page."""

import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from utils.reports.plots import BLUE, GREEN, INK, ORANGE, legend, log_x, new_figure, to_svg, write_svg
from utils.runs.run_dir import ROOT


def strokes(svg: str, colour: str) -> list[list[tuple[float, float]]]:
    """Points of every stroke of the paths in a colour."""
    paths = [e.get("d") for e in ElementTree.fromstring(svg).iter() if f"stroke: {colour}" in e.get("style", "")]
    pieces = [piece for path in paths if path for piece in path.split("M")[1:]]
    return [[(float(x), float(y)) for x, y in re.findall(r"([-\d.]+) ([-\d.]+)", piece)] for piece in pieces]


def drawn(y, x=None, logarithmic: bool = False) -> str:
    figure = new_figure(500, 200)
    (axes,) = figure.axes
    axes.plot(range(len(y)) if x is None else x, y, color=BLUE, label="a")
    if logarithmic:
        log_x(axes)
    return to_svg(figure)


def test_lines_lie_where_the_data_say():
    """The largest value is highest, x runs to the right, and a gap starts a new stroke."""
    first, second = strokes(drawn([0, 4, float("nan"), 1, 2]), BLUE)
    points = [*first, *second]
    assert len(first) == len(second) == 2
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert points[1][1] == min(y for _, y in points) and points[0][1] == max(y for _, y in points)


def test_every_doubling_is_as_wide_on_a_logarithmic_axis():
    svg = drawn([0, 1, 2, 3], [3, 6, 12, 250], logarithmic=True)
    (points,) = strokes(svg, BLUE)
    x = [point[0] for point in points]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.1)
    texts = [e.text for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("text")]
    assert texts[:6] == ["5", "10", "20", "50", "100", "200"]


@pytest.mark.parametrize("y", [[], [float("nan")] * 3, [2.0], [1.0, 1.0, 1.0]])
def test_empty_unknown_and_constant_data_are_drawn(y):
    known = len(y) > 1 and y[0] == y[0]
    assert sum(len(stroke) > 1 for stroke in strokes(drawn(y), BLUE)) == known
    assert len(strokes(drawn(y, logarithmic=not y), INK)) == 0  # ink has become currentColor


def test_legend_names_what_has_a_label_and_escapes_it():
    figure = new_figure(500, 200)
    (axes,) = figure.axes
    for label in ("<a>", "$b$", ""):
        axes.plot([0, 1], [0, 1], color=ORANGE, label=label)
    legend(axes)
    svg = to_svg(figure)
    texts = [e.text for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("text")]
    assert [text for text in texts if text and not text[0].isdigit()] == ["<a>", "$b$"]
    assert "&lt;a&gt;" in svg and "<a>" not in svg
    assert len(strokes(svg, ORANGE)) == 3 + 2


def test_marks_tell_their_names():
    figure = new_figure(500, 200)
    (axes,) = figure.axes
    axes.scatter([0, 1], [0, 1], c=["red", "blue"], gid="truth")
    axes.scatter([0.5], [0.2], c=["red"], marker="x", gid="model")
    names = ["p</title><script>", "q&"]
    root = ElementTree.fromstring(to_svg(figure, {"truth": names}))
    marks = [(e[0].text, e.get("style")) for e in root.iter() if len(e) and e[0].tag.endswith("title")]
    assert [name for name, _ in marks] == names and "#ff0000" in marks[0][1]
    with pytest.raises(ValueError, match="shorter|longer"):
        to_svg(figure, {"truth": names[:1]})


def test_equal_data_give_equal_bytes_also_in_another_process():
    code = "from tests.utils.reports.test_plots import drawn; print(drawn([1, 2, 4, 3]), end='')"
    other = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert drawn([1, 2, 4, 3]) == drawn([1, 2, 4, 3]) == other


def test_ids_of_two_figures_differ_and_every_reference_has_one():
    one, two = drawn([1, 2, 3]), drawn([1, 3, 2])
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (one, two)]
    assert ids[0] and not ids[0] & ids[1]
    for svg, own in zip((one, two), ids):
        assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)) <= {(i, "") for i in own} | {
            ("", i) for i in own
        }


def test_the_background_is_the_pages_and_a_file_brings_its_own(tmp_path):
    svg = drawn([1, 2, 3])
    assert "currentColor" in svg and INK not in svg and "#ffffff" not in svg and "<style" not in svg
    assert "date" not in svg.lower() and svg.count("http") == 1
    figure = new_figure(300, 200)
    write_svg(tmp_path / "a.svg", figure)
    text = (tmp_path / "a.svg").read_text()
    assert "prefers-color-scheme:dark" in text and ElementTree.fromstring(text).tag.endswith("svg")


def test_colours_stand_out_on_white_and_on_the_dark_page():
    def light(colour: str) -> float:  # relative luminance of WCAG 2
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for colour in (BLUE, ORANGE, GREEN):
        for ground in ("#ffffff", "#16181c"):
            low, high = sorted((light(colour), light(ground)))
            assert (high + 0.05) / (low + 0.05) > 3


def test_matplotlib_is_imported_late_and_pyplot_never():
    code = (
        "import sys, models.metrics.page, scripts_for_dataset.inspect_dataset\n"
        "from utils.reports import plots\n"
        "assert 'matplotlib' not in sys.modules\n"
        "plots.to_svg(plots.new_figure(100, 100))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
