"""Outputs appear whole or not at all: they are written to a temporary file beside the final path, then renamed."""

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import UserError, disk_full


@contextlib.contextmanager
def atomic_path(final: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `final` (same suffix); rename it to `final` on success, remove it on any failure.

    Raises:
        UserError: the folder cannot be created or written, or the disk is full.
    """
    final = Path(final)
    temporary = final.with_name(f".{final.stem[:40]}.{secrets.token_hex(4)}.tmp{final.suffix}")
    try:  # a signal may end the program anywhere from here on
        try:
            check_output(final)
            final.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as error:  # no permission, a file where a folder should be, a read-only disk, a full one ...
            raise UserError(f"cannot write {final}: {error.strerror}; choose another output path") from error
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # until it is whole the file is private
        temporary.replace(final)
    except Exception as error:
        if disk_full(error):
            raise UserError(f"{final}: no disk space left; free some or choose another output folder") from error
        raise
    finally:
        with contextlib.suppress(OSError):  # where nothing could be written there is nothing to remove
            temporary.unlink()


def write_text(final: str | Path, text: str, encoding: str = "utf-8") -> None:
    """A text file, whole or not at all.

    Raises:
        UserError: see `atomic_path`.
    """
    with atomic_path(final) as temporary:
        temporary.write_text(text, encoding=encoding)


def write_npz(final: str | Path, arrays: Mapping[str, Any]) -> None:
    """A compressed npz file, whatever its name ends in.

    Raises:
        UserError: see `atomic_path`.
    """
    with atomic_path(final) as temporary, temporary.open("wb") as file:  # numpy would add .npz to a path
        np.savez_compressed(file, **arrays)


def make_folder(folder: Path) -> None:
    """Create a folder for outputs, and those above it.

    Raises:
        UserError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write into {folder}: {error.strerror}; choose another output path") from error


def check_output(final: str | Path, n_bytes: int = 0) -> None:
    """Find out before long work whether `final` can be written; nothing is left behind.

    Raises:
        UserError: it is a folder, its parent is not a writable folder, or the disk is too full.
    """
    final = Path(final)
    if len(os.fsencode(final.name)) > 255:
        raise UserError(f"cannot write {final}: the name is too long; choose a shorter one")
    if final.is_dir():
        raise UserError(f"cannot write {final}: it is a folder; choose another output path")
    folder = next(parent for parent in final.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise UserError(f"cannot write {final}: {folder} is not a folder; choose another output path")
    try:  # not os.access: root may write everywhere, but nothing can be made in /proc
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        if not disk_full(error):
            raise UserError(
                f"cannot write {final}: {folder} may not be written to; choose another output path"
            ) from error
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise UserError(f"{final}: needs about {n_bytes / 1e6:.3g} MB, but the disk has only {free / 1e6:.3g} MB left; "
                        "free some or choose another output folder")  # fmt: skip


def check_apart(written: Iterable[Path | None], read: Iterable[Path | None]) -> None:
    """Refuse to overwrite a source; called before any work. Links and `..` lead to the file itself.

    Args:
        written: every file and folder that will be written, sidecars included.
        read: every file and folder that is read. Of folders, the files directly in them count. None is passed over.

    Raises:
        UserError: a file is on both sides.
    """
    sources = {_identity(file): file for path in read for file in _files(path)}
    for file in (file for path in written for file in _files(path)):
        source = sources.get(_identity(file))
        if source is not None:
            same = "" if source == file else f" (it is {source})"
            raise UserError(f"{file}: is read here and would be overwritten{same}; choose another output")


def _files(path: Path | None) -> list[Path]:
    """An existing file, or those directly in a folder."""
    try:
        if path is not None and path.is_dir():
            return [file for file in path.iterdir() if file.is_file()]
        return [path] if path is not None and path.is_file() else []
    except OSError:  # a name of thousands of letters, a folder without permission: reported where it is used
        return []


def _identity(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_dev, found.st_ino


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
