"""Findings as JSON that any reader takes."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np


def json_text(content: Any) -> str:
    """Dataclasses become objects, NumPy's numbers plain ones, NaN and infinities null."""
    return json.dumps(_plain(content), indent=1, ensure_ascii=False) + "\n"


def _plain(content: Any) -> Any:
    if is_dataclass(content) and not isinstance(content, type):
        content = asdict(content)
    if isinstance(content, dict):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if isinstance(content, np.generic):
        content = content.item()
    return None if isinstance(content, float) and not math.isfinite(content) else content
