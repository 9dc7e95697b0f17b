"""Engines' phone names -> the ARPAbet names of the viseme tables, with the time that their marks hold."""

from __future__ import annotations

from collections.abc import Mapping

Timed = list[tuple[str, float, float]]

# Letters of the neural voices' phone alphabet (IPA with capitals for diphthongs) and of IPA itself.
_IPA_PAIRS = {"eɪ": "ey", "aɪ": "ay", "oʊ": "ow", "aʊ": "aw", "ɔɪ": "oy", "əʊ": "ow", "tʃ": "ch", "dʒ": "jh"}
_IPA_LETTERS = "AIOWYQʤʧiuɑɒɔæaʌəɐᵊɪᵻɨɛeɜɚʊobdfɡghjklmnŋpɹrsʃtɾvwzʒðθʔ"
_IPA_PHONES = """
ey ay ow aw oy ow jh ch iy uw aa aa ao ae ae ah ax ax ax ih ih ih eh eh er er uh ow b d f g g hh y k l m n ng p r r s sh
t dx v w z zh dh th t
"""
ENGLISH = dict(zip(_IPA_LETTERS, _IPA_PHONES.split(), strict=True))
_FOREIGN_LETTERS = "aeoyɤɥxçɕʂʐɻʨꭧʦʣʥɴɸɲɯɨʋʈɖɳɽɟc"
_FOREIGN_PHONES = "aa eh ao uw ah w hh hh sh sh zh r ch ch s z jh n w n uw ih v t d n dx jh ch"
# Letters of other languages: an open "a", and the first half of a geminate, whose time belongs to the phone after.
FOREIGN = ENGLISH | dict(zip(_FOREIGN_LETTERS, _FOREIGN_PHONES.split(), strict=True)) | {"ʔ": ""}
_HOLD_PREVIOUS = set("ːʲ̩̯̃‍→↗↓↘")  # length, voice and tone marks: their time belongs to the phone before
_STRESS = set("ˈˌʰ")  # their time, and the breath's after a stop, belongs to the phone after
_WORD_GAP = 0.08  # seconds: a longer space between words is a silence

_ESPEAK_TABLE = """
@=ax @2=ax @5=ax @L=ax a#=ax 3=er 3:=er a=ae aa=ae 0=aa A:=aa A@=aa O=ao O:=ao O2=ao O@=ao o@=ao V=ah E=eh e=eh
e@=eh I=ih I#=ih I2=ih i=iy i:=iy i@=iy i@3=iy u:=uw u=uw U=uh U@=uh eI=ey aI=ay aI@=ay aI3=ay oU=ow oU#=ow @U=ow
aU=aw aU@=aw OI=oy D=dh T=th S=sh Z=zh tS=ch dZ=jh N=ng j=y h=hh r=r r-=r l=l l#=l @l=l n-=n m-=m t#=dx t2=t d#=d
*=dx ?=t w#=w z#=z
"""
_ESPEAK = {symbol: phone for symbol, _, phone in (pair.partition("=") for pair in _ESPEAK_TABLE.split())}
_FOREIGN_TABLE = """
a=aa a:=aa a~=aa A=aa V=ah @=ax @3=ax o-=ah e=eh e:=eh e~=eh E=eh E:=eh E~=eh ei=ey ai=ay Au=aw i=iy i:=iy i~=iy I=ih
i[=ih i.=ih iA=aa iE=eh iou=ow uo=ao u=uw u:=uw U=uh ua=aa u@=ax uei=ey y=uw y&=aa yE=eh o=ao o:=ao O:=ao ong=uh ou=ow
u~=n ph=p th=t kh=k b#=b p#=p t#=t d#=d k#=k g#=g t.=t d.=d r.=dx r.#=dx t.#=t d.#=d N=ng N\\=n S;=sh s\\=sh s.=sh
tS;=ch tS;h=ch ts.=ch ts.h=ch t_s\\=ch d_z\\=jh t_s=s ts=s tsh=s z.=r X=hh C=hh H=hh p\\=w _j=y ;=y c=ch c#=ch J=jh
J#=jh r`=dx *=dx j=y v=v h=hh l=l
"""
_ESPEAK_FOREIGN = {symbol: phone for symbol, _, phone in (pair.partition("=") for pair in _FOREIGN_TABLE.split())}


def merge_ipa(tokens: Timed, letters: Mapping[str, str] = ENGLISH) -> Timed:
    """Timed characters of an IPA string -> timed ARPAbet phones.

    Stress marks and letters of "" give their time to the next phone, length marks to the one before, spaces split
    theirs between both neighbours (or are a silence from 80 ms on), anything else that is not a phone is silence.
    """
    phones: list[list] = []
    pending: float | None = None
    skip = False
    for k, (mark, start, end) in enumerate(tokens):
        following = tokens[k + 1] if k + 1 < len(tokens) else ("", end, end)
        if skip:
            skip = False
        elif mark in _STRESS or letters.get(mark) == "":
            pending = start if pending is None else pending
        elif mark in _HOLD_PREVIOUS:
            _extend(phones, end)
        elif mark == " " and end - start < _WORD_GAP:
            pending = (start + end) / 2
            _extend(phones, pending)
        else:
            skip = mark + following[0] in _IPA_PAIRS
            name = _IPA_PAIRS[mark + following[0]] if skip else letters.get(mark, "sil")
            phones.append([name, start if pending is None else pending, following[2] if skip else end])
            pending = None
    return join_silence([(name, start, end) for name, start, end in phones if end > start])


def _extend(phones: list[list], end: float) -> None:
    if phones:
        phones[-1][2] = end


def join_silence(phones: Timed) -> Timed:
    """Neighbouring silences become one."""
    joined: Timed = []
    for phone, start, end in phones:
        if joined and phone == "sil" == joined[-1][0]:
            joined[-1] = ("sil", joined[-1][1], end)
        else:
            joined.append((phone, start, end))
    return joined


def from_espeak(name: str, foreign: bool = False) -> str:
    """espeak-ng's phone mnemonic -> ARPAbet; pauses begin with an underscore.

    foreign: of Mandarin, Japanese or Hindi, where a letter can be another phone than in English.
    """
    if foreign and name in _ESPEAK_FOREIGN:
        return _ESPEAK_FOREIGN[name]
    if name.startswith("_"):
        return "sil"
    plain = name.rstrip("#;:-2").lower()
    return _ESPEAK.get(name, plain)
