"""How values are stored in a clip store: the published pickles (read only) and our own encoding (read and write)."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from utils.coefs import DIMS
from utils.errors import UserError
from utils.media.audio import encode_flac
from utils.reading.json_file import parse_json
from utils.timebase import samples_per_frame
from utils.trackers.pickles import load_tree

FORMAT = "clips-1"
_HEADER = struct.Struct("<4sII")  # magic, frames, rows of the shape: one if it is constant, else one per frame
MAX_COUNT = 10**9  # frames of a clip: more than a year
_MAGIC, _METADATA = b"CLP1", b"/metadata"

Coefs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Segment:
    """Up to seg_len frames as they are stored."""

    coefs: Coefs  # 'shape' (n, 100), 'exp' (n, 50), 'pose' (n, 6), float32
    flac: bytes

    @property
    def n_frames(self) -> int:
        return len(self.coefs["exp"])


def clip_names(keys: Iterable[bytes], source: object) -> list[str]:
    """The clips among a data set's keys.

    Raises:
        UserError: a key that is not text.
    """
    try:
        return [key.removesuffix(_METADATA).decode() for key in map(bytes, keys) if key.endswith(_METADATA)]
    except UnicodeDecodeError as error:
        raise UserError(f"{source}: has names of clips that are not text; get the data set again") from error


def encode_metadata(**values: int) -> bytes:
    """JSON naming the format, so that a reader knows the encoding from the first byte."""
    return json.dumps({"format": FORMAT, **values}).encode()


def decode_count(value: bytes, name: str, source: str) -> int:
    """A positive whole number of a metadata value in either encoding.

    Raises:
        UserError: damaged, a newer format, or without `name`.
    """
    if value[:1] == b"{":
        content = parse_json(bytes(value), f"{source}: damaged metadata")
        if content.get("format") != FORMAT:
            raise UserError(f"{source}: format {content.get('format')!r} is not {FORMAT}; update this software")
    else:
        content = load_tree(value, source)
    count = content.get(name) if isinstance(content, dict) else None
    if not isinstance(count, int | np.integer) or not 1 <= count <= MAX_COUNT:
        raise UserError(f"{source}: no valid {name} in the metadata; rebuild the data set")
    return int(count)


def encode_segment(segment: Segment) -> bytes:
    """Header, then shape (one row if all are equal, as usual), exp, pose as little-endian float32, then FLAC."""
    shape = segment.coefs["shape"]
    rows = 1 if (shape == shape[:1]).all() else len(shape)
    arrays = (shape[:rows], segment.coefs["exp"], segment.coefs["pose"])
    header = _HEADER.pack(_MAGIC, segment.n_frames, rows)
    return header + b"".join(np.ascontiguousarray(a, dtype="<f4").tobytes() for a in arrays) + segment.flac


def decode_segment(value: bytes, source: str) -> Segment:
    """A segment in either encoding; its arrays may be read-only views.

    Raises:
        UserError: damaged or with wrong sizes.
    """
    if value[:4] != _MAGIC:
        return _published_segment(load_tree(value, source), source)
    if len(value) < _HEADER.size:
        raise UserError(f"{source}: truncated; rebuild the data set")
    _, n_frames, rows = _HEADER.unpack_from(value)
    offset, coefs = _HEADER.size, {}
    for name, n_rows in (("shape", rows), ("exp", n_frames), ("pose", n_frames)):
        count = n_rows * DIMS[name]
        if rows not in (1, n_frames) or offset + 4 * count > len(value):
            raise UserError(f"{source}: truncated; rebuild the data set")
        coefs[name] = np.frombuffer(value, "<f4", count, offset).reshape(n_rows, DIMS[name])
        offset += 4 * count
    coefs["shape"] = np.broadcast_to(coefs["shape"], (n_frames, DIMS["shape"]))
    return Segment(coefs, value[offset:])


def check_coefs(coefs: object, source: str) -> Coefs:
    """float32 arrays of equal length and known widths; more components (FLAME has 300 + 100) are cut off.

    Raises:
        UserError: naming the coefficient.
    """
    result = {}
    for name, width in DIMS.items():
        values = coefs.get(name) if isinstance(coefs, dict) else None
        if (
            not isinstance(values, np.ndarray)
            or values.ndim != 2
            or values.shape[1] < width
            or values.dtype.kind != "f"
        ):
            raise UserError(f"{source}: coefficient {name} must be numbers (frames, {width}); rebuild the data set")
        if not np.isfinite(values).all():
            raise UserError(
                f"{source}: coefficient {name} holds NaN or infinite numbers; repair or leave out this clip"
            )
        result[name] = values[:, :width].astype(np.float32, copy=False)
    if len({len(values) for values in result.values()}) != 1:
        raise UserError(f"{source}: shape, exp and pose differ in length; rebuild the data set")
    return result


def encode_clip(clip: str, audio: np.ndarray, coefs: Coefs, seg_len: int) -> dict[str, bytes]:
    """All values of one clip by key: its segments, then its metadata. Most of the work is FLAC coding.

    Args:
        audio: float (about 640 n,) in -1 to 1; cut or zero-padded to 640 n samples.
        coefs: 'shape' (n, 100) or (100,) for all frames, 'exp' (n, 50), 'pose' (n, 6), raw.

    Raises:
        UserError: wrong sizes, NaN.
    """
    coefs = dict(coefs)
    shape, exp = coefs.get("shape"), coefs.get("exp")
    if shape is not None and exp is not None and np.ndim(shape) == 1 and np.ndim(exp) == 2:
        coefs["shape"] = np.broadcast_to(shape, (len(exp), len(shape)))
    coefs = check_coefs(coefs, clip)
    unit, n_frames = samples_per_frame(), len(coefs["exp"])
    if n_frames == 0:
        raise UserError(f"{clip}: has no frames; leave it out")
    audio = _fit(np.asarray(audio), n_frames * unit, clip)
    values = {}
    for index, low in enumerate(range(0, n_frames, seg_len)):
        high = min(low + seg_len, n_frames)
        part = {name: array[low:high] for name, array in coefs.items()}
        segment = Segment(part, encode_flac(audio[low * unit : high * unit]))
        values[f"{clip}/{index:03d}"] = encode_segment(segment)
    return {**values, f"{clip}/metadata": encode_metadata(n_frames=n_frames)}


def _fit(audio: np.ndarray, n_samples: int, clip: str) -> np.ndarray:
    """Cut or zero-pad mono audio to whole frames; UserError unless it is finite and about that long."""
    if audio.ndim != 1 or audio.dtype.kind != "f" or not np.isfinite(audio).all():
        raise UserError(f"{clip}: the audio must be finite float samples (n,), got {audio.dtype} {audio.shape}")
    if audio.size < n_samples / 2:
        raise UserError(
            f"{clip}: {audio.size} samples of audio for {n_samples // samples_per_frame()} frames; they do not match"
        )
    return audio[:n_samples] if audio.size >= n_samples else np.pad(audio, (0, n_samples - audio.size))


def _published_segment(content: object, source: str) -> Segment:
    audio = content.get("audio") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(audio, bytes | bytearray):
        raise UserError(f"{source}: no audio in this segment; rebuild the data set")
    return Segment(check_coefs(content.get("coef"), source), bytes(audio))
