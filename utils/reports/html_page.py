"""A self-contained page of HTML: text, tables, SVG, pictures inside the file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np

_STYLE = """
body { font: 15px/1.45 sans-serif; color: #222; background: #fff; max-width: 1000px; margin: 24px auto;
  padding: 0 16px }
h1 { font-size: 24px } h2 { font-size: 18px; margin-top: 32px } h3 { font-size: 15px; margin-bottom: 4px }
table { border-collapse: collapse; font-size: 13px }
th, td { padding: 3px 10px; text-align: right; white-space: nowrap }
th { border-bottom: 2px solid #999 } td { border-bottom: 1px solid #e3e3e3 }
th:first-child, td:first-child { text-align: left }
table.words td { text-align: left; white-space: normal; vertical-align: top }
.met { background: #e4f3e6 } .missed { background: #fbe6e2 }
p.note { color: #6b6b6b; font-size: 13px } img, svg { max-width: 100%; height: auto } .wide { overflow-x: auto }
"""


def page(title: str, parts: Sequence[str]) -> str:
    """A whole document."""
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def heading(text: str, level: int = 2) -> str:
    return f"<h{level}>{escape(text)}</h{level}>"


def paragraph(text: str, note: bool = False) -> str:
    return f"<p{' class=note' if note else ''}>{escape(text)}</p>"


def table(rows: Sequence[Sequence[str]], classes: dict[tuple[int, int], str] | None = None, words: bool = False) -> str:
    """First row: headings. `classes` marks cells (row, column); `words`: cells of text, not numbers."""
    classes = classes or {}

    def cell(r: int, c: int, text: str) -> str:
        tag = "th" if r == 0 else "td"
        mark = f' class="{classes[r, c]}"' if (r, c) in classes else ""
        return f"<{tag}{mark}>{escape(text)}</{tag}>"

    lines = ["<tr>" + "".join(cell(r, c, text) for c, text in enumerate(row)) + "</tr>" for r, row in enumerate(rows)]
    return f'<div class="wide"><table{" class=words" if words else ""}>' + "\n".join(lines) + "</table></div>"


def details(title: str, content: str) -> str:
    """Content that opens on a click."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def picture(pixels: np.ndarray, words: str) -> str:
    """uint8 (H, W, 3) as an image inside the page; `words` describe it."""
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(pixels).save(data, format="PNG", optimize=True)
    source = base64.b64encode(data.getvalue()).decode()
    return f'<img alt="{escape(words)}" src="data:image/png;base64,{source}">'
