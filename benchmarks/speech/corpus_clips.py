"""Clips of a speech corpus whose phone times are known, by language; and closures phone by phone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.report import text_table
from benchmarks.speech.speech_scores import CLOSED_MM, Clip, ClipScore
from scripts_for_dataset.synthetic.corpus import HELD_VOICES, Row, load_sentence, read_rows
from scripts_for_dataset.synthetic.voices import FOREIGN_VOICES
from utils.errors import UserError
from utils.speech import SILENCE, Phone
from utils.timebase import SAMPLE_RATE


def language_clips(speech: Path, sentences: int) -> dict[str, list[Clip]]:
    """{language: a clip of up to `sentences` sentences of each of its voices kept for testing}; English is left out.

    Raises:
        UserError: no speech there, or none of such a voice.
    """
    languages = {voice.label: voice.language for voice in FOREIGN_VOICES if voice.label in HELD_VOICES}
    clips: dict[str, list[Clip]] = {}
    for voice, rows in read_rows(speech).items():
        if voice in languages:
            clips.setdefault(languages[voice], []).append(_joined(voice, rows[:sentences]))
    if not clips:
        raise UserError(f"--speech {speech}: has none of {', '.join(languages)}; make them with make_synthetic_speech")
    return clips


def _joined(voice: str, rows: list[Row]) -> Clip:
    """Sentences one after the other."""
    audio, phones, start = [], [], 0.0
    for row in rows:
        sound, spoken = load_sentence(row)
        audio.append(sound)
        phones += [Phone(name, start + first, start + last) for name, first, last in spoken]
        start += len(sound) / SAMPLE_RATE
    return Clip(voice, np.concatenate(audio), phones)


def phone_table(scores: dict[str, list[ClipScore]]) -> str:
    """Closures by group and phone: group -> all samples of its clips; with the neighbours of those missed most."""
    lines = [("", "phone", "n", "shut %", "missed most, with neighbours")]
    for group, found in scores.items():
        for name in "pbm":
            missed: dict[str, int] = {}
            shut = [pair for score in found for pair in _pairs(score) if pair[0].split()[1] == name]
            for around, opening in shut:
                missed[around] = missed.get(around, 0) + (opening > CLOSED_MM)
            worst = sorted((n, around) for around, n in missed.items() if n)[:-4:-1]
            share = f"{100 * np.mean([opening <= CLOSED_MM for _, opening in shut]):.0f}" if shut else "-"
            lines.append((group, name, str(len(shut)), share, "; ".join(f"{around} {n}x" for n, around in worst)))
    return text_table(lines)


def _pairs(score: ClipScore) -> list[tuple[str, float]]:
    """("before phone after", opening in mm) of each bilabial."""
    names = [phone.name for phone in score.clip.phones]
    spoken = [SILENCE, *names, SILENCE]
    around = [" ".join(spoken[k : k + 3]) for k, name in enumerate(names) if name in "pbm"]
    return [(text, float(opening)) for text, opening in zip(around, score.shut[1])]
