"""Runs a stream: writes frames as they are generated, and reports how fast that was."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from models.app.head_film import HeadFilm
from models.generation.live import LiveTalker
from utils.errors import UserError
from utils.media.audio import Sound
from utils.media.frame_writers import LINE_SUFFIXES, STDOUT, LineWriter
from utils.motion_file import Motion, joined
from utils.timebase import SAMPLE_RATE

log = logging.getLogger(__name__)


class FrameOutput(Protocol):
    """A sink for the frames of a stream."""

    def write(self, motion: Motion) -> None: ...

    def close(self) -> None: ...


class FileAtTheEnd:
    """Keeps the motion and, for a video of a pipe, the audio; writes one file when the stream ends."""

    def __init__(self, path: Path, film: HeadFilm | None, sound: Sound | None = None) -> None:
        """sound: of the video; None: what `listen` hears."""
        self.path, self.film, self.sound = path, film, sound
        self.made: list[Motion] = []
        self.heard: list[np.ndarray] = []

    def listen(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Pass the blocks on, and keep them if the file has sound."""
        for block in blocks:
            if self.film is not None and self.sound is None:
                self.heard.append(block)
            yield block

    def write(self, motion: Motion) -> None:
        """Keep a piece of motion."""
        self.made.append(motion)

    def close(self) -> None:
        """Write the file, unless there is no motion."""
        if not self.made:
            return
        motion = joined(self.made)
        if self.film is None:
            motion.save(self.path)
        else:
            self.film.write(self.path, [motion], len(motion), self.sound or self.heard)
        log.info("wrote %s", self.path)


def open_output(output: str | Path, film: HeadFilm | None, sound: Sound | None = None) -> FrameOutput:
    """`-`, .ndjson, .jsonl, .csv: a line per frame as it is made; .npz, .mp4: one file at the end.

    `sound` is that of an mp4; None: the sound of the stream.

    Raises:
        UserError: any other ending, or a file that cannot be written.
    """
    suffix = Path(output).suffix.lower()
    if str(output) == STDOUT or suffix in LINE_SUFFIXES:
        return LineWriter(output)
    if suffix not in (".npz", ".mp4"):
        raise UserError(f"--output {output}: a stream's output must end in .ndjson, .csv, .npz or .mp4, or be -")
    return FileAtTheEnd(Path(output), film if suffix == ".mp4" else None, sound)


@dataclass(frozen=True)
class LiveReport:
    """Length and speed of a stream."""

    n_frames: int
    audio_seconds: float
    busy_seconds: float
    """Time spent on generating."""
    first_seconds: float
    """From the first block of audio to the first frames."""

    def __str__(self) -> str:
        speed = self.audio_seconds / max(self.busy_seconds, 1e-9)
        return (
            f"{self.n_frames} frames from {self.audio_seconds:.1f} s of audio at {speed:.2g} times real time; "
            f"the first ones came {self.first_seconds:.2f} s after the first audio"
        )


def run_live(
    talker: LiveTalker,
    blocks: Iterable[np.ndarray],
    output: FrameOutput,
    change: Callable[[Motion], Motion] = lambda motion: motion,
) -> LiveReport:
    """Turn audio into frames until the audio ends or Ctrl-C is pressed; the output is closed in any case.

    Args:
        talker: which has not generated anything yet.
        blocks: audio, float32 (n,) at 16 kHz.
        change: applied to every piece of motion before it is written.

    Raises:
        UserError: no audio arrived, or it is unusable.
    """
    talker.warm_up()
    clock = _Clock()

    def write(motion: Motion) -> None:
        output.write(change(motion))

    try:
        try:
            for block in blocks:
                clock.block()
                clock.made(lambda block=block: talker.push(block), write)
        except KeyboardInterrupt:
            log.info("interrupted: finishing")
        clock.made(talker.finish, write)
    finally:
        output.close()
    if not talker.done:
        raise UserError(f"--audio: the stream ended after {talker.scale.n_samples} samples, less than one frame (640)")
    return LiveReport(talker.done, talker.scale.n_samples / SAMPLE_RATE, clock.busy, clock.first or 0.0)


class _Clock:
    """Measures the times of a session."""

    def __init__(self) -> None:
        self.start: float | None = None
        self.first: float | None = None
        self.busy = 0.0

    def block(self) -> None:
        self.start = self.start or time.perf_counter()

    def made(self, make: Callable[[], list[Motion]], write: Callable[[Motion], None]) -> None:
        """Call `make` and write the motions that it returns."""
        began = time.perf_counter()
        motions = make()
        self.busy += time.perf_counter() - began
        for motion in motions:
            write(motion)
        if motions and self.first is None and self.start is not None:
            self.first = time.perf_counter() - self.start
