"""A text-to-speech pipe: text in; a talking face out, as lines of JSON in time with the speech, or as a video.

python -m web.serve
echo "Hello there. How are you?" | python -m examples.live_speech [-o talk.mp4]
espeak-ng --stdout "Hello there." | python -m examples.live_speech --sound

Sentences are spoken as soon as they are complete; Ctrl-C interrupts the head, which shuts its mouth. The voice is
hibari-tts (English, Apache-2.0); the sound of any other one can be piped in.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
import logging
import re
import textwrap
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from examples.live_client import converse, joined
from examples.live_head import LiveHead
from utils.config import flag, read_flags
from utils.errors import UserError, cli
from utils.media.audio import Sound
from utils.media.live_audio import piped_blocks
from utils.media.sound_file import Track
from utils.media.video import check_video_path
from utils.timebase import FPS, SAMPLE_RATE

if TYPE_CHECKING:
    from utils.motion_file import Motion

log = logging.getLogger(__name__)
STDIN = "standard input"
AHEAD = 30  # seconds of speech that may wait in the server, which takes at most 120
VOICE_RATE = 24_000  # Hz
LONGEST = 300  # letters that are synthesised at once: the time for it grows with their square, and Ctrl-C waits for it


@dataclass(frozen=True)
class SpeechFlags:
    """All flags."""

    address: str = "ws://127.0.0.1:8765"
    """Of the server; ws://HOST:PORT/?token=SECRET with a token."""
    style: str | None = flag(None, "-s")
    """Name of a bundled style (default: the model's)."""
    sound: bool = False
    """Standard input is another synthesiser's sound, not text: wav, mp3, ogg ..., or raw 16 bit mono."""
    pcm_rate: int = VOICE_RATE
    """Samples per second of raw sound."""
    output: Path | None = flag(None, "-o")
    """A video, mp4, instead of lines on standard output."""

    def check(self) -> None:
        """Raises UserError."""
        if not 4000 <= self.pcm_rate <= 192_000:
            raise UserError(f"--pcm_rate {self.pcm_rate}: must lie between 4000 and 192000")
        if self.output is not None:
            check_video_path(self.output)

    @property
    def rate(self) -> int:
        """Of what is sent to the server, Hz."""
        return SAMPLE_RATE if self.sound else VOICE_RATE


async def arriving(items: Iterator[Any]) -> AsyncIterator[Any]:
    """The items of an iterator that waits, from a thread that does not hold up the program's end."""
    loop, queue, room = asyncio.get_running_loop(), asyncio.Queue[Any](), threading.Semaphore(2)

    def put(item: Any) -> None:
        room.acquire()
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def read() -> None:
        try:
            for item in items:
                put(item)
            put(None)
        except Exception as error:
            put(error)

    threading.Thread(target=read, daemon=True).start()
    while (item := await queue.get()) is not None:
        if isinstance(item, Exception):
            raise item
        room.release()
        yield item


async def sentences(source: BinaryIO) -> AsyncIterator[str]:
    """UTF-8 text as it arrives -> its sentences, each once it is complete: at the next one, or when a line ends.

    An empty one means that there is no more for now. Single line breaks in what arrives together count as spaces.

    Raises:
        UserError: other bytes.
    """
    from hibari import Hibari

    decoder, text = codecs.getincrementaldecoder("utf-8")(), ""
    async for data in arriving(iter(lambda: source.read(1 << 16), b"")):
        try:
            text += decoder.decode(data)
        except UnicodeDecodeError as error:
            raise UserError(f"{STDIN}: is not UTF-8 text ({error.reason}); sound needs --sound") from error
        whole = text.endswith("\n")
        text = re.sub(r"(?<!\n)\n(?!\n)", " ", text)
        found = Hibari.split_sentences(text)
        text = "" if whole or not found else text[text.rfind(found.pop()) :]
        for sentence in found and [*found, ""]:
            yield sentence
    for sentence in Hibari.split_sentences(text):
        yield sentence


async def spoken(voice: Callable[..., np.ndarray], texts: AsyncIterator[str]) -> AsyncIterator[np.ndarray]:
    """Sentences -> float32 (n,) at `VOICE_RATE`, each as soon as it is synthesised; n is 0 for an empty one."""
    async for text in texts:
        for part in textwrap.wrap(text, LONGEST) or [""]:
            try:
                yield await asyncio.to_thread(voice, part, seed=0)
            except (IndexError, KeyError, ValueError) as error:
                log.warning("%s: %.40r cannot be said (%s) and is left out", STDIN, part, error)


