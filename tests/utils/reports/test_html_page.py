"""Pages: names from outside are text wherever they stand, and a page needs nothing but itself."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from jinja2 import UndefinedError

from datasets.inspection import ClipFacts, summarise
from models.metrics.page import style_map
from models.metrics.suite import MODEL, TRUTH
from scripts_for_dataset.inspecting.inspection_page import write_page
from utils.reports.html_page import TEMPLATES, png_address, render
from utils.reports.text_table import text_table

EVIL = "<script>alert(1)</script>\"'&/000"


class Tags(HTMLParser):
    """Counts tags; a page must close what it opens."""

    VOID = frozenset({"meta", "img", "br", "link", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.seen, self.outside = [], [], []
        self.feed(page)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.seen.append(tag)
        self.outside += [value for name, value in attributes if name in ("src", "href") and value[:1] not in "#d"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def facts(clip: str) -> ClipFacts:
    """A silent clip."""
    ones = np.ones(156)
    found = {"level": 0.1, "peak": 0.0, "clipped": 0.0, "motion_digest": clip, "audio_digest": clip}
    return ClipFacts(clip, 250, "", 250 * ones, 300 * ones, 0 * ones, 2 * ones, **found)


def inspected(tmp_path, clips: list[ClipFacts], sheet: np.ndarray | None = None) -> str:
    write_page(tmp_path / "page.html", f"folder {EVIL}", clips, summarise(clips), {EVIL: EVIL}, sheet)
    return (tmp_path / "page.html").read_text()


def test_names_of_a_data_set_are_text(tmp_path):
    broken = replace(facts(f"b{EVIL}"), problem=f"{EVIL}: cannot be read")
    page = inspected(tmp_path, [facts(f"a{EVIL}"), broken], np.zeros((4, 4, 3), np.uint8))
    tags = Tags(page)
    assert "script" not in tags.seen and not tags.outside
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 5
    assert tags.seen.count("svg") == 6 and tags.seen.count("img") == 1


@pytest.mark.parametrize("clips", [[], [ClipFacts("a/0", problem="broken")]])
def test_a_page_about_nothing(tmp_path, clips):
    tags = Tags(inspected(tmp_path, clips))
    assert tags.seen.count("svg") == 6 and tags.seen.count("h1") == 1


def test_long_findings_are_cut_and_say_so(tmp_path):
    page = inspected(tmp_path, [facts(f"p/{i:03d}") for i in range(60)])  # all silent
    assert re.search(r"silent <span[^>]*>60, the first 40 shown", page)
    assert "p/039" in page and "p/040" not in page
    assert "cannot be read; clipped audio" in page  # the findings of which there are none, in one line


def test_clip_names_in_the_style_map_are_text():
    rng = np.random.default_rng(0)
    styles = {name: {f"{i}{EVIL}": rng.standard_normal((2, 8)) for i in range(4)} for name in (TRUTH, MODEL)}
    svg = style_map(SimpleNamespace(judge=True, styles=styles))
    assert "<script" not in svg and svg.count("&lt;script&gt;") == 8
    assert style_map(SimpleNamespace(judge=None, styles=styles)) == ""


def test_marks_of_cells_and_a_missing_value():
    content = dict.fromkeys(("seconds", "samples"), 1) | dict.fromkeys(("curves", "frames", "more"), ())
    content |= {"data": dict.fromkeys(("own_style", "clips", "of", "speakers", "minutes", "data_root", "split"), EVIL)}
    rows = [["metric", "model"], ["lve", "1 +- 2"], ["jitter", "3"]]
    content |= dict.fromkeys(("clips", "formulas", "settings"), rows) | {"not_drawn": "", "styles": ""}
    page = render("evaluation.html", title=EVIL, results=rows, marks={(1, 1): "met", (2, 1): "missed"}, **content)
    Tags(page)
    assert '<td class="met">1 ± 2</td>' in page and '<td class="missed">3</td>' in page
    assert "within and outside of the target" in page
    with pytest.raises(UndefinedError, match="marks"):
        render("evaluation.html", title="a", results=rows, **content)


def test_only_a_figure_is_marked_safe():
    safe = [line for path in TEMPLATES.iterdir() for line in path.read_text().splitlines() if "safe" in line]
    assert safe == ['<div class="wide plot">{{ svg | safe }}</div>']


def test_a_picture_is_its_own_address():
    assert png_address(np.zeros((2, 3, 3), np.uint8)).startswith("data:image/png;base64,iVBOR")


def test_text_table():
    assert text_table([("a", "bb"), ("ccc", "d")]).splitlines() == ["a    bb", "ccc   d"]
    with pytest.raises(ValueError, match="shorter"):
        text_table([("a", "b"), ("c",)])
