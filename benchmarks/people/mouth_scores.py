"""A person's openings against a model's: correlation, lag, closures, size. docs/metrics.md has the definitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from benchmarks.people.recordings import Recording
from benchmarks.report import column
from models.metrics.synchrony import lag_curve, subframe_lag
from models.metrics.warping import misalignments
from models.tracking.carry import opening_on
from models.tracking.embedding import LandmarkHead
from utils.motion_file import Motion
from utils.timebase import FPS

REACH = 8  # frames either way in which the best lag is searched
LATEST = 3  # frames either way in which the mouth's lag is searched
NEAR = 2  # frames about a word's onset
SHUT = 1.0  # mm


@dataclass(frozen=True)
class Row:
    """One person."""

    person: str = column("person")
    kind: str = column("")
    clips: int = column("clips")
    r: float = column("r", "{:.2f}")  # median over clips of the mean over samples
    best: float = column("best lag", "{:.2f}")
    wrong: float = column("wrong clip", "{:.2f}")
    wrong_best: float = column("best lag", "{:.2f}")
    lag: float = column("lag", "{:+.2f}")  # frames, positive: the model is late
    mtm: float = column("MTM ms", "{:.0f}")
    onsets: int = column("b, p")
    shut: float = column("<= 1 mm", "{:.0%}")
    shut_seen: float = column("people", "{:.0%}")
    opening: float = column("mm", "{:.2f}")  # median at onsets
    sd_ratio: float = column("SD ratio", "{:.2f}")
    p90_ratio: float = column("p90 ratio", "{:.2f}")
    own_sd: float = column("own SD", "{:.2f}")  # mm, of the person
    sentence_sd: float = column("on one sentence", "{:.2f}")  # mm, of the model in the person's style


def ruler_openings(head: LandmarkHead, motions: Sequence[Motion]) -> np.ndarray:
    """(S, T) mm of the ruler on the average head, negative where lips press."""
    exp, jaw = (torch.from_numpy(np.concatenate(values).astype(np.float64))
                for values in ([m.exp for m in motions], [m.pose[:, 3] for m in motions]))  # fmt: skip
    opening = opening_on(head, torch.zeros(head.n_shape, dtype=torch.float64), exp, jaw)
    return opening.numpy().reshape(len(motions), -1)


def as_seen(openings: np.ndarray) -> np.ndarray:
    """As landmarks show them: lips that press are 0 mm apart."""
    return np.maximum(openings, 0)


def filled(seen: np.ndarray) -> np.ndarray:
    """Openings (T,) with gaps interpolated."""
    there = np.flatnonzero(np.isfinite(seen))
    return np.interp(np.arange(len(seen)), there, seen[there])


def curves(openings: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(S, 2 REACH + 1) correlations of each sample (S, T) with the person (T')."""
    return np.stack([lag_curve(track, filled(seen), REACH) for track in as_seen(openings)])


def at_onsets(track: np.ndarray, onsets: Sequence[float]) -> list[float]:
    """Least opening within `NEAR` frames of each onset that lies in the track (T,)."""
    frames = np.arange(len(track))
    near = [track[np.abs(frames - onset * FPS) <= NEAR + 0.5] for onset in onsets]
    return [float(np.nanmin(values)) for values in near if np.isfinite(values).any()]


def share_shut(openings: Sequence[float]) -> float:
    return float(np.mean(np.array(openings) <= SHUT)) if len(openings) else float("nan")


