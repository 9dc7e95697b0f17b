"""Folders with unguessable names, for takes and for visitors' files; they are removed after a while."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from utils.errors import UserError

KEPT = re.compile(r"[0-9a-f]{32}")
LONGEST_NAME = 80  # letters of an uploaded file's name that are kept
MAX_TOTAL, LEAST = 2_000_000_000, 500_000  # bytes of all uploads; that a small one counts as, so that they stay few


def new_token() -> str:
    return secrets.token_hex(16)


def sweep(parent: Path, max_age: float) -> int:
    """Remove the folders in `parent` that are older than `max_age` seconds -> how many."""
    removed = 0
    for folder in parent.iterdir():
        with contextlib.suppress(FileNotFoundError):  # a failed take's folder goes at any time
            if KEPT.fullmatch(folder.name) and time.time() - folder.stat().st_mtime > max_age:
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
    return removed


@contextlib.contextmanager
def whole(folder: Path) -> Iterator[None]:
    """A folder whose making fails, or is ended, does not stay."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


class Uploads:
    """Visitors' files, each in a folder of its own. The page names them by tokens, never by paths."""

    def __init__(self, parent: Path) -> None:
        self.parent, self._arriving = parent, 0
        parent.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def receive(self, name: str, most: int) -> Iterator[Path]:
        """Where to write an upload of at most `most` bytes; it stays only if it comes to its end.

        Raises:
            UserError: all uploads together might become larger than `MAX_TOTAL`.
        """
        held = sum(map(_size, self.parent.glob("*/*")))
        if held + (self._arriving + 1) * most > MAX_TOTAL:
            raise UserError("upload: the server holds as many files as it may; try again in an hour")
        self._arriving += 1
        try:
            path = self.place(name)
            with whole(path.parent):
                yield path
        finally:
            self._arriving -= 1

    def place(self, name: str) -> Path:
        """Where to write a file that the visitor calls `name`; its token is the folder's name."""
        folder = self.parent / new_token()
        folder.mkdir(mode=0o700)
        clean = re.sub(r"[^\w. -]", "_", Path(name).name).lstrip(".")[-LONGEST_NAME:]
        return folder / (clean or "file")

    def find(self, token: object) -> Path:
        """The file of a token.

        Raises:
            UserError: there is none.
        """
        if isinstance(token, str) and KEPT.fullmatch(token) and (self.parent / token).is_dir():
            for path in (self.parent / token).iterdir():
                return path
        raise UserError("upload: this file is no longer here; choose it again")


def _size(path: Path) -> int:
    """Bytes, at least `LEAST`; 0 if it has just been swept."""
    try:
        return max(LEAST, path.stat().st_size)
    except FileNotFoundError:
        return 0
