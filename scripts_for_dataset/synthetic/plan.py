"""Who says what: grouping sentences into clips, clips into speakers, speakers into splits. Pure and seeded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from scripts_for_dataset.synthetic.corpus import HELD_VOICES, Row
from scripts_for_dataset.synthetic.style import SpeakerStyle, named_style, sample_style, style_names, vary_style
from utils.timebase import SAMPLE_RATE

CLIP_SECONDS = (10.0, 26.0)
MIN_CLIP_SECONDS = 9.0  # a style pair needs 210 frames = 8.4 s
CLIPS_PER_TEST_SPEAKER = 5  # in training every clip is another person: see _training_groups
NAMED_SHARE = 0.3  # of the training speakers resemble a named style; the others are random
LIKENESS = 0.1  # how far (see vary_style), so that no two speakers are one person to the contrastive loss
MAX_VALIDATION_SPEAKERS = 48
PAUSE_SECONDS = 0.45  # expected pause between joined sentences


@dataclass(frozen=True)
class Speaker:
    """One person of the data set: a voice with a style, and the sentences of each of its clips."""

    name: str
    split: str  # train, val or test
    style: SpeakerStyle
    seed: int
    clips: tuple[tuple[Row, ...], ...] = field(repr=False)


def plan_speakers(rows: dict[str, list[Row]], hours: float, seed: int) -> list[Speaker]:
    """Speakers whose clips sum to about `hours` (train and val); the held-out material is added once as test.

    Held voices and held sentences only ever get into the test split. If the speech is shorter than `hours`, its
    sentences are used again in other clips with other styles.
    """
    rng = np.random.default_rng([seed, 1])
    open_rows = {
        voice: [r for r in all_rows if not r.held] for voice, all_rows in rows.items() if voice not in HELD_VOICES
    }
    groups = list(_training_groups(open_rows, hours, rng))
    order = rng.permutation(len(groups))
    n_val = max(1, min(MAX_VALIDATION_SPEAKERS, len(groups) // 12))
    speakers = []
    for position, index in enumerate(order):
        voice, clips = groups[index]
        split = "val" if position < n_val else "train"
        speakers.append(_speaker(voice, split, clips, len(speakers), rng))
    waiting = [style_names()[i] for i in rng.permutation(len(style_names()))]
    for voice, clips in _held_groups(rows, rng):
        speakers.append(_test_speaker(voice, clips, len(speakers), waiting, rng))
    return speakers


def _speaker(voice: str, split: str, clips: list, number: int, rng: np.random.Generator) -> Speaker:
    """Style and name; the name holds the voice and the kind of style, for readers of the list files."""
    if rng.random() < NAMED_SHARE:
        label = style_names()[rng.integers(len(style_names()))]
        style = vary_style(named_style(label), rng, LIKENESS)
    else:
        label, style = "random", sample_style(rng)
    return Speaker(_name(voice, label, number), split, style, int(rng.integers(2**31)), tuple(clips))


def _test_speaker(voice: str, clips: list, number: int, waiting: list[str], rng: np.random.Generator) -> Speaker:
    """Each named style once, exactly as users ask for it; other speakers have random styles, for style retrieval."""
    label = waiting.pop() if waiting else "random"
    style = sample_style(rng) if label == "random" else named_style(label)
    return Speaker(_name(voice, label, number), "test", style, int(rng.integers(2**31)), tuple(clips))


def _name(voice: str, label: str, number: int) -> str:
    return f"{voice.replace('+', '_')}.{label}.{number:04d}"


def _training_groups(rows: dict[str, list[Row]], hours: float, rng: np.random.Generator) -> Iterator[tuple[str, list]]:
    """(voice, clips) of one speaker each, pass after pass over all voices until the hours are filled.

    One clip each: identity and style together are a key by which a network remembers a speaker instead of seeing what
    the style says. With 600 speakers of five clips it did, and failed on new ones.
    """
    wanted, have = hours * 3600, 0.0
    if not any(rows.values()):
        return
    while have < wanted:
        before = have
        batch = []
        for voice in sorted(rows):
            batch += [(voice, [clip]) for clip in group_clips(_rotate(rows[voice], rng), rng)]
        for index in rng.permutation(len(batch)):
            voice, clips = batch[index]
            if have >= wanted:
                return
            have += sum(_seconds(row) for clip in clips for row in clip)
            yield voice, clips
        if have == before:
            return


def _held_groups(rows: dict[str, list[Row]], rng: np.random.Generator) -> Iterator[tuple[str, list]]:
    for voice in sorted(rows):
        test = rows[voice] if voice in HELD_VOICES else [row for row in rows[voice] if row.held]
        clips = group_clips(test, rng)
        for first in range(0, len(clips), CLIPS_PER_TEST_SPEAKER):
            yield voice, clips[first : first + CLIPS_PER_TEST_SPEAKER]


def _rotate(rows: list[Row], rng: np.random.Generator) -> list[Row]:
    """The same order from another start, so that clips differ from pass to pass but stay together in the files."""
    first = int(rng.integers(len(rows))) if rows else 0
    return rows[first:] + rows[:first]


def group_clips(rows: list[Row], rng: np.random.Generator) -> list[tuple[Row, ...]]:
    """Neighbouring sentences joined to clips of about 10 to 26 s; a remainder too short for a clip is dropped."""
    clips, clip, length = [], [], 0.0
    target = rng.uniform(*CLIP_SECONDS)
    for row in rows:
        clip.append(row)
        length += _seconds(row) + PAUSE_SECONDS
        if length >= target:
            clips.append(tuple(clip))
            clip, length, target = [], 0.0, rng.uniform(*CLIP_SECONDS)
    if length >= MIN_CLIP_SECONDS * 1.2:
        clips.append(tuple(clip))
    return clips


def _seconds(row: Row) -> float:
    return row.n_samples / SAMPLE_RATE