def person_row(
    name: str, kind: str, recordings: Sequence[Recording], made: Sequence[np.ndarray], fixed: np.ndarray | None
) -> Row:
    """A person's row.

    Args:
        name: of the person.
        kind: whether the model knows this person.
        recordings: the person's.
        made: the model's openings (S, T) for the sound of each.
        fixed: its openings (S, T) on the sentence that it speaks in every style.
    """
    right = [curves(openings, r.seen) for r, openings in zip(recordings, made)]
    wrong = [curves(openings, r.seen) for r, openings in zip([*recordings[1:], recordings[0]], made)]
    wrong = wrong if len(recordings) > 1 else [np.full_like(right[0], np.nan)]
    seen_at = [v for r in recordings for v in at_onsets(r.seen, r.onsets)]
    made_at = [v for r, openings in zip(recordings, made) for track in openings for v in at_onsets(track, r.onsets)]
    seen = np.concatenate([r.seen[np.isfinite(r.seen)] for r in recordings])
    joined = as_seen(np.concatenate([*made], axis=1))  # (S, all frames)
    (r, best), (wrong_r, wrong_best) = _usual(right), _usual(wrong)
    return Row(
        person=name, kind=kind, clips=len(recordings), r=r, best=best, wrong=wrong_r, wrong_best=wrong_best,
        lag=_lag(right), mtm=_mtm(recordings, made), onsets=len(seen_at), shut=share_shut(made_at),
        shut_seen=share_shut(seen_at), opening=float(np.median(made_at)) if made_at else float("nan"),
        sd_ratio=float(joined.std(axis=1).mean() / seen.std()),
        p90_ratio=float(np.quantile(joined, 0.9, axis=1).mean() / np.quantile(seen, 0.9)), own_sd=float(seen.std()),
        sentence_sd=float("nan") if fixed is None else float(as_seen(fixed).std(axis=1).mean()),
    )  # fmt: skip


def _usual(found: Sequence[np.ndarray]) -> tuple[float, float]:
    """Median over clips of r at lag 0 and of the best r, means over samples."""
    known = [c for c in found if np.isfinite(c[:, REACH]).all()]
    if not known:
        return float("nan"), float("nan")
    at_zero, best = zip(*((c[:, REACH].mean(), np.nanmax(c, axis=1).mean()) for c in known))
    return float(np.median(at_zero)), float(np.median(best))


def _mtm(recordings: Sequence[Recording], made: Sequence[np.ndarray]) -> float:
    """Mean temporal misalignment in ms, turning points of all clips and samples pooled."""
    pairs = [(track[: len(r.seen)], filled(r.seen)[: len(track)]) for r, openings in zip(recordings, made)
             for track in as_seen(openings)]  # fmt: skip
    late = np.concatenate([misalignments(track, seen) for track, seen in pairs])
    return float(1000 / FPS * late.mean()) if len(late) else float("nan")


def _lag(found: Sequence[np.ndarray]) -> float:
    """Frames by which the model is late: the peak nearest to 0 of the mean curve over clips and samples.

    The highest peak may be another word's, since sentences of one grammar look alike. NaN without one within `LATEST`.
    """
    curve = np.nanmean(np.concatenate(found), axis=0)
    near = range(REACH - LATEST, REACH + LATEST + 1)
    peaks = [i for i in near if curve[i - 1] < curve[i] >= curve[i + 1]]
    if not peaks:
        return float("nan")
    peak = min(peaks, key=lambda i: abs(i - REACH))
    return peak - REACH + subframe_lag(curve[peak - 1 : peak + 2])


def middle(rows: Sequence[Row]) -> Row:
    """The median person; onsets are pooled."""
    values = {}
    for one in fields(Row):
        column_values = [getattr(row, one.name) for row in rows]
        if one.name in ("clips", "onsets"):
            values[one.name] = sum(column_values)
        elif one.name in ("shut", "shut_seen"):
            known = [(row.onsets, value) for row, value in zip(rows, column_values) if row.onsets]
            total = sum(n for n, _ in known)
            values[one.name] = sum(n * value for n, value in known) / total if total else float("nan")
        elif one.name not in ("person", "kind"):
            known = [value for value in column_values if np.isfinite(value)]
            values[one.name] = float(np.median(known)) if known else float("nan")
    return Row(person="all", kind="medians, closures pooled", **values)
