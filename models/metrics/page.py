"""The report: one HTML page."""

from __future__ import annotations

from typing import Any

from models.metrics.suite import Suite


def build_page(suite: Suite, settings: dict[str, Any], table: list[list[str]], pictures: bool) -> str:
    return ""
