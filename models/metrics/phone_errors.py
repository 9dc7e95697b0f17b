"""Errors of the mouth opening phone by phone, and by viseme class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.metrics.lips import ClosureRule, closures
from models.metrics.results import summary, summed
from models.metrics.score import Quotient, Quotients
from models.metrics.viseme_reader import CLASS_OF, CLASSES
from utils.speech import BILABIALS, Phone

MEASURES = ("opening_error", "opening_bias", "closure_recall")
OTHER = "other"  # class of phones that stand in none


def viseme_class(phone: str) -> str:
    """'b' -> 'lips shut'."""
    return list(CLASSES)[CLASS_OF[phone]] if phone in CLASS_OF else OTHER


def phone_errors(
    opening_mm: np.ndarray, truth_mm: np.ndarray, phones: Sequence[Phone], rule: ClosureRule
) -> dict[str, Quotients]:
    """Phone -> quotients of MEASURES and `phones`, the number of its phones, for openings (S, T) against (T,).

    The error is mean |o - o*| and the bias mean o - o* over the phone's frames, mm; phones beyond the end do not count.
    """
    n, found = opening_mm.shape[1], {}
    gap = opening_mm.astype(np.float64) - truth_mm[:n]
    for name in dict.fromkeys(phone.name for phone in phones):
        spans = [phone.frames() for phone in phones if phone.name == name]
        frames = [np.arange(max(span.start, 0), min(span.stop, n)) for span in spans]
        joined = np.concatenate(frames)
        if not len(joined):
            continue
        own = gap[:, joined]
        found[name] = {
            "phones": Quotient.of(np.full(len(gap), sum(len(each) > 0 for each in frames))),
            "opening_error": Quotient.of(np.abs(own).sum(1), len(joined)),
            "opening_bias": Quotient.of(own.sum(1), len(joined)),
        }
        if name in BILABIALS:
            counts = [closures(track, [p for p in phones if p.name == name], rule) for track in opening_mm]
            found[name]["closure_recall"] = Quotient.of([c.found for c in counts], [c.expected for c in counts])
    return found


@dataclass
class PhoneErrors:
    """The phones of each method, clip by clip."""

    methods: dict[str, dict[str, dict[str, Quotients]]] = field(default_factory=dict)  # method -> clip -> phone

    def add(self, method: str, clip: str, found: dict[str, Quotients]) -> None:
        self.methods.setdefault(method, {})[clip] = found

    def pooled(self, method: str, by_class: bool = False) -> dict[str, dict[str, Any]]:
        """Phone, or viseme class, -> number of phones, and mean and std over samples of each measure.

        Phones stand in the order of their classes, then by name.
        """
        parts: dict[str, dict[str, list[Quotient]]] = {}
        order = [*CLASSES, OTHER]
        for phones in self.methods.get(method, {}).values():
            for phone, quotients in phones.items():
                own = parts.setdefault(viseme_class(phone) if by_class else phone, {})
                for name, quotient in quotients.items():
                    own.setdefault(name, []).append(quotient)
        place = (lambda name: (order.index(name), "")) if by_class else _place
        return {name: _pooled(parts[name]) for name in sorted(parts, key=place)}


def _place(phone: str) -> tuple[int, str]:
    return [*CLASSES, OTHER].index(viseme_class(phone)), phone


def _pooled(parts: dict[str, list[Quotient]]) -> dict[str, Any]:
    found: dict[str, Any] = {"phones": int(summed(parts["phones"])[0][0][0])}
    for name in MEASURES:
        if name in parts:
            (numerator, denominator), _ = summed(parts[name])
            if denominator.all():
                found[name] = summary(numerator / denominator)
    return found
