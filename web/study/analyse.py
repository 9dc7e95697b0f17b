"""What the raters of a study say: strengths with intervals, preferences with sign tests.

python -m web.study.analyse A-results [--json findings.json]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.atomic import check_apart, check_output, write_text
from utils.config import positional, read_flags
from utils.errors import UserError, cli
from utils.reports.json_text import json_text
from utils.reports.text_table import text_table
from web.study.plan import QUESTIONS
from web.study.ranking import Preference, Strength, preferences, strengths
from web.study.raters import SIDES, Rater, read_rater

ROUNDING = 5e-4  # of shares: two of three checks are .667
FEW = 10  # raters, below whom a bootstrap of raters is too narrow


@dataclass(frozen=True)
class AnalysisFlags:
    """All flags."""

    results: Path = positional()
    """Folder of the raters' files."""
    json: Path | None = None
    """File for the findings."""
    least_checks: float = 0.667
    """Share of the attention checks that a rater must have passed to count."""
    unfinished: bool = False
    """Count raters who did not come to the end as well."""


@dataclass(frozen=True)
class Findings:
    """Everything that an analysis finds."""

    raters: int
    counted: int
    failed_checks: int
    not_finished: int
    strengths: list[Strength]
    preferences: list[Preference]


def passed(rater: Rater) -> float:
    """Share of the attention checks in which the video with its own sound was chosen; 1 without checks."""
    right = [
        answer["choices"].get("lips") != trial.swapped
        for trial, answer in zip(rater.trials, rater.answers)
        if trial.swapped
    ]
    return float(np.mean(right)) if right else 1.0


def votes_of(raters: Sequence[Rater], question: str, methods: Sequence[str]) -> np.ndarray:
    """(R, M, M) how often each rater preferred the row to the column."""
    votes, place = np.zeros((len(raters), len(methods), len(methods))), {name: i for i, name in enumerate(methods)}
    for number, rater in enumerate(raters):
        for trial, answer in zip(rater.trials, rater.answers):
            side = answer["choices"].get(question)
            if side in SIDES and not trial.swapped:
                winner, loser = (trial.left, trial.right) if side == "left" else (trial.right, trial.left)
                votes[number, place[winner], place[loser]] += 1
    return votes


def analyse(raters: Sequence[Rater], least_checks: float, unfinished: bool) -> Findings:
    """The findings of the raters who count.

    Raises:
        UserError: none of them does.
    """
    attentive = [rater for rater in raters if passed(rater) >= least_checks - ROUNDING]
    counted = [rater for rater in attentive if rater.done or unfinished]
    if not counted:
        raise UserError("none of the raters counts; see --least_checks and --unfinished")
    methods = sorted({name for rater in counted for trial in rater.trials for name in (trial.left, trial.right)})
    ranked, compared = [], []
    for question in QUESTIONS:
        votes = votes_of(counted, question, methods)
        if votes.any():
            ranked += strengths(question, methods, votes)
            compared += preferences(question, methods, votes)
    away = len(attentive) - len(counted)
    return Findings(len(raters), len(counted), len(raters) - len(attentive), away, ranked, compared)


def tables(found: Findings) -> str:
    """The findings as text."""
    rows = [
        (
            f"{s.question}: {s.method}",
            f"{s.strength:+.2f}",
            f"{s.low:+.2f} to {s.high:+.2f}",
            f"{s.share:.0%}",
            str(s.n),
        )
        for s in found.strengths
    ]  # fmt: skip
    pairs = [
        (f"{p.question}: {p.method} over {p.other}", f"{p.wins} of {p.n}", f"{p.raters_for} : {p.raters_against}",
         f"{p.p:.3g}", f"{p.p_holm:.3g}") for p in found.preferences
    ]  # fmt: skip
    few = ["few raters: their intervals and tests say little"] if found.counted < FEW else []
    return "\n".join([
        f"{found.counted} of {found.raters} raters count; {found.failed_checks} failed the attention checks, "
        f"{found.not_finished} did not come to the end", *few,
        "", text_table([("strength (Bradley-Terry)", "value", "95 % interval", "preferred in", "votes"), *rows]),
        "", text_table([("preference", "votes", "raters", "p (sign test)", "p (Holm)"), *pairs]),
    ])  # fmt: skip


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(AnalysisFlags, argv, (__doc__ or "").splitlines()[0])
    files = sorted(flags.results.glob("*.json"))
    if not files:
        raise UserError(f"{flags.results}: holds no raters' files; it is the folder that `python -m web.study` names")
    if flags.json is not None:
        check_apart([flags.json], files)
        check_output(flags.json)
    raters = [read_rater(path) for path in files]
    found = analyse(raters, flags.least_checks, flags.unfinished)
    print(tables(found))
    if flags.json is not None:
        write_text(flags.json, json_text(found))


if __name__ == "__main__":
    main()
