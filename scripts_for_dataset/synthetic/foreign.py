"""Mandarin, Japanese and Hindi for the Kokoro voices: sentences in Latin letters, and the symbols that say them.

Mandarin is written in pinyin with tone digits (5: neutral), Japanese in Hepburn romaji (long vowels and geminates
doubled), Hindi as it sounds: aa ii uu long, T D R retroflex, a final h aspirates, ~ nasalises the vowel before it.
To add a language: its sentences in foreign_texts.json, its letters in foreign_letters.json, and voices in voices.py.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from utils.errors import UserError
from utils.reading.json_file import read_json

LANGUAGES = {"z": "Mandarin", "j": "Japanese", "h": "Hindi"}  # first letter of a Kokoro voice's name
_TONES = {"1": "→", "2": "↗", "3": "↓", "4": "↘", "5": ""}
_SYLLABLE = re.compile("(zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw]?)([a-z]+)([1-5])")
_Y_W = {"yi": "i", "yu": "v", "wu": "u", "y": "i", "w": "u"}  # pinyin's spellings of finals without an initial
_WHOLE = {"you": "iu", "wei": "ui", "wen": "un", "ye": "ie", "yong": "iong", "yan": "ian"}


def foreign_symbols(language: str, text: str) -> str:
    """Kokoro's symbols of a text in this module's spelling; `language`: a name of LANGUAGES.

    Raises:
        UserError: a syllable or letter that the language does not have.
    """
    words = text.lower().split() if language != "Hindi" else text.split()
    return " ".join(_word(language, word) for word in words)


def _word(language: str, word: str) -> str:
    plain = word.rstrip(",.?!")
    letters = _letters()[language]
    said = (
        _pinyin(plain, letters)
        if language == "Mandarin"
        else _spelt(_japanese(plain) if language == "Japanese" else plain, letters)
    )
    return said + word[len(plain) :]


@functools.lru_cache(maxsize=1)
def _letters() -> dict[str, dict[str, str]]:
    return read_json(Path(__file__).with_name("foreign_letters.json"))


def _pinyin(word: str, letters: dict[str, str]) -> str:
    said, rest = "", word
    while rest:
        match = _SYLLABLE.match(rest)
        if match is None:
            raise UserError(f"text {word!r}: not pinyin with tone digits; respell it")
        initial, final, tone = match.groups()
        said += _syllable(initial, final, letters, word).replace("0", _TONES[tone])
        rest = rest[match.end() :]
    return said


def _syllable(initial: str, final: str, letters: dict[str, str], word: str) -> str:
    """Symbols of a syllable; "0" stands where the tone goes, after its main vowel."""
    if initial in ("y", "w"):
        whole = initial + final
        start = next(spelling for spelling in _Y_W if whole.startswith(spelling))
        initial, final = "", _WHOLE.get(whole, _Y_W[start] + whole[len(start) :])
    elif initial in ("j", "q", "x") and final[0] == "u":
        final = "v" + final[1:]
    elif final == "i" and initial in ("z", "c", "s", "zh", "ch", "sh", "r"):
        final = "-i"
    elif final == "o" and initial in ("b", "p", "m", "f"):
        final = "uo"
    if "0" not in letters.get(final, "") or (initial and initial not in letters):
        raise UserError(f"text {word!r}: {initial}{final} is no syllable of pinyin; respell it")
    return letters.get(initial, "") + letters[final]


def _japanese(word: str) -> str:
    """Geminates as q and their consonant; a syllabic n as N, or as m before the lips' consonants."""
    word = re.sub("(k|s|t|p|ch|sh|ts)(?=\\1)", "q", word).replace("tch", "qch")
    word = re.sub("n(?=[pbm])", "m", word)
    return re.sub("n(?=[^aiueoy]|$)", "N", word)


def _spelt(word: str, letters: dict[str, str]) -> str:
    """The longest spelling that fits is read at each place."""
    said, at = "", 0
    while at < len(word):
        spelling = next((word[at : at + n] for n in (3, 2, 1) if word[at : at + n] in letters), None)
        if spelling is None:
            raise UserError(f"text {word!r}: cannot read {word[at:]!r}; respell it")
        said, at = said + letters[spelling], at + len(spelling)
    return said
