"""The speech that is still to be made: the existing speech is compared with the requested hours and mix."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path

from scripts_for_dataset.synthetic.texts import foreign_sentences, held_out, sentences
from scripts_for_dataset.synthetic.voices import ENGLISH, Voice
from utils.errors import UserError
from utils.reading.json_file import parse_json, read_lines
from utils.timebase import SAMPLE_RATE

SENTENCES_PER_PART = 20  # about a minute: little is lost when a run is interrupted
_MOST_MISSING = 5  # fewer sentences than this are not worth a part: the hours are reached
_SECONDS_PER_SENTENCE = 3.0  # with its silence; assumed until a voice has enough sentences to measure it


@dataclass(frozen=True)
class SpeechPart:
    """One pair of files to make."""

    voice: Voice
    path: Path  # without suffix
    texts: tuple[str, ...]
    seed: int


@dataclass
class Spoken:
    """What a voice has said already."""

    texts: set[str] = field(default_factory=set)
    numbers: set[int] = field(default_factory=set)  # of its parts
    seconds: float = 0.0

    def missing(self, wanted: float) -> int:
        """Number of sentences up to `wanted` seconds of speech."""
        enough = len(self.texts) >= SENTENCES_PER_PART
        mean = self.seconds / len(self.texts) if enough else _SECONDS_PER_SENTENCE
        count = round((wanted - self.seconds) / mean)
        return count if count >= _MOST_MISSING or (count > 0 and not self.texts) else 0

    def free_numbers(self, count: int) -> list[int]:
        """The first `count` free part numbers."""
        return [k for k in range(count + len(self.numbers)) if k not in self.numbers][:count]


@dataclass
class Pool:
    """The sentences of a language: those that no voice has said, and those that are in one split for all voices."""

    fresh: list[str]
    shared: list[str]
    position: int = 0  # in `fresh`

    @classmethod
    def of(cls, language: str, seed: int, held: dict[str, bool]) -> Pool:
        """`held`: whether a text that was said before is kept for testing."""
        texts = sentences(seed) if language == ENGLISH else foreign_sentences(language, seed)
        fresh = [text for text in texts if text not in held]
        return cls(fresh, [text for text in texts if text in held and held[text] == held_out(text)])

    def take(self, count: int, said: set[str]) -> list[str]:
        """Up to `count` texts that are not among `said`."""
        old = [text for text in self.shared + self.fresh[: self.position] if text not in said]
        chosen = (self.fresh[self.position :] + old)[:count]
        self.position += min(count, len(self.fresh) - self.position)
        return chosen


def tables_of(output: Path) -> list[Path]:
    """The tables of a corpus folder."""
    return sorted(output.glob("*/part_*.jsonl"))


def read_spoken(output: Path, tables: list[Path] | None = None) -> tuple[dict[str, Spoken], dict[str, bool]]:
    """Speech in a corpus folder by voice label, and for every text whether it is kept for testing there.

    `tables`: the tables to read (default: all).

    Raises:
        UserError: a table that cannot be read.
    """
    spoken: dict[str, Spoken] = {}
    held: dict[str, bool] = {}
    for table in tables_of(output) if tables is None else tables:
        voice = spoken.setdefault(table.parent.name, Spoken())
        try:
            voice.numbers.add(int(table.stem.removeprefix("part_")))
            for line in read_lines(table):
                row = parse_json(line, str(table))
                voice.texts.add(row["text"])
                voice.seconds += row["n_samples"] / SAMPLE_RATE
                held[row["text"]] = held.get(row["text"], False) or row["split"] == "held"
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise UserError(f"{table}: not a table of sentences ({error}); delete it and make it again") from error
    return spoken, held


def plan_parts(
    voices: list[Voice], hours: float, output: Path, seed: int, before: list[Path] | None = None
) -> list[SpeechPart]:
    """Parts that bring every voice up to its share of `hours`, first parts of all voices first.

    Sentences that no voice has said come first; then those that this voice has not said and that are in the same split
    for all voices, so that no test sentence gets into training through another voice.

    `before`: the tables that count as existing (default: all).
    """
    spoken, held = read_spoken(output, before)
    pools = {language: Pool.of(language, seed, held) for language in {voice.language for voice in voices}}
    shares = sum(voice.share for voice in voices)
    parts: list[tuple[int, SpeechPart]] = []
    for voice in voices:
        own = spoken.get(voice.label, Spoken())
        chosen = pools[voice.language].take(own.missing(hours * 3600 * voice.share / shares), own.texts)
        starts = range(0, len(chosen), SENTENCES_PER_PART)
        for first, number in zip(starts, own.free_numbers(len(starts))):
            path = output / voice.label / f"part_{number:03d}"
            part_seed = zlib.crc32(f"{seed}/{voice.label}/{number}".encode())
            parts.append((first, SpeechPart(voice, path, tuple(chosen[first : first + SENTENCES_PER_PART]), part_seed)))
    return [part for _, part in sorted(parts, key=lambda pair: pair[0])]
