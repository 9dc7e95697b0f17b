"""Which recordings of which talker form which clip, and in which split. Pure and seeded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from datasets.splits import SPLITS, group_by_person, split_of
from utils.errors import UserError
from utils.timebase import FPS

CLIP_SECONDS = (11.0, 17.0)  # before silence is cut; a style pair needs 8.4 s


@dataclass(frozen=True)
class Take:
    """One clip to make: recordings of one talker, joined in this order."""

    name: str  # <person>/<video> of the data set
    split: str
    recordings: tuple[str, ...]
    seed: int


def plan_takes(
    lengths: Mapping[str, int], hours: float, held: tuple[str, ...], most_share: float, seed: int
) -> list[Take]:
    """Clips of all splits.

    Recordings go to train, val or test by a hash of their name (90, 5, 5 %); all of a held talker's are test. In
    training, recordings are repeated in other orders; in val and test each is used once, and a talker with too few for
    one clip is left out.

    Args:
        lengths: frames of every recording `<person>/<video>`.
        hours: of training clips.
        held: talkers of the test split, never trained on.
        most_share: of the training clips that one talker may have.

    Raises:
        UserError: a held talker without recordings, or nothing left to train on.
    """
    persons = group_by_person(lengths)
    if unknown := [person for person in held if person not in persons]:
        raise UserError(f"--held {unknown[0]}: has no recordings; the data set has {', '.join(persons)}")
    by_split: dict[str, dict[str, list[str]]] = {split: {} for split in SPLITS}
    for person, clips in persons.items():
        for clip in clips:
            split = "test" if person in held else split_of(clip)
            by_split[split].setdefault(person, []).append(clip)
    rng = np.random.default_rng([seed, 11])
    takes = list(_training(by_split["train"], lengths, hours, most_share, rng))
    if not takes:
        raise UserError("--data: no talker has enough recordings to train on; a clip needs about 10 s")
    for split in SPLITS[1:]:
        for person, clips in by_split[split].items():
            groups = _groups(clips, lengths, rng)
            takes += [Take(f"{person}.{split}/{k:03d}", split, group, _seed(rng)) for k, group in enumerate(groups)]
    return takes


def _training(
    persons: dict[str, list[str]], lengths: Mapping[str, int], hours: float, most: float, rng: np.random.Generator
) -> Iterator[Take]:
    """Clips until the hours are full. Each is another person: its mouth, head and eyes have their own style."""
    enough = {p: clips for p, clips in persons.items() if sum(lengths[c] for c in clips) >= CLIP_SECONDS[1] * FPS}
    if not enough:
        return
    shares = talker_shares({p: sum(lengths[c] for c in clips) for p, clips in enough.items()}, most)
    waiting: dict[str, list[str]] = {person: [] for person in enough}
    seconds, number = 0.0, 0
    while seconds < hours * 3600:
        person = str(rng.choice(list(shares), p=list(shares.values())))
        recordings, length, target = [], 0.0, rng.uniform(*CLIP_SECONDS)
        while length < target:
            if not waiting[person]:
                waiting[person] = [enough[person][i] for i in rng.permutation(len(enough[person]))]
            recordings.append(waiting[person].pop())
            length += lengths[recordings[-1]] / FPS
        seconds += length
        yield Take(f"{person}.{number:04d}/000", "train", tuple(recordings), _seed(rng))
        number += 1


def talker_shares(frames: Mapping[str, int], most: float) -> dict[str, float]:
    """Probability of each talker: by the length of their recordings, but at most `most`; sums to 1.

    What the largest talker loses is shared equally by the others, of whom a network would otherwise learn little.
    """
    total, most = sum(frames.values()), max(most, 1 / len(frames))
    shares = {person: n / total for person, n in frames.items()}
    largest = max(shares, key=lambda person: shares[person])
    if len(shares) == 1 or shares[largest] <= most:
        return shares
    return {person: most if person == largest else (1 - most) / (len(shares) - 1) for person in shares}


def _groups(clips: Sequence[str], lengths: Mapping[str, int], rng: np.random.Generator) -> list[tuple[str, ...]]:
    """Every recording at most once; a remainder too short for a clip is dropped."""
    groups, group, length = [], [], 0.0
    for index in map(int, rng.permutation(len(clips))):
        group.append(clips[index])
        length += lengths[clips[index]] / FPS
        if length >= sum(CLIP_SECONDS) / 2:
            groups.append(tuple(group))
            group, length = [], 0.0
    return groups


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
