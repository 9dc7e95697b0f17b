"""Answers -> strengths of methods (Bradley-Terry), bootstrap intervals over raters, and sign tests.

Bradley and Terry, "Rank Analysis of Incomplete Block Designs", Biometrika, 1952: P(a is preferred to b) =
1 / (1 + exp(s_b - s_a)). Answers of one person belong together, so raters are resampled (Efron and Tibshirani, "An
Introduction to the Bootstrap", 1993), and the sign test counts one preference per rater.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import binomtest

from models.metrics.comparison import holm

PRIOR = 3.0  # standard deviation of strengths: keeps them finite where a method wins or loses always
SAMPLES, LEVEL = 1000, 0.95


@dataclass(frozen=True)
class Strength:
    """One method in one question."""

    question: str
    method: str
    strength: float  # mean of all methods: 0; a difference of 1.1 wins 3 of 4 comparisons
    low: float
    high: float
    share: float  # of comparisons won
    n: int  # comparisons


@dataclass(frozen=True)
class Preference:
    """Two methods in one question."""

    question: str
    method: str
    other: str
    wins: int  # votes for `method`
    n: int
    raters_for: int  # raters who prefer `method`, and `other`; those with equal votes count for neither
    raters_against: int
    p: float  # two-sided sign test
    p_holm: float  # corrected for the pairs of this question


def fit(wins: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """Strengths (M,) with mean 0 of a matrix (M, M) of how often the row was preferred to the column; `start` is a
    guess, which makes it quicker."""

    def loss(s: np.ndarray) -> tuple[float, np.ndarray]:
        difference = s[:, None] - s[None]
        pull = wins * expit(-difference)  # d log P / d s of the winner
        value = (wins * np.logaddexp(0, -difference)).sum() + (s**2).sum() / (2 * PRIOR**2)
        return float(value), pull.sum(0) - pull.sum(1) + s / PRIOR**2

    found = minimize(loss, np.zeros(len(wins)) if start is None else start, jac=True, method="L-BFGS-B").x
    return found - found.mean()


def strengths(question: str, methods: Sequence[str], votes: np.ndarray, samples: int = SAMPLES) -> list[Strength]:
    """Bradley-Terry strengths with intervals, the strongest first.

    Args:
        votes: (R, M, M) of each rater: how often the row was preferred to the column.
        samples: bootstrap samples.
    """
    rng, total = np.random.default_rng(0), votes.sum(0)
    drawn = rng.integers(len(votes), size=(samples, len(votes)))
    best = fit(total)
    sampled = np.array([fit(votes[rows].sum(0), best) for rows in drawn])
    low, high = np.quantile(sampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    won, n = total.sum(1), total.sum(1) + total.sum(0)
    share = won / np.maximum(n, 1)
    found = [Strength(question, name, *row) for name, *row in
             zip(methods, best, low, high, share, n.astype(int).tolist())]  # fmt: skip
    return sorted(found, key=lambda one: -one.strength)


def preferences(question: str, methods: Sequence[str], votes: np.ndarray) -> list[Preference]:
    """Every pair of methods that was compared, with its sign test over raters; arguments as for `strengths`."""
    rows = []
    for a, b in itertools.combinations(range(len(methods)), 2):
        wins, losses = votes[:, a, b], votes[:, b, a]
        if not (wins + losses).any():
            continue
        plus, minus = int((wins > losses).sum()), int((wins < losses).sum())
        p = float(binomtest(plus, plus + minus).pvalue) if plus + minus else 1.0
        rows.append((methods[a], methods[b], int(wins.sum()), int((wins + losses).sum()), plus, minus, p))
    return [Preference(question, *row, corrected) for row, corrected in zip(rows, holm([row[-1] for row in rows]))]
