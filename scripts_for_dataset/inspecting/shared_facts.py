"""The facts that a part of an inspection found, kept for the command that merges them, to the last bit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from datasets.inspection import ClipFacts
from utils.atomic import write_npz
from utils.reading.array_file import read_npz
from utils.runs.shards import FinishedPart

_ARRAYS = ("sums", "squares", "low", "high")  # per coefficient, (156,)
_FILE = "facts.npz"


def save_facts(folder: Path, facts: Iterable[ClipFacts]) -> list[dict[str, Any]]:
    """Write the arrays into a part's folder; the other fields of each clip, for JSON."""
    found = list(facts)
    write_npz(folder / _FILE, {name: np.array([getattr(one, name) for one in found]) for name in _ARRAYS})
    names = [field.name for field in fields(ClipFacts) if field.name not in _ARRAYS]
    return [{name: getattr(one, name) for name in names} for one in found]


def load_facts(part: FinishedPart) -> list[ClipFacts]:
    """What `save_facts` kept.

    Raises:
        UserError: the file cannot be read.
    """
    arrays = read_npz(part.folder / _FILE)
    return [ClipFacts(**row, **{name: arrays[name][i] for name in _ARRAYS}) for i, row in enumerate(part.results)]
