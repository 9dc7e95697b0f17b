"""The sentences of foreign.py in the letters that espeak-ng reads: pinyin, kana, Devanagari."""

from __future__ import annotations

import re

_VOWELS = "aiueo"
_KANA_ROWS = {
    "": "あいうえお", "k": "かきくけこ", "s": "さしすせそ", "t": "たちつてと", "n": "なにぬねの", "h": "はひふへほ",
    "m": "まみむめも", "y": "や ゆ よ", "r": "らりるれろ", "w": "わ   を", "g": "がぎぐげご", "z": "ざじずぜぞ",
    "d": "だぢづでど", "b": "ばびぶべぼ", "p": "ぱぴぷぺぽ",
}  # fmt: skip
_KANA = {row + vowel: kana[k] for row, kana in _KANA_ROWS.items() for k, vowel in enumerate(_VOWELS) if kana[k] != " "}
_SMALL = {"a": "ゃ", "u": "ゅ", "o": "ょ"}
_KANA |= {row + "y" + v: _KANA[row + "i"] + small for row in "knhmrgbp" for v, small in _SMALL.items()}
_KANA |= {
    row + v: kana + small for row, kana in (("sh", "し"), ("ch", "ち"), ("j", "じ")) for v, small in _SMALL.items()
}
_KANA |= {"shi": "し", "chi": "ち", "ji": "じ", "tsu": "つ", "fu": "ふ", "n": "ん", "n'": "ん", "q": "っ"}

_LATIN = "k kh g gh ch chh j jh T Th D Dh R Rh t th d dh n p ph b bh m y r l v sh s h z f aa i ii u uu e o ai au a"
_LETTERS = "क ख ग घ च छ ज झ ट ठ ड ढ ड़ ढ़ त थ द ध न प फ ब भ म य र ल व श स ह ज़ फ़ आ इ ई उ ऊ ए ओ ऐ औ अ"
_SIGNS = "ा ि ी ु ू े ो ै ौ"
_DEVANAGARI = dict(zip(_LATIN.split(), _LETTERS.split(), strict=True))
_SIGN = dict(zip(_LATIN.split()[-10:], [*_SIGNS.split(), ""], strict=True))  # a vowel after a consonant
_HINDI = re.compile("chh|[kgcjTDRtdpbs]h|aa|ii|uu|ai|au|[a-zA-Z~']")
_ROMAJI = re.compile("(?:sh|ch|ts|[knhmrgbp]y|[kstnhmyrwgzdbpfj])?[aiueo]|n'?|q")


def native_text(language: str, text: str) -> str:
    """A sentence of foreign_texts.json in the language's script; pinyin stays as it is."""
    if language == "Japanese":
        doubled = re.sub("(k|s|t|p)(?=\\1)", "q", text.lower()).replace("ssh", "qsh").replace("tch", "qch")
        return _ROMAJI.sub(lambda match: _KANA[match[0]], doubled)
    return re.sub("[a-zA-Z~']+", lambda match: _devanagari(match[0]), text) if language == "Hindi" else text


def _devanagari(word: str) -> str:
    """A consonant before another one loses its vowel; at the end of a word readers leave it out."""
    written, bare = "", False  # bare: the last letter is a consonant that waits for its vowel
    for sound in _HINDI.findall(word):
        if sound in _SIGN:
            written += (_SIGN if bare else _DEVANAGARI)[sound]
            bare = False
        elif sound == "~":
            written += "ं"
        elif sound != "'":
            written += ("्" if bare else "") + _DEVANAGARI[sound]
            bare = True
    return written
