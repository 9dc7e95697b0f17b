"""The people who take part: their trials, and their answers in one json file each."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from utils.atomic import write_text
from utils.errors import UserError
from utils.reading.json_file import read_json
from utils.reports.json_text import json_text
from web.folders import KEPT, new_token
from web.study.plan import Plan, Trial

SIDES = ("left", "right")


@dataclass
class Rater:
    """One person's visit."""

    token: str
    trials: list[Trial]
    answers: list[dict[str, Any]] = field(default_factory=list)  # {"choices": {question: side}, "seconds": s}
    began: float = field(default_factory=time.time)

    @property
    def done(self) -> bool:
        return len(self.answers) == len(self.trials)


class Raters:
    """All raters of a study; a file is written after every answer, so that nothing is lost."""

    def __init__(self, plan: Plan, folder: Path, seed: int | None = None) -> None:
        """`folder` keeps the answers; those of earlier runs are counted and can be continued.

        Raises:
            UserError: a file in it cannot be read, or is of another study.
        """
        self.plan, self.folder, self._rng = plan, folder, np.random.default_rng(seed)
        self._lock = threading.Lock()
        self._raters = {}
        for path in sorted(folder.glob("*.json")):
            rater = read_rater(path, plan.name)
            self._raters[rater.token] = rater

    def begin(self) -> Rater:
        """A new person, with the pairs that were shown least so far."""
        with self._lock:
            seen = Counter(trial.pair for one in self._raters.values() for trial in one.trials if not trial.swapped)
            rater = Rater(new_token(), self.plan.visit(seen, self._rng))
            self._raters[rater.token] = rater
        return rater

    def find(self, token: str) -> Rater | None:
        return self._raters.get(token)

    def answer(self, rater: Rater, number: int, choices: Mapping[str, Any], seconds: float) -> None:
        """Keep the answers to trial `number`; one that is answered already stays as it is.

        Raises:
            UserError: answers that were not asked for, or one that is missing.
        """
        with self._lock:
            if number < len(rater.answers):
                return  # sent twice
            asked = self.plan.asked(rater.trials[number]) if number == len(rater.answers) < len(rater.trials) else ()
            if not asked or set(choices) != set(asked) or not set(map(str, choices.values())) <= set(SIDES):
                raise UserError("answer: is not one to this question; reload the page")
            rater.answers.append({"choices": dict(choices), "seconds": round(seconds, 1)})
            content = {"study": self.plan.name, "title": self.plan.title, **asdict(rater)}
            write_text(self.folder / f"{rater.token}.json", json_text(content))


def read_rater(path: Path, study: str | None = None) -> Rater:
    """Read one person's file.

    Raises:
        UserError: unreadable, not such a file, or of another study than `study`.
    """
    content = read_json(path)
    try:
        trials = [Trial(**trial) for trial in content["trials"]]
        rater = Rater(content["token"], trials, content["answers"], content["began"])
        whole = KEPT.fullmatch(rater.token) and len(rater.answers) <= len(trials)
        sides = {side for answer in rater.answers for side in answer["choices"].values()}
        if not whole or not sides <= set(SIDES):
            raise ValueError(json.dumps(content)[:40])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: is not a rater's file of web.study; remove it from this folder") from error
    if study is not None and content.get("study") != study:
        raise UserError(f"{path}: is of the study {content.get('study')}, not {study}; choose another --results")
    return rater
