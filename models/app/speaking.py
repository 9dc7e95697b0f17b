"""Recordings -> videos and coefficient files: one utterance, hours of speech, or many clips in shared batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from models.app.head_film import HeadFilm
from models.app.recording import LONG, Recording
from models.exports.motion_export import Exporter
from models.generation.animator import Animator
from models.generation.windows import GenerationConfig
from models.mixing.mixer import Mixer
from models.networks.person import Person
from utils.atomic import check_output
from utils.errors import UserError
from utils.media.audio import SoundPart
from utils.media.panels import AUDIO_NAME
from utils.motion_file import Motion, joined

log = logging.getLogger(__name__)
BYTES_PER_VIDEO_FRAME, BYTES_PER_MOTION_FRAME = 10_000, 250  # estimates, to check free disk space in advance
TOGETHER = 16  # samples generated in one batch, of at most LONG audio samples


@dataclass(frozen=True)
class Titles:
    """The caption of videos, and whether all samples share one video."""

    caption: str = ""  # at the bottom; AUDIO_NAME in it becomes the recording's file name
    together: bool = False  # all samples side by side in one video, labelled with their seeds

    def of(self, recording: Recording) -> str:
        """The caption for this recording."""
        return self.caption.replace(AUDIO_NAME, recording.path.name)


def numbered(path: Path, sample: int) -> Path:
    """The path of sample number `sample`: `<stem>_000.mp4`."""
    return path.with_name(f"{path.stem}_{sample:03d}{path.suffix}")


@dataclass(frozen=True)
class TalkingHead:
    """A person to animate, and the files to write for each recording."""

    animator: Animator
    person: Person[np.ndarray]  # shape (100,), style (d_style,)
    config: GenerationConfig
    seeds: list[int]  # one sample each
    film: HeadFilm | None  # None: write coefficients only
    save_coef: bool = False
    no_head: bool = False
    exporter: Exporter | None = None
    titles: Titles = field(default_factory=Titles)
    part: SoundPart = SoundPart()  # which sound of each recording is heard
    mixer: Mixer | None = None  # its configuration, for every motion

    def speak(self, recording: Recording, paths: list[Path]) -> None:
        """Generate one utterance and write one file per sample, or one video of all samples.

        Raises:
            UserError: an output cannot be written.
        """
        self.check_room(recording, paths)
        if recording.audio is not None:
            motions = self.animator(recording.audio, self.person, self.config, self.seeds)
            self._write_samples(paths, motions, recording)
        elif self.titles.together:
            self._write_samples(paths, [joined(list(self._long(recording, seed))) for seed in self.seeds], recording)
        else:
            for path, seed in zip(paths, self.seeds):
                self._write_long(path, recording, seed)

    def speak_all(self, inputs: list[Path], outputs: list[list[Path]]) -> list[Path]:
        """Generate many utterances, with windows of different ones in shared batches; returns the inputs that failed.

        The error of a failed input is logged as one line, and the other inputs are still processed.
        """
        failed, group = [], []
        for path, paths in zip(inputs, outputs):
            try:
                recording = Recording.read(path, self.part)
                self.check_room(recording, paths)
            except UserError as error:
                self._note(failed, path, error)
            else:
                group.append((recording, paths))
            if len(group) * len(self.seeds) >= TOGETHER or sum(r.scale.n_samples for r, _ in group) >= LONG:
                self._speak_group(group, failed)
                group = []
        if group:
            self._speak_group(group, failed)
        return failed

    def check_room(self, recording: Recording, paths: list[Path]) -> None:
        """Raises UserError if an output cannot be written or the disk is too full; called before generation."""
        suffix, size = (".npz", BYTES_PER_MOTION_FRAME) if self.film is None else (".mp4", BYTES_PER_VIDEO_FRAME)
        for path in paths:
            check_output(path.with_suffix(suffix), size * recording.n_frames * len(paths))

    def _speak_group(self, group: list[tuple[Recording, list[Path]]], failed: list[Path]) -> None:
        short = [recording.audio for recording, _ in group if recording.audio is not None]
        made = iter(self.animator.batch(short, self.person, self.config, self.seeds) if short else [])
        for recording, paths in group:
            try:
                if recording.audio is None:
                    self.speak(recording, paths)
                    continue
                self._write_samples(paths, next(made), recording)
            except UserError as error:
                self._note(failed, recording.path, error)

    @staticmethod
    def _note(failed: list[Path], path: Path, error: UserError) -> None:
        failed.append(path)
        log.error("error: %s", " ".join(str(error).split()))

    def _write_samples(self, paths: list[Path], motions: list[Motion], recording: Recording) -> None:
        motions = [self.posing()(motion) for motion in motions]
        if not self.titles.together or self.film is None:
            for path, motion in zip(paths, motions):
                if self.film is not None:
                    self.film.write(path, [motion], len(motion), recording.sound(), self.titles.of(recording))
                    log.info("wrote %s", path)
                self._write_data(path, motion, recording)
            return
        (path,) = paths
        takes = [(f"seed {seed}", motion) for seed, motion in zip(self.seeds, motions)]
        self.film.write_together(path, takes, recording.sound(), caption=self.titles.of(recording))
        log.info("wrote %s", path)
        for sample, motion in enumerate(motions):
            self._write_data(numbered(path, sample), motion, recording)

    def _write_data(self, path: Path, motion: Motion, recording: Recording) -> None:
        """Write the exports and the coefficients of one sample."""
        if self.exporter is not None:
            self.exporter.write(motion, path.with_suffix(""), recording.sound())
        if self.save_coef or self.film is None:
            motion.save(path.with_suffix(".npz"))
            log.info("wrote %s", path.with_suffix(".npz"))

    def _write_long(self, path: Path, recording: Recording, seed: int) -> None:
        """Generate, draw and encode one window after the other; only the coefficients stay in memory."""
        made: list[Motion] = []
        pieces = self._kept(self._long(recording, seed), made)
        if self.film is not None:
            self.film.write(path, pieces, recording.n_frames, recording.sound(), self.titles.of(recording))
            log.info("wrote %s", path)
        else:
            with tqdm(total=recording.n_frames, desc=f"generating {path.name}", unit="frame") as shown:
                for piece in pieces:
                    shown.update(len(piece))
        self._write_data(path, joined(made), recording)

    def _long(self, recording: Recording, seed: int) -> Iterator[Motion]:
        found = self.animator.long(recording.blocks(), recording.scale, self.person, self.config, seed)
        return map(self.posing(), found)

    @staticmethod
    def _kept(motions: Iterator[Motion], kept: list[Motion]) -> Iterator[Motion]:
        for motion in motions:
            kept.append(motion)
            yield motion

    def posing(self) -> Callable[[Motion], Motion]:
        """What changes one motion, piece by piece: no head rotation if `no_head` is set, then the mixer."""
        mixer = Mixer() if self.mixer is None else self.mixer.fresh()
        return lambda motion: mixer.push(motion.without_head_motion() if self.no_head else motion)
