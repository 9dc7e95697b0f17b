"""Real talkers for `fit_visemes`: tracked clips with sound and words -> phones, and mouths over time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from models.heads.flame import load_flame
from models.tracking.embedding import LandmarkHead
from scripts_for_dataset.synthetic.levers import lip_tracks
from scripts_for_dataset.synthetic.motion import find_phrases
from scripts_for_dataset.synthetic.pauses import pauses
from scripts_for_dataset.synthetic.prosody import analyse, vowel_loudness
from scripts_for_dataset.synthetic.rule_fit import Spoken
from scripts_for_dataset.synthetic.style import SpeakerStyle
from scripts_for_dataset.synthetic.visemes import segments
from utils.errors import UserError
from utils.media.alignment import align_pronunciations
from utils.media.audio import load_audio
from utils.reading.array_file import read_npz
from utils.reading.json_file import parse_json, read_lines
from utils.speech import Phone
from utils.timebase import samples_per_frame

log = logging.getLogger(__name__)
_SILENT = ("sil", "sp")
_LOST = 3  # frames without a face that a clip may have
# GRID's 51 words as its talkers say them: British English, letters by their names
PRONUNCIATIONS = {
    "bin": "b ih n", "lay": "l ey", "place": "p l ey s", "set": "s eh t", "blue": "b l uw", "green": "g r iy n",
    "red": "r eh d", "white": "w ay t", "at": "ae t", "by": "b ay", "in": "ih n", "with": "w ih dh", "a": "ey",
    "b": "b iy", "c": "s iy", "d": "d iy", "e": "iy", "f": "eh f", "g": "jh iy", "h": "ey ch", "i": "ay", "j": "jh ey",
    "k": "k ey", "l": "eh l", "m": "eh m", "n": "eh n", "o": "ow", "p": "p iy", "q": "k y uw", "r": "aa", "s": "eh s",
    "t": "t iy", "u": "y uw", "v": "v iy", "x": "eh k s", "y": "w ay", "z": "z eh d", "zero": "z ih r ow",
    "one": "w ah n", "two": "t uw", "three": "th r iy", "four": "f ao", "five": "f ay v", "six": "s ih k s",
    "seven": "s eh v ah n", "eight": "ey t", "nine": "n ay n", "again": "ah g eh n", "now": "n aw",
    "please": "p l iy z", "soon": "s uw n",
}  # fmt: skip


@dataclass(frozen=True)
class TalkerClip:
    """One clip: who, the sound's phones, and what the rules are compared with."""

    name: str
    talker: str
    words: list[str]
    phones: list[Phone]
    spoken: Spoken


def read_words(path: Path) -> dict[str, list[str]]:
    """{"talker/clip": its words, without silences} of lines {"clip": ..., "words": [[word, start, end], ...]}."""
    rows = [parse_json(line, f"{path}, line {n}") for n, line in enumerate(read_lines(path), 1) if line.strip()]
    return {row["clip"]: [word for word, *_ in row["words"] if word not in _SILENT] for row in rows}


def read_talkers(motion: Path, words: Path, audio: Path, most: int) -> list[TalkerClip]:
    """At most `most` clips of every talker; without those whose face was lost or whose words do not fit.

    Raises:
        UserError: a missing folder or file, a word without a pronunciation, or no clip at all.
    """
    said = read_words(words)
    found = [name for name in said if (motion / f"{name}.npz").is_file()]
    chosen = []
    for talker in sorted({name.split("/")[0] for name in found}):
        clips = [name for name in found if name.split("/")[0] == talker]
        chosen += clips[:: max(1, -(-len(clips) // most))]  # evenly: neighbours in the list share their words
    if not chosen:
        raise UserError(f"--motion {motion}: holds none of the clips in {words}; track them with track_video first")
    return list(_clips(motion, said, audio, chosen))


def _clips(motion: Path, words: dict[str, list[str]], audio: Path, names: list[str]) -> Iterator[TalkerClip]:
    head = LandmarkHead(load_flame().head)
    talkers = sorted({name.split("/")[0] for name in names})
    for name in tqdm(names, desc="clips"):
        file = read_npz(motion / f"{name}.npz")
        if "found" in file and (~file["found"].astype(bool)).sum() > _LOST:
            continue
        sound = load_audio(_recording(audio, name))
        try:
            phones = align_pronunciations(sound, [_pronunciation(word) for word in words[name]])
        except UserError as error:
            log.warning("%s left out: %s", name, error)
            continue
        talker = name.split("/")[0]
        yield TalkerClip(name, talker, words[name], phones, _spoken(head, file, sound, phones, talkers.index(talker)))


def _recording(audio: Path, name: str) -> Path:
    found = sorted(audio.glob(f"{name}.*"))
    if not found:
        raise UserError(f"--audio {audio}: no sound of {name}")
    return found[0]


def _pronunciation(word: str) -> str:
    if word not in PRONUNCIATIONS:
        raise UserError(f"--words: {word!r} has no pronunciation; add it to PRONUNCIATIONS in synthetic/talkers.py")
    return PRONUNCIATIONS[word]


def _spoken(head: LandmarkHead, file: dict, sound: np.ndarray, phones: list[Phone], talker: int) -> Spoken:
    rows = [(phone.name, phone.start, phone.end) for phone in phones]
    n = len(file["exp"])
    sound = np.pad(sound, (0, max(0, n * samples_per_frame() - len(sound))))
    effort = 1 + SpeakerStyle().expressiveness * vowel_loudness(analyse(sound), rows)
    exp, jaw = (torch.from_numpy(values.astype(np.float64)) for values in (file["exp"], file["pose"][:, 3]))
    seen = np.column_stack([lip_tracks(head, exp, jaw).numpy(), file["pose"][:, 3]]).astype(np.float32)
    return Spoken(segments(rows, effort), np.array(pauses(find_phrases(rows))).reshape(-1, 2), seen, talker)
