"""Phone times of the synthetic speech against the sound itself, voice by voice.

    python -m benchmarks.speech.label_times --speech data/speech --voices kokoro-af_nova flite-slt

Two borders can be seen in a recording without knowing its words. A sibilant's (s, sh next to a vowel): there the level
above 4 kHz crosses the middle between the vowel's and the sibilant's, relative to the level below 3 kHz. The closure of
a stop between vowels: the quietest instant must lie inside the phone (10 ms of grace). Steps of 5 ms; sibilants that do
not stand out by 12 dB, or cross nowhere within 70 ms, are left out. Positive: the sound comes after the label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.report import Flags, column, read_flags, table, write_json
from scripts_for_dataset.synthetic.corpus import Row, load_sentence, read_rows
from scripts_for_dataset.synthetic.ipa import Timed
from utils.errors import UserError, cli
from utils.timebase import SAMPLE_RATE

_STEP, _WINDOW = 80, 320  # samples: 5 ms, 20 ms
_STEP_S = _STEP / SAMPLE_RATE
_SEARCH, _GRACE = 0.07, 0.01  # seconds
_CONTRAST = 12.0  # dB
_VOWELS = frozenset(["iy", "ih", "eh", "ae", "aa", "ao", "ah", "ax", "uw", "uh", "er", "ey", "ay", "ow", "aw", "oy"])
_SIBILANTS, _STOPS = frozenset({"s", "sh"}), frozenset("ptkbdg")


@dataclass
class Found:
    """What was seen in one voice: errors in seconds, and for each stop whether its closure lies in it."""

    onsets: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    closures: list[bool] = field(default_factory=list)


@dataclass(frozen=True)
class Summary:
    """Figures of one voice; times in milliseconds."""

    voice: str = column("voice")
    n_sibilants: int = column("sibilants")
    onset_median: float = column("onset ms", "{:+.1f}")
    onset_abs_p50: float = column("|onset| p50", "{:.1f}")
    onset_abs_p90: float = column("p90", "{:.1f}")
    end_median: float = column("end ms", "{:+.1f}")
    n_stops: int = column("stops")
    closures_inside_percent: float = column("closures inside %", "{:.0f}")


def levels(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Level above 4 kHz over that below 3 kHz, and the whole level, in dB at every 5 ms * k."""
    audio = audio / max(float(np.abs(audio).max()), 1e-9)
    padded = np.pad(audio, (_WINDOW // 2, _WINDOW))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_STEP][: len(audio) // _STEP]
    power = np.abs(np.fft.rfft(windows * np.hanning(_WINDOW), axis=1)) ** 2
    frequency = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE)

    def level(low: float, high: float) -> np.ndarray:
        return 10 * np.log10(power[:, (frequency >= low) & (frequency < high)].sum(1) + 1e-7)

    return level(4000, 7900) - level(100, 3000), level(100, 7900)


def crossing(ratio: np.ndarray, border: float, before: tuple, after: tuple) -> float | None:
    """Seconds from a labelled border to where `ratio` goes over from `before`'s level to `after`'s; None: not seen."""

    def inner(phone: tuple) -> float:
        _, start, end = phone
        first = int((start + 0.3 * (end - start)) / _STEP_S)
        return float(np.median(ratio[first : int((start + 0.7 * (end - start)) / _STEP_S) + 1]))

    low, high = inner(before), inner(after)
    if not abs(high - low) >= _CONTRAST:
        return None
    above = ratio > (low + high) / 2
    first, last = max(1, int((border - _SEARCH) / _STEP_S)), min(len(above), int((border + _SEARCH) / _STEP_S))
    steps = np.flatnonzero((above[first:last] != above[first - 1 : last - 1]) & (above[first:last] == (high > low)))
    errors = (first + steps - 0.5) * _STEP_S - border
    return float(errors[np.abs(errors).argmin()]) if len(errors) else None


def inspect(audio: np.ndarray, phones: Timed, found: Found) -> None:
    """Add what one sentence shows to `found`."""
    ratio, whole = levels(audio)
    for before, phone, after in zip(phones, phones[1:], phones[2:]):
        name, start, end = phone
        between = (before[0] in _VOWELS, after[0] in _VOWELS)
        if name in _SIBILANTS and end - start > 0.04:
            errors = (crossing(ratio, start, before, phone), crossing(ratio, end, phone, after))
            for error, beside, kept in zip(errors, between, (found.onsets, found.ends)):
                if beside and error is not None:
                    kept.append(error)
        if name in _STOPS and all(between):
            first = max(0, int((start - 0.05) / _STEP_S))
            quietest = (first + int(np.argmin(whole[first : int((end + 0.05) / _STEP_S)]))) * _STEP_S
            found.closures.append(start - _GRACE <= quietest <= end + _GRACE)


def summarise(voice: str, rows: list[Row]) -> Summary:
    """Figures of one voice over all its sentences."""
    found = Found()
    for row in rows:
        inspect(*load_sentence(row), found)

    def ms(values: np.ndarray, percent: float) -> float:
        return round(float(np.percentile(values, percent)) * 1000, 1) if len(values) else float("nan")

    onsets = np.array(found.onsets)
    inside = round(100 * float(np.mean(found.closures)), 1) if found.closures else float("nan")
    return Summary(
        voice, len(onsets), ms(onsets, 50), ms(np.abs(onsets), 50), ms(np.abs(onsets), 90),
        ms(np.array(found.ends), 50), len(found.closures), inside,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LabelFlags(Flags):
    """What is checked."""

    speech: Path
    """Folder made by make_synthetic_speech."""
    voices: Sequence[str] = ()
    """<engine>-<voice>; without it all."""
    most: int = 150
    """Sentences per voice."""


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(LabelFlags, __doc__, argv)
    rows = read_rows(flags.speech)
    unknown = sorted(set(flags.voices or rows) - set(rows))
    if unknown:
        raise UserError(f"--voices {', '.join(unknown)}: not in {flags.speech}")
    results = [summarise(v, rows[v][: flags.most]) for v in tqdm(flags.voices or rows, desc="voices", disable=None)]
    print(table(results))
    write_json(flags.json, results)


if __name__ == "__main__":
    main()
