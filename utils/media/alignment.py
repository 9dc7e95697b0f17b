"""When each phone of a recording is spoken: forced alignment with pocketsphinx (requirements-bench.txt).

The recogniser's US English model and dictionary come with its wheel. Against exact times its phone borders are off by
9 ms (median), 23 ms (90th percentile); a video frame is 40 ms.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.reading.json_file import read_lines
from utils.speech import Phone, phone_name
from utils.timebase import SAMPLE_RATE

PAD = 0.1  # seconds of silence on both sides; without it the search fails at the ends
TICK = 0.01  # seconds per frame of the recogniser
LEVEL = 0.7  # peak after normalisation


def words_of(transcript: str) -> list[str]:
    """Lower-case words, without punctuation."""
    return re.sub(r"[^a-z' ]", " ", transcript.lower()).split()


def align_phones(audio: np.ndarray, transcript: str) -> list[Phone]:
    """Phones of a recording whose words are known.

    Args:
        audio: float (n,), 16 kHz mono, some seconds.
        transcript: its words; all must be in the recogniser's dictionary.

    Raises:
        UserError: pocketsphinx missing, a word not in the dictionary, or words that do not fit the sound.
    """
    words = words_of(transcript)
    decoder = _decoder()
    unknown = sorted({word for word in words if decoder.lookup_word(word) is None})
    if unknown or not words:
        raise UserError(
            f"transcript {transcript!r}: not in the dictionary: {', '.join(unknown) or '(empty)'}; respell it"
        )
    return _align(decoder, audio, words, f"transcript {transcript!r}")


def align_pronunciations(audio: np.ndarray, pronunciations: list[str]) -> list[Phone]:
    """Phones of a recording in another language, spelt with the English phones that come closest.

    Args:
        audio: float (n,), 16 kHz mono, some seconds.
        pronunciations: of each word, ARPAbet with spaces; stress is ignored.

    Raises:
        UserError: pocketsphinx missing, unknown phones, or words that do not fit the sound.
    """
    decoder = _decoder()
    words = [f"w{number}" for number in range(len(pronunciations))]
    for word, phones in zip(words, pronunciations):
        try:
            decoder.add_word(word, " ".join(map(phone_name, phones.split())).upper(), update=word == words[-1])
        except RuntimeError as error:
            raise UserError(f"pronunciation {phones!r}: not ARPAbet phones; respell it") from error
    return _align(decoder, audio, words, f"pronunciation {' | '.join(pronunciations)!r}")


def _align(decoder, audio: np.ndarray, words: list[str], what: str) -> list[Phone]:
    pcm = _pcm(audio)
    try:
        decoder.set_align_text(" ".join(words))
        _decode(decoder, pcm)
        if decoder.hyp() is None or len(decoder.hyp().hypstr.split()) != len(words):
            raise RuntimeError("no path through the words")
        decoder.set_alignment()  # second pass: phones within the words found
        _decode(decoder, pcm)
        alignment = decoder.get_alignment()  # its entries live no longer than this object
    except RuntimeError as error:
        raise UserError(f"{what}: does not fit the recording ({error}); correct it") from error
    return [_phone(entry, len(audio) / SAMPLE_RATE) for word in alignment for entry in word]


def _decoder():
    """A fresh recogniser: one that has aligned before, or has wider beams, fails on later recordings."""
    try:
        from pocketsphinx import Decoder  # pyright: ignore[reportMissingImports]  # optional
    except ImportError as error:
        raise UserError("pocketsphinx is not installed; pip install -r requirements-bench.txt") from error
    return Decoder(lm=None, loglevel="FATAL")


def _pcm(audio: np.ndarray) -> bytes:
    padded = np.pad(np.asarray(audio, np.float32), round(PAD * SAMPLE_RATE))
    return (padded / (np.abs(padded).max() + 1e-9) * LEVEL * 32767).astype("<i2").tobytes()


def _decode(decoder, pcm: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()


def _phone(entry, length: float) -> Phone:
    """The recogniser's entry, with the padding's time taken off, within 0..length seconds."""
    name = entry.name.lower()
    start, end = entry.start * TICK - PAD, (entry.start + entry.duration) * TICK - PAD
    return Phone("sil" if name.startswith("+") else name, max(start, 0.0), min(max(end, 0.0), length))


def read_transcripts(path: Path) -> dict[str, str]:
    """Tab-separated `file<TAB>transcript` lines under a heading -> {file stem: transcript}.

    Raises:
        UserError: missing file or a line without a tab.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such transcript list; one line per recording: file<TAB>words")
    result = {}
    for number, line in enumerate(read_lines(path)[1:], 2):
        name, tab, words = line.partition("\t")
        if line.strip() and not tab:
            raise UserError(f"{path}, line {number}: no tab; write file<TAB>words")
        if line.strip():
            result[Path(name.strip()).stem] = words.strip()
    return result
