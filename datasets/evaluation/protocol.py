"""The protocol of an evaluation as a file: which clips, each with its style reference and seed (docs/metrics.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datasets.spoken_clips import STYLE_FRAMES
from utils.atomic import write_text
from utils.errors import UserError
from utils.reading.json_file import read_json
from utils.timebase import FPS

FORMAT = "evaluation-protocol-1"
_AGAIN = "get the file that belongs to this data set, or let evaluate.py write one"
_KINDS = {"clip": str, "frames": int, "style_clip": str, "style_start": int, "seed": int}


@dataclass(frozen=True)
class ProtocolClip:
    """One clip to score."""

    clip: str  # <person>/<video>
    frames: int  # its length at 25 fps
    style_clip: str  # its style comes from 100 frames of this clip ...
    style_start: int  # ... from this frame on
    seed: int  # of the first sample; sample i has seed + i

    @property
    def own_style(self) -> bool:
        """Whether the style comes from the very motion that is to be generated."""
        return self.clip == self.style_clip


@dataclass(frozen=True)
class EvaluationProtocol:
    """The clips of a split that are scored."""

    split: str
    clips: tuple[ProtocolClip, ...]

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all, with one line for each clip."""
        lines = ",\n".join(f"  {json.dumps(asdict(one), ensure_ascii=False)}" for one in self.clips)
        head = f'"format": "{FORMAT}", "split": {json.dumps(self.split)}, "fps": {FPS}, "style_frames": {STYLE_FRAMES}'
        write_text(path, f'{{{head}, "clips": [\n{lines}\n]}}\n')

    @classmethod
    def read(cls, path: Path) -> EvaluationProtocol:
        """Read a file that `write`, or another program, has written.

        Raises:
            UserError: unreadable, of another format, or an entry that is not a clip.
        """
        content = read_json(path)
        wanted = {"format": FORMAT, "fps": FPS, "style_frames": STYLE_FRAMES}
        for key, value in wanted.items():
            if content.get(key) != value:
                raise UserError(f"{path}: {key} is {content.get(key)!r}, not {value!r}; {_AGAIN}")
        split, rows = content.get("split"), content.get("clips")
        if not isinstance(split, str) or not isinstance(rows, list) or not rows:
            raise UserError(f"{path}: needs a name as split and a list of clips; {_AGAIN}")
        clips = tuple(_entry(row, f"{path}: clip {number}") for number, row in enumerate(rows, start=1))
        if len({one.clip for one in clips}) < len(clips):
            raise UserError(f"{path}: a clip is listed twice; list each clip once")
        return cls(split, clips)

    def check(self, split: str, lengths: Mapping[str, int], path: Path) -> None:
        """Compare with a data set: `lengths` are the frames of its usable clips.

        Raises:
            UserError: another split, an unknown clip, another length, or a style reference beyond its clip's end.
        """
        if split != self.split:
            raise UserError(f"{path}: is for the split {self.split!r}; give --split {self.split}")
        for one in self.clips:
            for clip in (one.clip, one.style_clip):
                if clip not in lengths:
                    raise UserError(f"{path}: {clip!r} is not among the usable clips of {split}.txt; {_AGAIN}")
            if lengths[one.clip] != one.frames:
                raise UserError(
                    f"{path}: {one.clip} has {one.frames} frames, in the data {lengths[one.clip]}; {_AGAIN}"
                )
            if one.own_style and one.style_start:
                raise UserError(f"{path}: {one.clip} is its own style reference; its style_start must be 0")
            last = lengths[one.style_clip] - STYLE_FRAMES
            if one.style_start > last:
                raise UserError(f"{path}: {one.clip}: style_start {one.style_start} is too late; {one.style_clip} "
                                f"allows 0 to {last}")  # fmt: skip


def _entry(row: Any, source: str) -> ProtocolClip:
    known = isinstance(row, dict) and row.keys() == _KINDS.keys()
    if not known or not all(type(row[name]) is kind for name, kind in _KINDS.items()):
        raise UserError(
            f"{source}: needs clip, style_clip (names), frames, style_start, seed (whole numbers); {_AGAIN}"
        )
    if min(row["frames"], row["style_start"], row["seed"]) < 0 or row["seed"] >= 2**62:
        raise UserError(f"{source}: frames, style_start and seed must be at least 0, the seed below 2^62")
    return ProtocolClip(**row)
