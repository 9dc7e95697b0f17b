"""Scored clips in a file, to the last bit, for the process that merges the parts of an evaluation (docs/scale.md)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.metrics.score import Quotient
from models.metrics.sets import Described
from models.metrics.suite import ScoredClip
from utils.atomic import write_npz
from utils.reading.array_file import read_npz
from utils.reading.json_file import parse_json_value

_TREE = "tree"  # JSON, in which [type, length, ...] stands for the next array of that type


def save_scored(path: Path, clips: Sequence[ScoredClip]) -> None:
    """Write an npz: the numbers of each type in one array, since there are thousands of small arrays."""
    flat: dict[str, list[np.ndarray]] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            flat.setdefault(value.dtype.name, []).append(value.ravel())
            return [value.dtype.name, *value.shape]
        if is_dataclass(value):
            value = {each.name: getattr(value, each.name) for each in fields(value)}
        return {name: plain(inner) for name, inner in value.items()} if isinstance(value, dict) else value

    text = json.dumps([plain(clip) for clip in clips]).encode()
    joined = {name: np.concatenate(each) for name, each in flat.items()}
    write_npz(path, {_TREE: np.frombuffer(text, np.uint8), **joined})


def load_scored(path: Path) -> list[ScoredClip]:
    """What `save_scored` wrote.

    Raises:
        UserError: the file cannot be read.
    """
    flat = read_npz(path)
    clips = parse_json_value(flat.pop(_TREE).tobytes(), str(path))
    used = dict.fromkeys(flat, 0)

    def rebuilt(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: rebuilt(inner) for name, inner in value.items()}
        if not isinstance(value, list):
            return value
        name, *shape = value
        start, used[name] = used[name], used[name] + math.prod(shape)
        return flat[name][start : used[name]].reshape(shape)

    return [_scored_clip(rebuilt(clip)) for clip in clips]


def _scored_clip(entries: dict[str, Any]) -> ScoredClip:
    quotients = {method: _quotients(each) for method, each in entries["quotients"].items()}
    described = {method: Described(**each) for method, each in entries["described"].items()}
    phones = {
        method: {phone: _quotients(each) for phone, each in by_phone.items()}
        for method, by_phone in entries["phones"].items()
    }
    return ScoredClip(**entries | {"quotients": quotients, "described": described, "phones": phones})


def _quotients(found: dict[str, Any]) -> dict[str, Quotient]:
    return {name: Quotient(**each) for name, each in found.items()}
