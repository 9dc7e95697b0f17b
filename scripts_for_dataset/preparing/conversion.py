"""A published data set (pickled values) -> our encoding: coefficients bit for bit, audio byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
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
    values: dict[str, bytes] = field(default_factory=dict, repr=False)
    problem: str = ""
    there: bool = False


def convert(
    source: ClipStore,
    target: Path,
    clips: list[str],
    encoded: Callable[[list[str]], Iterable[Converted]] | None = None,
    may_be_empty: bool = False,
) -> Iterator[Converted]:
    """Copy clips that are not in the target yet; damaged ones are left out and reported.

    The target counts as finished when all results have been consumed.

    Args:
        encoded: clips -> their values, in order (default: `converted` of each).
        may_be_empty: also finish without a single clip.

    Raises:
        UserError: the target cannot be written, or belongs to another data set.
    """
    with ClipWriter(target, source.seg_len, resume=True, may_be_empty=may_be_empty) as writer:
        todo = [clip for clip in clips if clip not in writer]
        yield from (Converted(clip, there=True) for clip in clips if clip in writer)
        for result in encoded(todo) if encoded else (converted(source, clip) for clip in todo):
            try:
                writer.check_name(result.clip)
            except UserError as error:
                result = Converted(result.clip, problem=str(error))
            if not result.problem:
                writer.add_encoded(result.clip, result.values)
            yield result


def converted(source: ClipStore, clip: str) -> Converted:
    """A clip's values, or why there are none."""
    try:
        return Converted(clip, encode(source, clip))
    except UserError as error:
        return Converted(clip, problem=str(error))


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
