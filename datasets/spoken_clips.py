"""Reading the clips of an evaluation from a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from datasets.clip_store import ClipReader
from datasets.crops import usable_clips
from datasets.splits import group_by_person, person_of
from utils.motion_file import Motion
from utils.speech import Phone, SpokenClip

STYLE_FRAMES = 100  # the style is taken from the first 4 s
RESAMPLED = "resampled"  # folder of second takes


def spread(items: list[str], limit: int | None) -> list[str]:
    """At most `limit` of the items, evenly over the list."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, limit).round().astype(int)]


def long_enough(store: ClipReader, clips: Sequence[str], n_style: int = STYLE_FRAMES) -> list[str]:
    """The clips that have the frames of a style window; the others are counted in the log."""
    return list(usable_clips(store, clips, n_style))


def references(clips: Sequence[str]) -> dict[str, str]:
    """Clip -> the clip that its style is taken from: the speaker's next one in the list (cyclic), or itself."""
    return {clip: own[(i + 1) % len(own)] for own in group_by_person(clips).values() for i, clip in enumerate(own)}


def read_motion(store: ClipReader, clip: str, stop: int | None = None) -> Motion:
    """Motion of a clip, up to frame `stop`; its shape is the first frame's."""
    coefs = store.read_coefs(clip, 0, stop)
    return Motion(coefs["exp"], coefs["pose"], coefs["shape"][0].copy(), clip)


def read_clip(
    store: ClipReader,
    clip: str,
    reference: str,
    phones: Mapping[str, list[Phone]] | None = None,
    n_frames: int | None = None,
) -> SpokenClip:
    """One clip (its first `n_frames`, if given), with the style window of a reference clip.

    Raises:
        UserError: unknown clip or damaged data.
    """
    frames = store.read_frames(clip, 0, min(store.n_frames(clip), n_frames or 2**31))
    coefs = frames.coefs
    spoken = None if phones is None or clip not in phones else tuple(phones[clip])
    truth = Motion(coefs["exp"], coefs["pose"], coefs["shape"][0].copy(), clip)
    style = read_motion(store, reference, STYLE_FRAMES)
    return SpokenClip(clip, person_of(clip), frames.audio, truth, style, spoken)


def validation_clips(
    store: ClipReader, clips: Sequence[str], limit: int = 6, n_frames: int = 250, phones: Mapping | None = None
) -> list[SpokenClip]:
    """A few clips for `models.metrics.validation.Validator`: evenly over the list, their first 10 s."""
    usable = long_enough(store, clips)
    reference = references(usable)
    return [read_clip(store, clip, reference[clip], phones, n_frames) for clip in spread(usable, limit)]


def second_take(data_root: Path, clip: str) -> Path:
    """Where a synthetic data set keeps a second take of a clip: the same speech and style, other random numbers."""
    return data_root / RESAMPLED / f"{clip}.npz"
