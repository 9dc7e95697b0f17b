"""A published data set (pickled values) -> our encoding: coefficients bit for bit, audio byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets import clip_encoding
from datasets.clip_encoding import Segment
from datasets.clip_store import ClipStore
from datasets.clip_writer import ClipWriter
from utils.errors import UserError


@dataclass(frozen=True)
class Converted:
    """One clip; `problem` says why it was left out."""

    clip: str
    n_bytes: int = 0
    problem: str = ""
    there: bool = False


def convert(source: ClipStore, target: Path, clips: list[str]) -> Iterator[Converted]:
    """Copy clips that are not in the target yet; damaged ones are left out and reported.

    The target counts as finished when all results have been consumed.

    Raises:
        UserError: the target cannot be written, or belongs to another data set.
    """
    with ClipWriter(target, source.seg_len, resume=True) as writer:
        for clip in clips:
            if clip in writer:
                yield Converted(clip, there=True)
                continue
            try:
                writer.check_name(clip)
                values = encode(source, clip)
            except UserError as error:
                yield Converted(clip, problem=str(error))
                continue
            writer.add_encoded(clip, values)
            yield Converted(clip, sum(map(len, values.values())))


def encode(source: ClipStore, clip: str) -> dict[str, bytes]:
    """A clip's values in our encoding, each decoded again and compared with the source's.

    Raises:
        UserError: damaged, or a value that decodes to something else.
    """
    n_frames = source.n_frames(clip)
    values = {}
    for key, segment in source.segments(clip):
        value = clip_encoding.encode_segment(segment)
        check_equal(segment, clip_encoding.decode_segment(value, key), f"{source.path}: {key}")
        values[key] = value
    return {**values, f"{clip}/metadata": clip_encoding.encode_metadata(n_frames=n_frames)}


def check_equal(a: Segment, b: Segment, what: str) -> None:
    """Raises UserError unless all coefficients are equal bit for bit, and the audio byte for byte."""
    for name in a.coefs:
        if not np.array_equal(a.coefs[name], b.coefs[name]):
            raise UserError(f"{what}: {name} is not the same after decoding; report this data set")
    if a.flac != b.flac:
        raise UserError(f"{what}: the audio is not the same after decoding; report this data set")


def verify(source: ClipStore, target: ClipStore, clip: str) -> None:
    """Compare a clip of both files; UserError for any difference."""
    if source.n_frames(clip) != target.n_frames(clip):
        raise UserError(f"{target.path}: {clip} has {target.n_frames(clip)} frames, not {source.n_frames(clip)}")
    for (key, a), (_, b) in zip(source.segments(clip), target.segments(clip), strict=True):
        check_equal(a, b, f"{target.path}: {key}")
