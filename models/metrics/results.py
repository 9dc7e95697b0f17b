"""Shares of many clips and methods -> values, means over samples, and the files that hold them."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np

from models.metrics.catalogue import METRICS
from models.metrics.score import Share, Shares
from models.metrics.sets import MotionSets


def value(name: str, numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The metric's value from sums over clips; NaN where nothing was said."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1), np.nan)
    return np.sqrt(quotient) if METRICS[name].root else quotient


def summary(values: np.ndarray) -> dict[str, Any]:
    """Mean and sample standard deviation over the samples that have a value (None where there is none)."""
    known = values[np.isfinite(values)]
    return {
        "mean": float(known.mean()) if len(known) else None,
        "std": float(known.std(ddof=1)) if len(known) > 1 else None,
        "samples": len(known),
    }


class Results:
    """Method -> clip -> metric -> share; and what the metrics of a whole set are made of."""

    def __init__(self) -> None:
        self.shares: dict[str, dict[str, Shares]] = {}
        self.sets = MotionSets()

    def add(self, method: str, clip: str, shares: Shares) -> None:
        self.shares.setdefault(method, {}).setdefault(clip, {}).update(shares)

    @property
    def methods(self) -> list[str]:
        return list(self.shares)

    def metrics(self) -> list[str]:
        """Metrics that any method has, in the catalogue's order."""
        found = {name for clips in self.shares.values() for shares in clips.values() for name in shares}
        found |= {name for method in self.methods for name in self.sets.values(method)}
        return [name for name in METRICS if name in found]

    def pooled(self, method: str) -> dict[str, dict[str, Any]]:
        """Metric -> mean and std over samples of its value over all clips, and how many clips had a say."""
        clips = self.shares[method]
        result = {}
        for name in self.metrics():
            shares = [each[name] for each in clips.values() if name in each]
            if shares:
                sums, n_clips = _sum(shares)
                result[name] = {**summary(value(name, *sums)), "clips": n_clips}
        for name, values in self.sets.values(method).items():
            result[name] = {**summary(values), "clips": len(self.sets.clips[method])}
        return result

    def per_clip(self, method: str) -> dict[str, dict[str, dict[str, Any]]]:
        """Clip -> metric -> mean and std over samples, and the samples' values."""
        return {
            clip: {name: _entry(value(name, share.numerator, share.denominator)) for name, share in shares.items()}
            for clip, shares in self.shares[method].items()
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


def _sum(shares: list[Share]) -> tuple[tuple[np.ndarray, np.ndarray], int]:
    """Sums over clips, sample by sample; with unequal numbers of samples only those that all have count."""
    n = min(len(share.numerator) for share in shares)
    numerator = sum((share.numerator[:n] for share in shares), start=np.zeros(n))
    denominator = sum((share.denominator[:n] for share in shares), start=np.zeros(n))
    return (numerator, denominator), sum(bool(share.denominator.any()) for share in shares)


def _entry(values: np.ndarray) -> dict[str, Any]:
    return {**summary(values), "values": [float(x) if np.isfinite(x) else None for x in values]}
