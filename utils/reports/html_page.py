"""Self-contained pages of HTML from the templates beside this file; text is escaped, pictures lie inside the page."""

from __future__ import annotations

import base64
import functools
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(TEMPLATES)
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip


def render(template: str, **content: Any) -> str:
    """A template of `templates/` filled with `content`. Only templates mark text as safe: `to_svg`'s elements."""
    return _environment().get_template(template).render(content)


def png_address(pixels: np.ndarray) -> str:
    """uint8 (H, W, 3) -> an address that holds the picture itself."""
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(pixels).save(data, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
