"""Writing clip stores (our encoding, see datasets/clip_encoding.py)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from datasets import clip_encoding
from datasets.clip_encoding import Coefs
from utils.atomic import write_text
from utils.errors import UserError
from utils.reports.wording import counted
from utils.runs.file_lock import hold

if TYPE_CHECKING:
    import lmdb
    from filelock import BaseFileLock

log = logging.getLogger(__name__)

_FIRST_MAP, _MAX_KEY = 256 << 20, 500  # bytes; LMDB's keys end at 511
UNFINISHED = "writing"  # key of a data set that is not finished: holds what `metadata` will


class ClipWriter:
    """Builds a data set folder: `data.mdb` and `keys.txt`.

    Every clip is one transaction, so a run that is interrupted at any moment leaves a store of whole clips, which
    `resume=True` continues. Until `close` it is marked as unfinished: readers refuse it unless asked for the existing
    part. The file's size grows as needed. One writer at a time. Use as a context manager; an exception inside
    leaves the store unfinished.
    """

    def __init__(self, path: str | Path, seg_len: int = 100, resume: bool = False, may_be_empty: bool = False) -> None:
        """
        Args:
            may_be_empty: also finish without a single clip, as a part of a data set may.

        Raises:
            UserError: the folder holds a data set and `resume` is off, or cannot be written, or has other segments, or
                another process is writing it.
        """
        self.path, self.seg_len, self._may_be_empty = Path(path), seg_len, may_be_empty
        if (self.path / "data.mdb").exists() and not resume:
            raise UserError(f"{path}: already holds a data set; remove the folder or choose another one")
        self._environment = _open(self.path)
        self._closed = False
        with self._closing_on_error():
            self._lock = _lock(self.path)
            self._keys = self._existing()
            if self._value("metadata") is None:
                self._put({UNFINISHED: clip_encoding.encode_metadata(seg_len=seg_len)})

    def __contains__(self, clip: str) -> bool:
        return clip in self._keys

    def __enter__(self) -> ClipWriter:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self._release()

    def add_clip(self, clip: str, audio: np.ndarray, coefs: Coefs) -> None:
        """Store one clip whole; arguments as for `clip_encoding.encode_clip`.

        Raises:
            UserError: bad name, present already, wrong sizes, NaN.
        """
        self.check_name(clip)
        self.add_encoded(clip, clip_encoding.encode_clip(clip, audio, coefs, self.seg_len))

    def add_encoded(self, clip: str, values: dict[str, bytes]) -> None:
        """Store the result of `clip_encoding.encode_clip` (from another process, say), with this writer's seg_len.

        Raises:
            UserError: bad name, present already, or the disk is full.
        """
        self.check_name(clip)
        self._put(values)
        self._keys[clip] = None

    def close(self) -> None:
        """Write the metadata and `keys.txt`, after which the data set counts as finished."""
        if self._closed:
            return
        if not (self._keys or self._may_be_empty):
            self._release()
            raise UserError(f"{self.path}: no clip was written; check the input")
        with self._closing_on_error():
            self._put({"metadata": clip_encoding.encode_metadata(seg_len=self.seg_len), UNFINISHED: None})
            self._environment.sync(True)
        self._release()
        write_text(self.path / "keys.txt", "".join(f"{clip}\n" for clip in self._keys))
        log.info("%s: %s", self.path, counted(len(self._keys), "clip"))

    def _release(self) -> None:
        self._closed = True
        self._environment.close()
        if getattr(self, "_lock", None) is not None:
            self._lock.release()

    @contextlib.contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._release()
            raise

    def _value(self, key: str) -> bytes | None:
        with self._environment.begin() as transaction:
            return transaction.get(key.encode())

    def _put(self, values: Mapping[str, bytes | None]) -> None:
        """All values in one transaction (None deletes); the map is doubled as often as they do not fit."""
        import lmdb

        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in values.items():
                        if value is None:
                            transaction.delete(key.encode())
                        else:
                            transaction.put(key.encode(), value)
                return
            except lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])
            except lmdb.Error as error:  # the transaction is gone as a whole; what was there before is untouched
                raise UserError(
                    f"{self.path}: cannot be written further ({error}); free some disk space and give the same command "
                    "again: finished clips are kept"
                ) from error

    def _existing(self) -> dict[str, None]:
        """Clips already there, in key order; checks their segments' length."""
        with self._environment.begin() as transaction:
            clips = dict.fromkeys(clip_encoding.clip_names(transaction.cursor().iternext(values=False), self.path))
        for key in ("metadata", UNFINISHED):
            value = self._value(key)
            if value and clip_encoding.decode_count(value, "seg_len", str(self.path)) != self.seg_len:
                raise UserError(
                    f"{self.path}: has segments of another length than {self.seg_len}; choose another folder"
                )
        if clips:
            log.info("%s: continuing after %s", self.path, counted(len(clips), "clip"))
        return clips

    def check_name(self, clip: str) -> None:
        """UserError unless a clip may be written under this name."""
        person, _, video = clip.rpartition("/")
        plain = (
            clip == clip.strip()
            and clip.isprintable()
            and not any(part in ("", "metadata", ".", "..") for part in clip.split("/"))
        )
        if not person or not video or not plain or len(clip.encode()) > _MAX_KEY - 10:
            raise UserError(f"clip {clip!r}: the name must be <person>/<video>, printable and short")
        if clip in self._keys:
            raise UserError(f"clip {clip}: is already in {self.path}; give each clip its own name")


def _open(path: Path) -> lmdb.Environment:
    import lmdb

    try:
        path.mkdir(parents=True, exist_ok=True)
        return lmdb.open(str(path), map_size=_FIRST_MAP, readahead=False)
    except (OSError, lmdb.Error) as error:
        raise UserError(f"{path}: cannot be written ({error}); choose another folder") from error


def _lock(path: Path) -> BaseFileLock:
    """Held until released or the process ends, however it ends. Not LMDB's own lock file: that one is LMDB's."""
    lock = hold(path / "writer.lock")
    if lock is None:
        raise UserError(f"{path}: another process is writing this data set; wait for it, or end it")
    return lock
