"""Reading a speech corpus folder: `<engine>-<voice>/part_NNN.opus` with `part_NNN.jsonl`, one row per sentence."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts_for_dataset.synthetic.visemes import PHONES
from utils.errors import UserError
from utils.reading.json_file import parse_json, read_lines
from utils.speech import phone_name
from utils.timebase import SAMPLE_RATE

HELD_VOICES = frozenset(
    {
        "kokoro-am_liam", "kokoro-am_onyx", "kokoro-af_sarah", "kokoro-bm_lewis", "festival-kal_diphone",
        "kokoro-zf_xiaoni", "kokoro-zm_yunxia", "kokoro-jf_tebukuro", "kokoro-jm_kumo", "kokoro-hf_beta",
        "kokoro-hm_psi",
    }
)  # fmt: skip
# Seconds to move the labels of an engine by, beyond its own correction (negative: earlier). Measured by
# benchmarks.speech.label_times: festival's HTS voice hisses 28 ms after its labels and stops on them; 91 % of its
# closures lie inside their stops, 97 % after the move.
_LABEL_SHIFT = {"kokoro": -0.010, "hibari": -0.010, "festival-cmu_us_slt_arctic_hts": 0.012}
_STOPS = frozenset({"p", "b", "t", "d", "k", "g"})
_KED_STOP_SHIFT = 0.020  # festival's ked marks stops 21 to 29 ms early
_QUIET = 0.02  # of the sentence's loud level (-34 dB): what lies below at its ends is silence


@dataclass(frozen=True)
class Row:
    """One sentence: where its audio lies and what is said when (seconds from the sentence's start)."""

    voice: str
    part: Path  # the audio file
    start: int  # samples
    n_samples: int
    held: bool
    phones: tuple[tuple[str, float, float], ...]


def read_rows(folder: Path) -> dict[str, list[Row]]:
    """All sentences by voice, in the order of the files.

    Raises:
        UserError: no corpus there, a row that cannot be read, or audio missing beside its rows.
    """
    folder = Path(folder)
    tables = sorted(folder.glob("*/part_*.jsonl"))
    if not tables:
        raise UserError(f"--speech {folder}: holds no <voice>/part_NNN.jsonl; make it with make_synthetic_speech")
    rows: dict[str, list[Row]] = {}
    for table in tables:
        audio = table.with_suffix(".opus")
        if not audio.is_file():
            raise UserError(f"{audio}: missing beside {table.name}; make the speech again")
        for number, line in enumerate(read_lines(table), start=1):
            if line.strip():
                rows.setdefault(table.parent.name, []).append(_row(line, audio, f"{table}:{number}"))
    return rows


def _row(line: str, audio: Path, where: str) -> Row:
    try:
        value = parse_json(line, where)
        phones = tuple((phone_name(str(p)), float(s), float(e)) for p, s, e in value["phones"])
        return Row(
            audio.parent.name, audio, int(value["start"]), int(value["n_samples"]), value["split"] == "held", phones
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{where}: not a sentence row ({error}); make the speech again") from error


@functools.lru_cache(maxsize=4)
def _part(path: Path) -> np.ndarray:
    """Whole decoded part (n,) float32; neighbouring sentences share it, hence the cache."""
    import soundfile

    try:
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise UserError(f"{path}: unreadable audio ({error}); make the speech again") from error
    if rate != SAMPLE_RATE:
        raise UserError(f"{path}: sampled at {rate} Hz, not {SAMPLE_RATE}; make the speech again")
    return audio.mean(axis=1)


def load_sentence(row: Row) -> tuple[np.ndarray, list[tuple[str, float, float]]]:
    """Audio (n,) float32 and tidy phones of one sentence."""
    audio = _part(row.part)[row.start : row.start + row.n_samples]
    return audio, tidy_phones(row.voice, audio, list(row.phones))


def tidy_phones(
    voice: str, audio: np.ndarray, phones: list[tuple[str, float, float]]
) -> list[tuple[str, float, float]]:
    """Correct the known errors of an engine's labels, and end a drawn-out last phone where the sound ends.

    Neural voices give the silence after the last word to its last phone, which would hold the mouth open.
    """
    duration = len(audio) / SAMPLE_RATE
    shift = _LABEL_SHIFT.get(voice, _LABEL_SHIFT.get(voice.split("-")[0], 0.0))
    early_stops = voice == "festival-ked_diphone"
    edges = []
    for phone, start, end in phones:
        start += shift + (_KED_STOP_SHIFT if early_stops and phone in _STOPS else 0.0)
        edges.append((phone if phone in PHONES else "sil", max(start, 0.0), end))
    starts = np.maximum.accumulate(np.array([start for _, start, _ in edges] or [0.0]))
    ends = np.append(starts[1:], duration)
    tidy = [
        (phone, float(s), float(min(e, duration)))
        for (phone, _, _), s, e in zip(edges, starts, ends)
        if min(e, duration) - s > 1e-4
    ]
    return _cut_quiet_tail(audio, tidy, duration)


def _cut_quiet_tail(audio: np.ndarray, phones: list, duration: float) -> list[tuple[str, float, float]]:
    """End the last spoken phone where the sound ends; silence fills the rest."""
    spoken = [k for k, (phone, _, _) in enumerate(phones) if phone != "sil"]
    if not spoken:
        return [("sil", 0.0, duration)]
    last, (phone, start, end) = spoken[-1], phones[spoken[-1]]
    level = np.sqrt(np.convolve(audio**2, np.full(160, 1 / 160), mode="same"))
    loud = np.flatnonzero(level > _QUIET * np.quantile(level, 0.95))
    sound_end = (loud[-1] / SAMPLE_RATE + 0.03) if len(loud) else end
    end = max(min(end, sound_end), start + min(0.05, end - start))
    return (
        [*phones[:last], (phone, start, end), ("sil", end, duration)]
        if end < duration
        else [*phones[:last], (phone, start, end)]
    )
