"""Recordings of talking people with what their mouths do, kept so that the videos are watched only once.

A file `<cache>/<person>/<clip>.npz` holds `audio` (n,) int16 at 16 kHz, `seen` (T,) float32, `exp` (T, 50) and `pose`
(T, 6) of the tracked motion on the average head, all at 25 fps from the beginning of the sound, and `words` (JSON).
With all files there, neither videos nor MediaPipe are needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from datasets.splits import group_by_person, split_of
from models.tracking.person import ruler
from models.tracking.video import film_of, output_times, track_video
from utils.atomic import write_npz
from utils.errors import UserError
from utils.media.audio import FULL_SCALE, SoundPart, load_audio
from utils.media.video_frames import VIDEO_SUFFIXES
from utils.motion_file import OPEN_HEAD, Motion
from utils.reading.array_file import read_npz
from utils.reading.json_file import parse_json, read_lines
from utils.timebase import FPS
from utils.trackers.landmarker import check_installed

Words = Sequence[tuple[str, float, float]]  # word, start and end in seconds
NOT_SHUT = ("ph", "pn", "ps", "pt")  # beginnings of words whose p is not spoken
FEWEST_SEEN = 0.9  # share of a clip's frames that must show the mouth


def shut_onsets(words: Words) -> list[float]:
    """Seconds at which words begin that begin with shut lips: b and p."""
    return [start for word, start, _ in words if word[0] in "bp" and not word.startswith(NOT_SHUT)]


@dataclass(frozen=True)
class Recording:
    """One clip, T frames."""

    clip: str  # <person>/<name>
    audio: np.ndarray  # (n,) float32, 16 kHz
    seen: np.ndarray  # (T,) float32, mm of the ruler between landmarks 13 and 14; NaN where no face was found
    motion: Motion  # T frames on the average head
    words: Words = ()

    @property
    def person(self) -> str:
        return self.clip.rpartition("/")[0]

    @property
    def onsets(self) -> list[float]:
        """Seconds at which words begin with shut lips."""
        return shut_onsets(self.words)

    def save(self, path: Path) -> None:
        """Write its file of the cache."""
        path.parent.mkdir(parents=True, exist_ok=True)
        audio = np.clip(np.round(self.audio * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
        arrays = {"audio": audio, "seen": self.seen.astype(np.float32), "exp": self.motion.exp}
        write_npz(path, arrays | {"pose": self.motion.pose, "words": np.array(json.dumps(self.words))})

    @classmethod
    def load(cls, cache: Path, clip: str) -> Recording:
        """Raises UserError: the file of the cache is damaged."""
        path = cache / f"{clip}.npz"
        file = read_npz(path)
        try:
            audio, words = file["audio"].astype(np.float32) / FULL_SCALE, json.loads(str(file["words"]))
            motion = Motion(file["exp"], file["pose"], None, clip, OPEN_HEAD)
            return cls(clip, audio, file["seen"], motion, [tuple(word) for word in words])
        except (KeyError, ValueError) as error:
            raise UserError(f"{path}: is no file of the cache ({error}); delete it") from error


def watched(video: Path, clip: str, words: Words) -> Recording:
    """Sound, landmarks and tracked motion of a video.

    Raises:
        UserError: see `track_video` and `load_audio`.
    """
    tracked = track_video(video)
    film = film_of(tracked.sightings)
    openings = ruler(torch.from_numpy(film.points.astype(np.float64))).numpy()
    times = output_times(film.times)  # those of the tracked motion
    there = np.flatnonzero(np.isfinite(openings))
    seen = np.interp(times, film.times[there], openings[there])
    nearest = np.abs(times[:, None] - film.times[there]).min(axis=1)
    seen[nearest > 1 / FPS] = np.nan
    return Recording(clip, load_audio(video, part=SoundPart(clock=tracked.begins_with)), seen, tracked.motion, words)


def read_words(folder: Path) -> dict[str, Words]:
    """Word times of each clip from words.jsonl in the folder or beside it; none without one.

    Raises:
        UserError: a line that is not {"clip": ..., "words": ...}.
    """
    path = next((p for p in (folder / "words.jsonl", folder.parent / "words.jsonl") if p.is_file()), None)
    found: dict[str, Words] = {}
    for number, line in enumerate(read_lines(path) if path else [], start=1):
        value = parse_json(line, f"{path}:{number}")
        if not isinstance(value.get("clip"), str) or not isinstance(value.get("words"), list):
            raise UserError(f'{path}:{number}: is not {{"clip": "person/clip", "words": [[word, start, end], ...]}}')
        found[value["clip"]] = value["words"]
    return found


@dataclass(frozen=True)
class Choice:
    """Clips of one person."""

    measured: list[str]
    style: list[str]  # whose motion the person's style is taken from: other clips, if there are any


def choose(clips: Sequence[str], held_out: bool, n_clips: int, n_style: int) -> Choice:
    """Clips evenly spread over a person's; of one who was trained on, only held-out ones are measured."""
    pool = [clip for clip in clips if not held_out or split_of(clip) != "train"]
    measured = spread(pool, n_clips)
    others = [clip for clip in clips if clip not in measured and (not held_out or split_of(clip) == "train")]
    return Choice(measured, spread(others or measured, n_style))


def spread(clips: Sequence[str], n: int) -> list[str]:
    """n of the clips, evenly spread."""
    return [clips[i] for i in np.unique(np.linspace(0, len(clips) - 1, min(n, len(clips))).round().astype(int))]


class Cache:
    """The recordings of a folder of videos, of a cache, or of both."""

    def __init__(self, faces: Path | None, folder: Path) -> None:
        """Raises UserError: neither holds any clip."""
        self.folder = folder
        self.videos = {f"{p.parent.name}/{p.stem}": p for p in sorted(faces.glob("*/*") if faces else ())
                       if p.suffix.lower() in VIDEO_SUFFIXES}  # fmt: skip
        self.words = read_words(faces) if faces else {}
        kept = {f"{p.parent.name}/{p.stem}" for p in folder.glob("*/*.npz")}
        self.people: Mapping[str, list[str]] = group_by_person(sorted(self.videos or kept))
        if not self.people:
            where = f"--faces {faces}, --cache {folder}: neither holds" if faces else f"--cache {folder}: holds no"
            raise UserError(f"{where} <person>/<clip> files; give a folder of videos or a filled cache")

    def read(self, clips: Iterable[str]) -> list[Recording]:
        """Recordings in which the mouth is seen; those not yet in the cache are watched first.

        Raises:
            UserError: MediaPipe is missing and needed, or a file of the cache is damaged.
        """
        found = []
        for clip in tqdm(list(clips), desc="reading", unit="clip", leave=False, disable=None):
            recording = self._read(clip)
            if recording is not None and np.isfinite(recording.seen).mean() >= FEWEST_SEEN:
                found.append(recording)
        return found

    def _read(self, clip: str) -> Recording | None:
        path = self.folder / f"{clip}.npz"
        if not path.is_file():
            check_installed()
            try:
                watched(self.videos[clip], clip, self.words.get(clip, ())).save(path)
            except UserError as error:
                tqdm.write(f"left out: {error}")
                return None
        recording = Recording.load(self.folder, clip)
        return replace(recording, words=self.words[clip]) if clip in self.words else recording
