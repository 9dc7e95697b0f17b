"""Clips of speech with coefficients in an LMDB file. Only this module, clip_writer and clip_encoding know the format.

Keys, for both encodings: `metadata`; `<person>/<video>/metadata`; `<person>/<video>/<segment:03d>`. A segment is
`seg_len` frames; the last one may be shorter. The published data sets pickle their values. Ours, written by
`ClipWriter`, never do: the two kinds of metadata are JSON, and a segment is a fixed header, raw float32 coefficients
and FLAC audio, so that reading coefficients is a copy and nothing in the file can be executed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from datasets import clip_encoding
from datasets.clip_encoding import Coefs, Segment
from datasets.clip_writer import UNFINISHED, ClipWriter
from datasets.splits import read_list
from utils.coefs import DIMS
from utils.errors import UserError
from utils.media.audio import SampleType, decode_flac_part
from utils.reports.wording import counted
from utils.timebase import samples_per_frame

if TYPE_CHECKING:
    import lmdb

__all__ = ["ClipReader", "ClipStore", "ClipWriter", "Frames"]

_TAIL_FRAMES = 2  # a segment's audio may differ this much from its frames (streams of one video end unevenly)


@dataclass(frozen=True)
class Frames:
    """A range of frames of one clip."""

    audio: np.ndarray  # float32 (or int16, if asked for) (640 n,)
    coefs: Coefs  # 'shape' (n, 100), 'exp' (n, 50), 'pose' (n, 6), float32


class ClipReader(Protocol):
    """What data sets read clips from: a folder (`ClipStore`) or several (`ClipSources`)."""

    path: Path

    def n_frames(self, clip: str) -> int: ...

    def source_of(self, clip: str) -> int: ...

    def read_frames(self, clip: str, start: int, stop: int, dtype: SampleType = "float32") -> Frames: ...

    def read_coefs(self, clip: str, start: int = 0, stop: int | None = None) -> Coefs: ...


class ClipStore:
    """Random access to the clips of a data set folder.

    Holds only its path: the file is opened on first use in each process, so a store can be handed to DataLoader
    workers, forked or spawned.
    """

    def __init__(self, path: str | Path, unfinished: bool = False) -> None:
        """
        Args:
            unfinished: also read a data set whose writing was interrupted: its complete clips.

        Raises:
            UserError: there is no data set.
        """
        self.path = Path(path).resolve()
        self._unfinished = unfinished
        self._seg_len: int | None = None
        try:
            self._inode = (self.path / "data.mdb").stat().st_ino  # a rebuilt data set is another file
        except OSError:
            raise UserError(f"{path}: no data.mdb in this folder; give the folder of an LMDB data set") from None

    @property
    def seg_len(self) -> int:
        """Frames per segment; UserError if the data set was never finished."""
        if self._seg_len is None:
            value = self._get("metadata") or (self._get(UNFINISHED) if self._unfinished else None)
            if value is None:
                raise UserError(
                    f"{self.path}: unfinished data set (no metadata); give the command that made it again to finish it"
                )
            self._seg_len = clip_encoding.decode_count(value, "seg_len", f"{self.path}: metadata")
        return self._seg_len

    def clips(self, list_file: str | Path | None = None) -> list[str]:
        """All clips `<person>/<video>` in key order, or those of a list file (checked to exist)."""
        _ = self.seg_len  # an unfinished data set fails here, not in a worker
        if list_file is None:
            with _environment(self.path, self._inode).begin() as transaction:
                return clip_encoding.clip_names(transaction.cursor().iternext(values=False), self.path)
        clips = read_list(list_file)
        missing = [clip for clip in clips if clip not in self]
        if missing:
            absent = counted(len(missing), "clip is", "clips are")
            raise UserError(f"{list_file}: {absent} not in {self.path} (first: {missing[0]}); make the lists again")
        return clips

    @property
    def finished(self) -> bool:
        """Whether the data set was written completely."""
        return self._get("metadata") is not None

    def __contains__(self, clip: str) -> bool:
        try:
            return self._get(f"{clip}/metadata") is not None
        except UserError:
            return False

    def source_of(self, clip: str) -> int:
        """Number of the clip's folder among several: there is one."""
        return 0

    def n_frames(self, clip: str) -> int:
        """Length of a clip in frames; UserError if it is unknown."""
        return clip_encoding.decode_count(self._need(f"{clip}/metadata"), "n_frames", f"{self.path}: {clip}")

    def read_frames(self, clip: str, start: int, stop: int, dtype: SampleType = "float32") -> Frames:
        """Audio and coefficients of frames start..stop-1, decoding only the segments concerned.

        dtype: of the audio, float32 or int16 (as it is stored).

        Raises:
            UserError: unknown clip, frames beyond its end, damaged data.
        """
        unit = samples_per_frame()
        pieces, audio = [], []
        for key, segment, low, high in self._segments(clip, start, stop):
            pieces.append({name: values[low:high] for name, values in segment.coefs.items()})
            audio.append(self._decode(segment, (low * unit, high * unit), key, dtype))
        return Frames(np.concatenate(audio), _join(pieces))

    def read_coefs(self, clip: str, start: int = 0, stop: int | None = None) -> Coefs:
        """As `read_frames` without the audio (several times faster); the whole clip by default."""
        stop = self.n_frames(clip) if stop is None else stop
        return _join(
            [
                {name: values[low:high] for name, values in segment.coefs.items()}
                for _, segment, low, high in self._segments(clip, start, stop)
            ]
        )

    def segments(self, clip: str) -> Iterator[tuple[str, Segment]]:
        """(key, segment as stored) of a whole clip."""
        for key, segment, _, _ in self._segments(clip, 0, self.n_frames(clip)):
            yield key, segment

    def values(self, clip: str) -> dict[str, bytes]:
        """Key -> value of a whole clip as it is stored, for a store with segments of the same length."""
        keys = [f"{clip}/{index:03d}" for index in range(-(-self.n_frames(clip) // self.seg_len))]
        return {key: self._need(key) for key in (*keys, f"{clip}/metadata")}

    def _segments(self, clip: str, start: int, stop: int) -> Iterator[tuple[str, Segment, int, int]]:
        """Yield (key, segment, low, high): frames low..high-1 of each segment that start..stop-1 touches."""
        n_frames, seg_len = self.n_frames(clip), self.seg_len
        if not 0 <= start < stop <= n_frames:
            raise UserError(f"{self.path}: {clip} has {n_frames} frames; frames {start} to {stop} were asked for")
        for index in range(start // seg_len, -(-stop // seg_len)):
            first = index * seg_len
            key = f"{clip}/{index:03d}"
            segment = clip_encoding.decode_segment(self._need(key), f"{self.path}: {key}")
            if segment.n_frames != min(seg_len, n_frames - first):
                raise UserError(
                    f"{self.path}: {key} has {segment.n_frames} frames, against its clip's length; rebuild the data set"
                )
            yield key, segment, max(start - first, 0), min(stop - first, segment.n_frames)

    def _decode(self, segment: Segment, part: tuple[int, int], key: str, dtype: SampleType) -> np.ndarray:
        """Samples start..stop - 1 of a segment; zeros beyond the end of audio that is a little too short."""
        start, stop = part
        try:
            audio, total = decode_flac_part(segment.flac, start, stop, dtype=dtype)
        except UserError as error:
            raise UserError(f"{self.path}: {key}: {error}") from error
        wanted = segment.n_frames * samples_per_frame()
        if abs(total - wanted) > _TAIL_FRAMES * samples_per_frame():
            raise UserError(f"{self.path}: {key}: {total} samples of audio for {wanted}; rebuild the data set")
        missing = stop - start - len(audio)
        return np.pad(audio, (0, missing)) if missing else audio

    def _get(self, key: str) -> bytes | None:
        import lmdb

        try:
            with _environment(self.path, self._inode).begin() as transaction:
                return transaction.get(key.encode())
        except lmdb.Error as error:
            raise UserError(f"{self.path}: {key!r} cannot be read ({error}); get the data set again") from error

    def _need(self, key: str) -> bytes:
        value = self._get(key)
        if value is None:
            raise UserError(
                f"{self.path}: has no {key}; the lists and the data set do not belong together, or it is incomplete"
            )
        return value


# LMDB allows one handle per file and process, however many stores there are, so handles are shared between stores.
_handles: dict[tuple[Path, int], tuple[int, lmdb.Environment]] = {}


def _environment(path: Path, inode: int) -> lmdb.Environment:
    """The handle of this process. One inherited through a fork is closed (here only) and opened again."""
    import lmdb

    pid, environment = _handles.get((path, inode), (0, None))
    if environment is not None and pid == os.getpid():
        return environment
    if environment is not None:
        environment.close()
    try:
        environment = lmdb.open(str(path), readonly=True, lock=False, readahead=False, create=False)
    except (OSError, lmdb.Error) as error:
        raise UserError(f"{path}: not a readable LMDB data set ({error}); get it again") from error
    try:
        check_length(path, environment)
    except UserError:
        environment.close()
        raise
    _handles[path, inode] = (os.getpid(), environment)
    return environment


def check_length(path: Path, environment: lmdb.Environment) -> None:
    """Refuse a file that was cut off: reading a missing page would kill the process.

    Pages at the end may rightly be absent if no value uses them; then a child process tries all values.
    """
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    present = (path / "data.mdb").stat().st_size
    if present >= needed:
        return
    code = (
        "import lmdb, sys\n"
        "with lmdb.open(sys.argv[1], readonly=True, lock=False, create=False).begin(buffers=True) as t:\n"
        "    for key, value in t.cursor():\n        value[len(value) - 1:].tobytes()\n"
    )
    if subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=False).returncode:
        raise UserError(
            f"{path}: data.mdb is cut off ({present / 1e6:.1f} of {needed / 1e6:.1f} MB are there); copy it again"
        )


def _join(pieces: list[Coefs]) -> Coefs:
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in DIMS}
