"""The folders that `--data_root` names, with their weights.

`--data_root` names a folder, folders separated by commas, a .txt file with a folder per line, or a .json object
{folder: weight}; relative paths in a file start at its folder. A weight is how often the training clips of a folder
occur in an epoch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from utils.errors import UserError
from utils.reading.json_file import read_json, read_lines

TREATMENT = "treatment.json"
_PARTS = 4  # weights are rounded to quarters of the least one
_MOST = 1000  # times that a clip may occur in an epoch


@dataclass(frozen=True)
class WeightedFolder:
    """One folder, and how often its training clips occur in an epoch."""

    folder: Path
    repeats: int = 1


def sources_of(data_root: Path) -> list[WeightedFolder]:
    """The folders that `--data_root` names.

    Raises:
        UserError: the list is empty, unreadable, names a folder twice, or a weight is not a positive number.
    """
    if data_root.is_dir():
        return [WeightedFolder(data_root)]
    if data_root.suffix == ".json" and data_root.is_file():
        given = read_json(data_root)
        weights = dict(zip(_once([str(data_root.parent / name) for name in given]), given.values()))
    elif data_root.suffix == ".txt" and data_root.is_file():
        weights = _once([str(data_root.parent / line.strip()) for line in read_lines(data_root) if line.strip()])
    elif data_root.is_file():
        raise UserError(f"--data_root {data_root}: is a file; name an LMDB folder, or a .txt or .json of folders")
    else:
        weights = _once([name.strip() for name in str(data_root).split(",") if name.strip()])
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise UserError(f"{data_root}: the weight of {name} is {weight!r}; give a positive number")
    if not weights:
        raise UserError(f"{data_root}: names no folder; write one a line")
    least = min(weights.values())
    parts = [Fraction(weight / least).limit_denominator(_PARTS) for weight in weights.values()]
    unit = math.lcm(*(part.denominator for part in parts))
    if max(parts) * unit > _MOST:
        raise UserError(f"{data_root}: its weights differ by more than {_MOST // _PARTS} times; bring them together")
    return [WeightedFolder(Path(name), int(part * unit)) for name, part in zip(weights, parts)]


def _once(names: list[str]) -> dict[str, float]:
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UserError(f"--data_root: {min(twice)} is named twice; name it once (a JSON file gives weights)")
    return dict.fromkeys(names, 1)


def check_alike(sources: list[WeightedFolder]) -> None:
    """UserError if preparation recorded different settings in two folders."""
    records = [s.folder / TREATMENT for s in sources if (s.folder / TREATMENT).is_file()]
    settings = [(record.parent, read_json(record)) for record in records]
    for folder, found in settings[1:]:
        if found != settings[0][1]:
            raise UserError(f"{folder}: was prepared with {found}, {settings[0][0]} with {settings[0][1]}; prepare "
                            "them alike")  # fmt: skip
