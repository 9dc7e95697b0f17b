"""JSON from untrusted sources: whatever is wrong with a file raises one kind of error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.reading.array_file import read_bytes

MAX_BYTES = 256 << 20


def parse_json_value(text: str | bytes, source: str) -> Any:
    """One JSON value of any kind; the list of the objects in a file with one per line.

    Raises:
        UserError: damaged, nested too deeply, or larger than 256 MB.
    """
    if len(text) > MAX_BYTES:
        raise UserError(f"{source}: {len(text) / 1e6:.0f} MB of JSON are more than {MAX_BYTES / 1e6:.0f}; cut the file")
    try:
        lines = text.split(b"\n{") if isinstance(text, bytes) else []
        if len(lines) > 1 and lines[0].rstrip()[-1:] == b"}":  # an object per line
            return [json.loads(line if number == 0 else b"{" + line) for number, line in enumerate(lines)]
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also invalid UTF-8, and numbers with too many digits
        raise UserError(f"{source}: not readable JSON ({error}); write or get it again") from error


def parse_json(text: str | bytes, source: str) -> dict[str, Any]:
    """One JSON object; UserError as for `parse_json_value`, or for another kind of value."""
    value = parse_json_value(text, source)
    if not isinstance(value, dict):
        raise UserError(f"{source}: holds {type(value).__name__}, not a JSON object; write or get it again")
    return value


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        UserError: missing, unreadable, or refused by `parse_json`.
    """
    return parse_json(read_bytes(path, MAX_BYTES), str(path))


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file.

    Raises:
        UserError: missing, unreadable, too large, or not text.
    """
    try:
        return read_bytes(path, MAX_BYTES).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not text in UTF-8 ({error.reason}); write or get it again") from error
