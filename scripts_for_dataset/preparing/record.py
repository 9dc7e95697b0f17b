"""A record of what a folder of clips is made from, so that a run is never continued with other settings."""

from __future__ import annotations

import json
from pathlib import Path

from utils.atomic import write_text
from utils.errors import UserError
from utils.reading.json_file import read_json


def remember(output: Path, plan: dict) -> None:
    """Make the folder with its `plan.json`.

    Raises:
        UserError: the folder exists with another plan, or cannot be written.
    """
    record = output / "plan.json"
    if record.is_file() and read_json(record) != plan:
        raise UserError(f"--output {output}: was made otherwise ({record.read_text().strip()}); choose another folder")
    if not record.is_file():
        write_text(record, json.dumps(plan) + "\n")  # whole: parts of the work read it meanwhile
