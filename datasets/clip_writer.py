"""Writing clip stores (our encoding, see datasets/clip_encoding.py)."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType

import numpy as np

from datasets import clip_encoding
from datasets.clip_encoding import Coefs, Segment
from utils.atomic import atomic_path
from utils.audio import encode_flac
from utils.errors import UserError
from utils.timebase import samples_per_frame

log = logging.getLogger(__name__)

_FIRST_MAP, _MAX_KEY = 256 << 20, 500  # bytes; LMDB's keys end at 511


class ClipWriter:
    """Builds a data set folder: `data.mdb` and `keys.txt`.

    Every clip is one transaction, and the data set's own metadata come last, in `close`: a run that was cut off
    leaves a store of whole clips which readers refuse as unfinished and `resume=True` continues. Use as a context
    manager; an exception inside leaves it unfinished.
    """

    def __init__(self, path: str | Path, seg_len: int = 100, resume: bool = False) -> None:
        """
        Args:
            path: the folder, created if need be.
            seg_len: frames per segment.
            resume: add to what is already there.

        Raises:
            UserError: the folder holds a data set and `resume` is off, or cannot be written, or has other segments.
        """
        import lmdb

        self.path, self.seg_len = Path(path), seg_len
        if (self.path / "data.mdb").exists() and not resume:
            raise UserError(f"{path}: already holds a data set; remove the folder or choose another one")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._environment = lmdb.open(str(self.path), map_size=_FIRST_MAP, readahead=False)
        except (OSError, lmdb.Error) as error:
            raise UserError(f"{path}: cannot be written ({error}); choose another folder") from error
        self._keys = self._existing()
        self._closed = False

    def __contains__(self, clip: str) -> bool:
        return clip in self._keys

    def __enter__(self) -> ClipWriter:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self._environment.close()

    def add_clip(self, clip: str, audio: np.ndarray, coefs: Coefs) -> None:
        """Store one clip whole.

        Args:
            clip: `<person>/<video>`, e.g. 'TH_00001/000'.
            audio: float (about 640 n,) in -1 to 1; cut or zero-padded to 640 n samples.
            coefs: 'shape' (n, 100) or (100,) for all frames, 'exp' (n, 50), 'pose' (n, 6), raw.

        Raises:
            UserError: bad name, present already, wrong sizes, NaN.
        """
        self._check_name(clip)
        coefs = dict(coefs)
        if np.ndim(coefs.get("shape")) == 1 and np.ndim(coefs.get("exp")) == 2:
            coefs["shape"] = np.broadcast_to(coefs["shape"], (len(coefs["exp"]), len(coefs["shape"])))
        coefs = clip_encoding.check_coefs(coefs, clip)
        n_frames = len(coefs["exp"])
        if n_frames == 0:
            raise UserError(f"{clip}: has no frames; leave it out")
        values = self._segments(clip, _fit(np.asarray(audio), n_frames * samples_per_frame(), clip), coefs)
        self._put({**values, f"{clip}/metadata": clip_encoding.encode_metadata(n_frames=n_frames)})
        self._keys[clip] = None

    def close(self) -> None:
        """Write the metadata and `keys.txt`, after which the data set counts as finished."""
        if self._closed:
            return
        if not self._keys:
            self._environment.close()
            raise UserError(f"{self.path}: no clip was written; check the input")
        self._put({"metadata": clip_encoding.encode_metadata(seg_len=self.seg_len)})
        self._environment.sync(True)
        self._environment.close()
        self._closed = True
        with atomic_path(self.path / "keys.txt") as temporary:
            temporary.write_text("".join(f"{clip}\n" for clip in self._keys), encoding="utf-8")
        log.info("%s: %d clips", self.path, len(self._keys))

    def _segments(self, clip: str, audio: np.ndarray, coefs: Coefs) -> dict[str, bytes]:
        unit, n_frames = samples_per_frame(), len(coefs["exp"])
        values = {}
        for index, low in enumerate(range(0, n_frames, self.seg_len)):
            high = min(low + self.seg_len, n_frames)
            part = {name: array[low:high] for name, array in coefs.items()}
            segment = Segment(part, encode_flac(audio[low * unit : high * unit]))
            values[f"{clip}/{index:03d}"] = clip_encoding.encode_segment(segment)
        return values

    def _put(self, values: dict[str, bytes]) -> None:
        """All values in one transaction; the map is doubled as often as they do not fit."""
        import lmdb

        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in values.items():
                        transaction.put(key.encode(), value)
                return
            except lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])

    def _existing(self) -> dict[str, None]:
        """Clips already there, in the order of an earlier `keys.txt` where there is one; checks their segments."""
        with self._environment.begin() as transaction:
            metadata = transaction.get(b"metadata")
            keys = [bytes(key).decode() for key in transaction.cursor().iternext(keys=True, values=False)]
        clips = {key.removesuffix("/metadata"): None for key in keys if key.endswith("/metadata")}
        if metadata is not None and clip_encoding.decode_count(metadata, "seg_len", str(self.path)) != self.seg_len:
            self._environment.close()
            raise UserError(f"{self.path}: has segments of another length than {self.seg_len}; choose another folder")
        if clips:
            log.info("%s: continuing after %d clips", self.path, len(clips))
        return clips

    def _check_name(self, clip: str) -> None:
        person, _, video = clip.rpartition("/")
        plain = (
            clip == clip.strip()
            and clip.isprintable()
            and not any(part in ("", "metadata") for part in clip.split("/"))
        )
        if not person or not video or not plain or len(clip.encode()) > _MAX_KEY - 10:
            raise UserError(f"clip {clip!r}: the name must be <person>/<video>, printable and short")
        if clip in self._keys:
            raise UserError(f"clip {clip}: is already in {self.path}; give each clip its own name")


def _fit(audio: np.ndarray, n_samples: int, clip: str) -> np.ndarray:
    """Cut or zero-pad mono audio to whole frames; UserError unless it is finite and about as long."""
    if audio.ndim != 1 or audio.dtype.kind != "f" or not np.isfinite(audio).all():
        raise UserError(f"{clip}: the audio must be finite float samples (n,), got {audio.dtype} {audio.shape}")
    if audio.size < n_samples / 2:
        raise UserError(
            f"{clip}: {audio.size} samples of audio for {n_samples // samples_per_frame()} frames; they do not match"
        )
    return audio[:n_samples] if audio.size >= n_samples else np.pad(audio, (0, n_samples - audio.size))
