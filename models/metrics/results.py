"""Quotients of many clips and methods -> values, means over samples, and csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.metrics.catalogue import METRICS
from models.metrics.score import Quotient, Quotients
from models.metrics.sets import MotionSets


def value(name: str, numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The metric's value from sums over clips; NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1), np.nan)
    return np.sqrt(quotient) if METRICS[name].root else quotient


def summary(values: np.ndarray) -> dict[str, Any]:
    """Mean and sample standard deviation over the samples with a value; None where there is none."""
    known = values[np.isfinite(values)]
    return {
        "mean": float(known.mean()) if len(known) else None,
        "std": float(known.std(ddof=1)) if len(known) > 1 else None,
        "samples": len(known),
    }


@dataclass(frozen=True)
class Group:
    """Clips, and the methods that have a motion for each of them."""

    clips: list[str]
    methods: list[str]


class Results:
    """Method -> clip -> metric -> quotient; and what the metrics of a whole set are made of."""

    def __init__(self) -> None:
        self.quotients: dict[str, dict[str, Quotients]] = {}
        self.sets = MotionSets()
        self._known: dict[tuple, Any] = {}  # what the tables ask for many times

    def add(self, method: str, clip: str, quotients: Quotients) -> None:
        self._known.clear()
        self.quotients.setdefault(method, {}).setdefault(clip, {}).update(quotients)

    @property
    def methods(self) -> list[str]:
        return list(self.quotients)

    def metrics(self) -> list[str]:
        """Metrics of all methods, in the order of the catalogue."""
        return self._once(self._metrics)

    def _once(self, compute: Callable[..., Any], *key: Any) -> Any:
        name = (compute.__name__, *key)
        if name not in self._known:
            self._known[name] = compute(*key)
        return self._known[name]

    def _metrics(self) -> list[str]:
        found = {name for clips in self.quotients.values() for quotients in clips.values() for name in quotients}
        found |= {name for method in self.methods for name in self.sets.values(method)}
        return [name for name in METRICS if name in found]

    def groups(self) -> list[Group]:
        """Sets of clips, the largest first, each with the methods that have all of them: columns of one table."""
        own = {method: frozenset(clips) for method, clips in self.quotients.items()}
        distinct = sorted(dict.fromkeys(own.values()), key=len, reverse=True)
        groups = []
        for kept in distinct:
            names = [clip for clips in self.quotients.values() for clip in clips if clip in kept]
            groups.append(Group(list(dict.fromkeys(names)), [method for method in own if kept <= own[method]]))
        return groups

    def pooled(self, method: str, only: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
        """Metric -> mean and std over samples of its value over all clips, and the number of clips that count.

        With `only`, over these clips.
        """
        return self._once(self._pooled, method, None if only is None else tuple(only))

    def _pooled(self, method: str, only: tuple[str, ...] | None) -> dict[str, dict[str, Any]]:
        clips = self.quotients[method]
        clips = clips if only is None else {clip: clips[clip] for clip in only}
        result = {}
        for name in self.metrics():
            quotients = [each[name] for each in clips.values() if name in each]
            if quotients:
                sums, n_clips = summed(quotients)
                result[name] = {**summary(value(name, *sums)), "clips": n_clips}
        for name, values in self.sets.values(method, only).items():
            result[name] = {**summary(values), "clips": len(only or self.sets.clips[method])}
        return result

    def per_clip(self, method: str) -> dict[str, dict[str, dict[str, Any]]]:
        """Clip -> metric -> mean and std over samples, and the samples' values."""
        return self._once(self._per_clip, method)

    def _per_clip(self, method: str) -> dict[str, dict[str, dict[str, Any]]]:
        return {
            clip: {
                name: _entry(value(name, quotient.numerator, quotient.denominator))
                for name, quotient in quotients.items()
            }
            for clip, quotients in self.quotients[method].items()
        }

    def to_csv(self) -> str:
        """One line per method, clip ("all" for the pooled value) and metric."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["method", "clip", "metric", "unit", "mean", "std", "samples"])
        for method in self.methods:
            rows = {"all": self.pooled(method)} | self.per_clip(method)
            for clip, metrics in rows.items():
                for name, entry in metrics.items():
                    cells = ["" if entry[key] is None else f"{entry[key]:.6g}" for key in ("mean", "std")]
                    writer.writerow([method, clip, name, METRICS[name].unit, *cells, entry["samples"]])
        return text.getvalue()


def summed(quotients: list[Quotient]) -> tuple[tuple[np.ndarray, np.ndarray], int]:
    """Sums over clips for each sample; with unequal numbers of samples, only those that all clips have."""
    n = min(len(quotient.numerator) for quotient in quotients)
    numerator = sum((quotient.numerator[:n] for quotient in quotients), start=np.zeros(n))
    denominator = sum((quotient.denominator[:n] for quotient in quotients), start=np.zeros(n))
    return (numerator, denominator), sum(bool(quotient.denominator.any()) for quotient in quotients)


def _entry(values: np.ndarray) -> dict[str, Any]:
    return {**summary(values), "values": [float(x) if np.isfinite(x) else None for x in values]}
