"""Sentences to be spoken: WordNet's quoted examples where Debian's wordnet-base is installed, and our own templates."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from utils.reading.json_file import read_json

WORDNET = Path("/usr/share/wordnet")
FOREIGN_TEXTS = Path(__file__).with_name("foreign_texts.json")  # templates and fillers by language
_WORDS = (4, 16)
_PLAIN = re.compile(r"[A-Za-z][A-Za-z' ,]*[A-Za-z][.?!]?")
# Examples on subjects that do not belong in a demonstration.
_BLOCKED = re.compile(
    r"\b(kill|murder|rape|rapist|sex|whore|slut|prostitut|suicid|nazi|nigg|negro|jew|terror|naked|nude|breast|penis|vagin"
    r"|fuck|shit|bitch|bastard|damn|hell\b|drunk|drug|cocaine|heroin|slave|torture|corpse|bomb|hang(ed|ing)\b|stab|gun)",
    re.IGNORECASE,
)

# Every template brings phones that are rare in running text: zh, oy, th, dh, ch, jh, f, v, p, b, m, w.
_TEMPLATES = (
    "{who} usually measured the {thing} with {feel}.",
    "The {thing} above the {place} belongs to {who}.",
    "Maybe {who} will bring five {things} to the {place}.",
    "Why would {who} choose a {feel} {thing}?",
    "{who} and my mother both laughed at the {thing}.",
    "Please move the {thing} further from the {place}.",
    "In my opinion {who} should enjoy the {place}.",
    "There was a very {feel} voice behind the {thing}.",
    "Push the {thing} through the {place}, then wait for {who}.",
    "{who} bumped into the {feel} {thing} by chance.",
)
_FILLERS = {
    "who": "Bob, Pamela, the boy, Joyce, my father, the judge, Vivian, a young chef",
    "thing": "pump, big map, toy boat, television, yellow bowl, leather glove, cheap watch, wooden fish",
    "place": "beach, garage, theatre, village, bathroom, oyster bar, warm office, church",
    "things": "pumps, big maps, toy boats, televisions, yellow bowls, leather gloves, cheap watches, wooden fish",
    "feel": "rough, smooth, pleasure, vague, thoughtful, joyful, wonderful, beige",
}


def template_sentences(templates: Sequence[str] = _TEMPLATES, fillers: Mapping[str, str] = _FILLERS) -> list[str]:
    """All sentences of the templates, in a fixed order."""
    sentences = []
    for template in templates:
        fields = re.findall(r"{(\w+)}", template)
        for words in itertools.product(*(fillers[field].split(", ") for field in fields)):
            text = template.format(**dict(zip(fields, words)))
            sentences.append(text[0].upper() + text[1:])
    return sentences


def foreign_sentences(language: str, seed: int) -> list[str]:
    """Shuffled sentences of Mandarin, Japanese or Hindi, in the spelling of foreign.py."""
    fillers = read_json(FOREIGN_TEXTS)[language]
    own = [text[0].lower() + text[1:] for text in template_sentences(fillers.pop("templates"), fillers)]
    return [own[k] for k in np.random.default_rng(seed).permutation(len(own))]


def wordnet_sentences(folder: Path = WORDNET) -> list[str]:
    """Quoted examples of 4 to 16 plain words from WordNet's data files; empty if they are not installed."""
    found: dict[str, None] = {}
    for path in sorted(folder.glob("data.*")):
        for line in path.read_text(encoding="latin-1").splitlines():
            for example in re.findall(r'"([^"]+)"', line.partition("|")[2]):
                if usable(example):
                    found[_sentence(example)] = None
    return list(found)


def usable(text: str) -> bool:
    """Plain words, not too few and not too many, none of them blocked, no abbreviations in capitals."""
    words = text.split()
    return (
        _WORDS[0] <= len(words) <= _WORDS[1]
        and _PLAIN.fullmatch(text) is not None
        and _BLOCKED.search(text) is None
        and not any(word.isupper() and len(word) > 1 for word in words)
    )


def _sentence(text: str) -> str:
    text = text.strip()
    return text[0].upper() + text[1:] + ("" if text[-1] in ".?!" else ".")


def held_out(text: str) -> bool:
    """True for the 5 % of sentences that are kept for testing: a property of the text, the same in every voice."""
    return hashlib.sha256(text.encode()).digest()[0] < 13  # 13 / 256


def sentences(seed: int, wordnet: Path = WORDNET) -> list[str]:
    """Shuffled sentences: WordNet's, with one template sentence for every nine of them, or templates alone."""
    rng = np.random.default_rng(seed)
    own, found = template_sentences(), wordnet_sentences(wordnet)
    own = [own[k] for k in rng.permutation(len(own))]
    mixed = found + own[: max(len(found) // 9, 1)] if found else own
    return [mixed[k] for k in rng.permutation(len(mixed))]