def speech(flags: SpeechFlags, source: BinaryIO) -> AsyncIterator[np.ndarray]:
    """Standard input as sound at `flags.rate`.

    Raises:
        UserError: the voice is not installed; others come with the pieces.
    """
    if flags.sound:
        return arriving(piped_blocks(source, flags.pcm_rate, Track(Path(STDIN), 0)))
    try:
        from hibari import Hibari
    except ImportError as error:
        raise UserError("the voice is missing: pip install hibari-tts, or pipe in sound with --sound") from error
    voice = Hibari()
    voice("Ready.")  # the first sentence takes the longest
    return spoken(voice, sentences(source))


class Speaker:
    """Sends speech, never far ahead of the face, and prints the frames or keeps everything for a video."""

    def __init__(self, rate: int, keep: bool) -> None:
        self.rate, self.keep = rate, keep
        self.sent = self.said = 0.0  # seconds
        self.heard: list[np.ndarray] = []
        self.frames: list[dict[str, Any]] = []

    async def speak(self, head: LiveHead, pieces: AsyncIterator[np.ndarray]) -> None:
        """Until the pieces end. An empty one means that what came before is complete.

        Raises:
            UserError: of the pieces.
        """
        try:
            async for piece in pieces:
                for start in range(0, len(piece), self.rate):
                    await self._say(head, piece[start : start + self.rate])
                if not len(piece):
                    await head.tell("flush")
        finally:
            await head.tell("end")

    async def _say(self, head: LiveHead, block: np.ndarray) -> None:
        while self.sent - self.said > AHEAD:
            await asyncio.sleep(0.1)
        await head.say(block.tobytes())
        self.sent += len(block) / self.rate
        if self.keep:
            self.heard.append(block)

    def show(self, frame: dict[str, Any]) -> None:
        """Print or keep a frame."""
        self.said = self.said if frame["audio"] is None else frame["audio"]
        if self.keep:
            self.frames.append(frame)
        else:
            print(json.dumps(frame, separators=(",", ":")), flush=True)

    def film(self) -> tuple[Motion, Sound]:
        """What was kept: each frame, and the sound that belongs to it."""
        from utils.motion_file import Motion  # with PyTorch, which lines of JSON need not wait for

        speech, step = np.concatenate([*self.heard, np.zeros(0, np.float32)]), self.rate // FPS
        sound = np.zeros((len(self.frames), step), np.float32)
        for row, frame in zip(sound, self.frames):
            if frame["audio"] is not None:
                piece = speech[round(frame["audio"] * self.rate) :][:step]
                row[: len(piece)] = piece
        exp, pose = (np.array([frame[name] for frame in self.frames], np.float32) for name in ("exp", "pose"))
        return Motion(exp, pose), Sound([sound.reshape(1, -1)], self.rate)


async def run(flags: SpeechFlags, pieces: AsyncIterator[np.ndarray], speaker: Speaker) -> None:
    """Say pieces of speech, which the server's head then shows.

    Raises:
        UserError: nothing to say, or an address, token or style that cannot be used.
    """
    start = {"style": flags.style} if flags.style else {}
    if speaker.keep:
        start |= {"what": "coefficients", "late": "wait"}  # a video has time
    async with joined(flags.address, rate=flags.rate, format="f32", **start) as head:
        await converse(head, speaker.speak(head, pieces), speaker.show)
    if not speaker.sent:
        raise UserError(f"{STDIN}: has no words to say; pipe in English text, or sound with --sound")


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(SpeechFlags, argv, (__doc__ or "").splitlines()[0])
    film = None
    if flags.output is not None:  # early, so that a missing OpenGL is reported at once
        from models.app.head_film import HeadFilm
        from models.heads.flame import Flame, load_flame
        from utils.rendering.looks import dress
        from utils.rendering.renderer import RenderStyle

        look = dress(load_flame(None).head, "skin")
        film = HeadFilm(Flame(look.drawn), RenderStyle(512, texture=look.texture))
    speaker = Speaker(flags.rate, film is not None)
    try:
        with open(0, "rb", buffering=0, closefd=False) as source:  # a buffer's lock would hold up the program's end
            pieces = speech(flags, source)  # here, where Ctrl-C ends it at once
            asyncio.run(run(flags, pieces, speaker))
    finally:
        if film is not None and flags.output is not None and speaker.sent and speaker.frames:
            motion, sound = speaker.film()
            film.write(flags.output, [motion], len(motion), sound)
            log.info("wrote %s", flags.output)


if __name__ == "__main__":
    main()
