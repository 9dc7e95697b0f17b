"""What a study compares: a json file that names methods, their videos of each clip, and how long a visit is."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import UserError
from utils.reading.json_file import read_json

QUESTIONS = {
    "lips": "In which video do the lips fit the speech better?",
    "natural": "Which head looks more natural?",
    "style": "Which head moves more like the reference?",
}
SETTINGS = ("title", "clips", "questions", "pairs", "checks")


@dataclass(frozen=True)
class Clip:
    """One sentence, said by several methods."""

    name: str
    videos: dict[str, Path]  # method -> file
    reference: Path | None = None  # of the style


@dataclass(frozen=True)
class Trial:
    """Two videos side by side. In a check both are of one method, and one of them has another clip's sound."""

    clip: str
    left: str  # method
    right: str
    swapped: str = ""  # the side with the wrong sound; "": not a check

    @property
    def pair(self) -> tuple[str, str, str]:
        """The clip and the methods, whatever their sides."""
        first, second = sorted((self.left, self.right))
        return self.clip, first, second


@dataclass(frozen=True)
class Plan:
    """A study."""

    name: str  # with a digest of the file, so that answers of two versions are not mixed
    title: str
    clips: dict[str, Clip]
    questions: tuple[str, ...]
    pairs: int = 20  # per visit
    checks: int = 3  # per visit
    others: dict[str, str] = field(default_factory=dict)  # clip -> the clip whose sound is wrong for it

    def all_pairs(self) -> list[tuple[str, str, str]]:
        """(clip, method, method) of everything that can be compared."""
        return [(clip.name, *pair) for clip in self.clips.values()
                for pair in itertools.combinations(sorted(clip.videos), 2)]  # fmt: skip

    def wrong_sound(self, clip: str) -> Path:
        """A video whose sound does not belong to this clip."""
        return next(iter(self.clips[self.others[clip]].videos.values()))

    def asked(self, trial: Trial) -> tuple[str, ...]:
        """The questions of a trial: a check asks for the lips, and only a clip with a reference for the style."""
        if trial.swapped:
            return ("lips",)
        return tuple(q for q in self.questions if q != "style" or self.clips[trial.clip].reference is not None)

    def visit(self, seen: Mapping[tuple[str, str, str], int], rng: np.random.Generator) -> list[Trial]:
        """One person's trials: pairs that were `seen` least, in random order and on random sides, and the checks."""
        pairs = self.all_pairs()
        order = rng.permutation(len(pairs))
        chosen = sorted((pairs[i] for i in order), key=lambda pair: seen.get(pair, 0))[: self.pairs]
        trials = [
            Trial(clip, *_shuffled((a, b), rng)) for clip, a, b in (chosen[i] for i in rng.permutation(len(chosen)))
        ]
        names = list(self.clips)
        for _ in range(self.checks):
            clip = self.clips[names[rng.integers(len(names))]]
            method = sorted(clip.videos)[rng.integers(len(clip.videos))]
            check = Trial(clip.name, method, method, _shuffled(("left", "right"), rng)[0])
            trials.insert(int(rng.integers(1, len(trials) + 1)), check)
        return trials


def _shuffled(two: tuple[str, str], rng: np.random.Generator) -> tuple[str, str]:
    return two if rng.integers(2) else (two[1], two[0])


def read_plan(path: Path) -> Plan:
    """Read A.json; paths in it are relative to its folder (docs/study.md).

    Raises:
        UserError: unreadable, a missing video, or a study that cannot be held.
    """
    content = read_json(path)
    for name in content:
        if name not in SETTINGS:
            raise UserError(f"{path}: {name!r} is not a setting; use {', '.join(SETTINGS)}")
    found = [_clip(path, number, one) for number, one in enumerate(_list(path, content, "clips"), start=1)]
    clips = {clip.name: clip for clip in found}
    if len(clips) < len(found):
        (twice, _), *_ = Counter(clip.name for clip in found).most_common()
        raise UserError(f"{path}: two clips are called {twice!r}; give each its name")
    questions = tuple(_list(path, content, "questions")) if "questions" in content else tuple(QUESTIONS)
    for question in questions:
        if question not in QUESTIONS:
            raise UserError(f"{path}: {question!r} is not a question; use {', '.join(QUESTIONS)}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    plan = Plan(
        f"{path.stem}-{digest}", str(content.get("title", "Talking heads: which one is better?")), clips, questions,
        _count(path, content, "pairs", 20, 1), _count(path, content, "checks", 3, 0),
        dict(zip(clips, [*list(clips)[1:], *list(clips)[:1]])),
    )  # fmt: skip
    if not plan.all_pairs():
        raise UserError(f"{path}: no clip has videos of two methods; there is nothing to compare")
    if plan.checks and len(clips) < 2:
        raise UserError(f'{path}: checks take the sound of another clip; give two clips, or "checks": 0')
    return plan


def _clip(path: Path, number: int, one: Any) -> Clip:
    where = f"{path}: clip {number}"
    if not isinstance(one, dict) or not isinstance(one.get("videos"), dict) or not one["videos"]:
        raise UserError(f'{where}: must be {{"name": ..., "videos": {{method: file, ...}}, "reference": file or none}}')
    videos = {str(method): _video(path, where, file) for method, file in one["videos"].items()}
    reference = None if one.get("reference") is None else _video(path, where, one["reference"])
    return Clip(str(one.get("name", number)), videos, reference)


def _video(path: Path, where: str, file: Any) -> Path:
    found = path.parent / str(file)
    if not found.is_file():
        raise UserError(f"{where}: {found}: no such file; paths are relative to {path.name}'s folder")
    return found


def _list(path: Path, content: dict[str, Any], name: str) -> list[Any]:
    value = content.get(name)
    if not isinstance(value, list) or not value:
        raise UserError(f"{path}: needs {name!r}, a list (docs/study.md shows an example)")
    return value


def _count(path: Path, content: dict[str, Any], name: str, usual: int, least: int) -> int:
    value = content.get(name, usual)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 1000:
        raise UserError(f"{path}: {name!r} must be a whole number from {least} to 1000, not {value!r}")
    return value
