"""What is said when: phones, clips of speech, and `phones.jsonl`: the phones of a data set, one clip per line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.atomic import atomic_path
from utils.errors import UserError
from utils.motion_file import Motion
from utils.reading.json_file import parse_json, read_lines
from utils.timebase import FPS

PHONES_FILE = "phones.jsonl"
SILENCE = "sil"
MAX_SECONDS = 1e6  # longer than any clip
BILABIALS = frozenset(["p", "b", "m"])
_PAUSES = frozenset(["", "sp", "ssil", "pau", "h#", "<sil>", "<eps>"])  # other aligners' names of silence


@dataclass(frozen=True)
class Phone:
    """One phone: lower-case ARPAbet without stress ('sil' for pauses) and its borders in seconds."""

    name: str
    start: float
    end: float

    def frames(self, fps: int = FPS) -> range:
        """Motion frames whose middles (i + 1/2) / fps lie in the phone; the one around its middle if there is none."""
        first, last = round(self.start * fps), round(self.end * fps)
        if last > first:
            return range(first, last)
        nearest = int((self.start + self.end) / 2 * fps)
        return range(nearest, nearest + 1)


def phone_name(name: str) -> str:
    """A phone as `Phone` has it, from ARPAbet in capitals, with stress (AA1) or Kaldi's place in the word (AA1_B)."""
    plain = re.sub("(?<=[a-z])[0-2]?(_[bies])?$", "", name.strip().lower())
    return SILENCE if plain in _PAUSES else plain


def read_phones(path: str | Path) -> dict[str, list[Phone]]:
    """Phones of every clip of a `phones.jsonl`; names are ARPAbet in any of the spellings of `phone_name`.

    Raises:
        UserError: missing file, or a line that is not {"clip": name, "phones": [[phone, start, end], ...]}.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; make_synthetic_dataset writes it")
    result = {}
    for number, line in enumerate(read_lines(path), start=1):
        row = parse_json(line, f"{path}: line {number}")
        try:
            phones = [Phone(phone_name(str(p)), float(start), float(end)) for p, start, end in row["phones"]]
            if not all(-1 <= phone.start <= phone.end <= MAX_SECONDS for phone in phones):  # also false for NaN
                raise ValueError("times must increase")
            result[str(row["clip"])] = phones
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise UserError(f"{path}: line {number} is not a clip with phones ({error}); make it again") from error
    return result


def write_phones(path: str | Path, phones: Mapping[str, list[Phone]]) -> None:
    """Write `phones.jsonl`, whole or not at all; times are rounded to 0.1 ms."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for clip, spoken in phones.items():
            rows = [[p.name, round(p.start, 4), round(p.end, 4)] for p in spoken]
            file.write(json.dumps({"clip": clip, "phones": rows}) + "\n")


@dataclass(frozen=True)
class SpokenClip:
    """One clip of an evaluation."""

    name: str  # <person>/<video>
    speaker: str
    audio: np.ndarray  # float32 (640 T,), 16 kHz, not standardised
    truth: Motion  # T frames, with a shape
    style_motion: Motion  # the first 4 s (one style window) of another clip of the speaker, or of this one
    phones: tuple[Phone, ...] | None = None  # None: not known

    def __post_init__(self) -> None:
        if self.truth.shape is None:
            raise ValueError(f"{self.name}: the true motion has no shape; give the head's 100 coefficients")

    @property
    def n_frames(self) -> int:
        return len(self.truth)
