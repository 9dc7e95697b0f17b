"""Sources of audio as it arrives: raw PCM or a container from a pipe, a file, a microphone."""

from __future__ import annotations

import itertools
import logging
import queue
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from utils.errors import UserError
from utils.media.adts import packet_size
from utils.media.audio import FULL_SCALE, SoundPart, checked, mono, resampled, stream_audio
from utils.media.sound_file import Track, decode_handle
from utils.timebase import SAMPLE_RATE

log = logging.getLogger(__name__)
STDIN, MICROPHONE = "-", "mic"
_BLOCK = 0.04  # seconds asked for at a time
_RATES = (4000, 192_000)
# First bytes of wav, aiff, au, caf, flac, ogg, mp3 with a tag, matroska, asf, flv, amr, mpeg, ac3.
MAGIC = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b".snd", b"caff", b"fLaC", b"OggS", b"ID3", b"\x1aE\xdf\xa3",
         b"0&\xb2u\x8ef\xcf\x11", b"FLV\x01", b"#!AMR", b"\0\0\1\xba", b"\x0bw")  # fmt: skip
DOUBTFUL, DOUBT, PACKET = (b"\xff", b"G"), 6000, 188  # bytes that more must be read after; bytes of an MPEG packet
MOST_OF_BOX, PASSED_OVER = 64 << 20, (b"mdat", b"free", b"skip", b"wide")  # bytes of an mp4's box; those of any size
MPEG1_RATES = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # kbit/s of layer III
MPEG2_RATES = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def live_blocks(name: str, rate: int = SAMPLE_RATE, part: SoundPart = SoundPart()) -> Iterator[np.ndarray]:  # noqa: B008
    """float32 (n,) blocks at 16 kHz, each as soon as it arrives.

    Args:
        name: `-` for standard input, `mic` for the microphone, else a file or a named pipe. What comes through a pipe
            is raw PCM (16 bit, little endian, one channel) unless it begins like a wav, mp3, ogg ... file.
        rate: of raw PCM, Hz.
        part: which track of a file.

    Raises:
        UserError: no such source, or an impossible rate.
    """
    if not _RATES[0] <= rate <= _RATES[1]:
        raise UserError(f"--pcm_rate {rate}: must lie between {_RATES[0]} and {_RATES[1]} Hz")
    if name == MICROPHONE:
        return microphone()
    if name == STDIN:
        if sys.stdin is None or sys.stdin.isatty():
            what = "closed" if sys.stdin is None else "a terminal"
            raise UserError(f"--audio -: standard input is {what}; pipe sound into it, or use -a mic")
        return piped_blocks(sys.stdin.buffer, rate, Track(Path("standard input"), (part.track or 1) - 1))
    if Path(name).is_fifo():
        return piped_blocks(Path(name).open("rb"), rate, Track(Path(name), (part.track or 1) - 1))
    return _begun(stream_audio(name, part=part))


def _begun(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The same with the first block already read, so that an unreadable file is reported before output is opened."""
    return itertools.chain([next(blocks)], blocks)


def piped_blocks(source: BinaryIO, rate: int, track: Track) -> Iterator[np.ndarray]:
    """A pipe of raw PCM at `rate` Hz, or of a wav, mp3, ogg ... file -> float32 blocks at 16 kHz.

    Raises:
        UserError: a container that cannot be read.
    """
    pipe = _Pipe(source)
    head = pipe.peek(12)
    if not is_container(head) and not is_container(pipe.peek(DOUBT) if head[:1] in DOUBTFUL else b""):
        yield from pcm_blocks(pipe, rate)
        return
    notes: list[str] = []
    try:
        pieces = decode_handle(pipe.whole(), track, "picture", notes)
        yield from checked(resampled(mono(pieces, track), SAMPLE_RATE), str(track.path))
    except UserError as error:
        if head[4:8] == b"ftyp" and not pipe.problem:
            raise UserError(f"{error}; an mp4 whose index is at its end cannot be piped: give the file") from error
        if not pipe.problem:
            raise
    if pipe.problem:
        raise UserError(f"{track.path}: {pipe.problem}")
    for note in notes:
        log.info("%s: %s", track.path, note)


def is_container(head: bytes) -> bool:
    """Whether the first bytes are those of a sound file and not of raw PCM. MPEG frames must be two in a row."""
    if any(head.startswith(magic) for magic in MAGIC) or head[4:8] == b"ftyp":
        return True
    if len(head) > PACKET and head[:1] == b"G" and head[PACKET : PACKET + 1] == b"G":
        return True
    size = _mpeg_frame(head[:7])
    return bool(size) and len(head) >= size + 2 and head[:2] == head[size : size + 2]


def _mpeg_frame(head: bytes) -> int:
    """Bytes of an mp3's or AAC's (ADTS) frame with this header; 0 for anything else."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    if head[1] & 0xF6 == 0xF0:
        return packet_size(head)
    version, layer, step, speed = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer != 1 or step in (0, 15) or speed == 3:  # only layer III
        return 0
    rate = (44_100, 48_000, 32_000)[speed] // {3: 1, 2: 2, 0: 4}[version]
    bits = (MPEG1_RATES if version == 3 else MPEG2_RATES)[step - 1]
    return (144 if version == 3 else 72) * bits * 1000 // rate + (head[2] >> 1 & 1)


class _Boxes:
    """Watches the boxes of an mp4 in a pipe: FFmpeg allocates what they declare, as it does not know the length."""

    def __init__(self) -> None:
        self.rest, self.skip, self.problem = b"", 0, ""

    def push(self, data: bytes) -> bytes:
        """The data; nothing, as at the end of a pipe, once a box that is not sound declares more than MOST_OF_BOX."""
        seen, at = self.rest + data, self.skip
        while at + 8 <= len(seen) and not self.problem:
            size, kind = int.from_bytes(seen[at : at + 4]), seen[at + 4 : at + 8]
            if size == 1:  # then 8 bytes more of the header hold it
                if at + 16 > len(seen):
                    break
                size = int.from_bytes(seen[at + 8 : at + 16])
            size = size or sys.maxsize  # 0: up to the end
            if size > MOST_OF_BOX and kind not in PASSED_OVER:
                self.problem = f"declares a part of {size / 1e6:.0f} MB, so it is damaged; copy it again"
            at += max(size, 8)
        self.rest, self.skip = seen[at:], max(at - len(seen), 0)
        return b"" if self.problem else data


class _Pipe:
    """A pipe whose first bytes can be looked at. `read` returns what has arrived instead of waiting for more."""

    def __init__(self, source: BinaryIO) -> None:
        self.source, self.head = source, b""
        self.boxes: _Boxes | None = None
        self._read = getattr(source, "read1", source.read)

    @property
    def problem(self) -> str:
        """Why the pipe was ended early; empty: it was not."""
        return "" if self.boxes is None else self.boxes.problem

    def seekable(self) -> bool:
        return False

    def peek(self, n: int) -> bytes:
        """The first `n` bytes, or fewer if the pipe ends."""
        while len(self.head) < n and (data := self._read(n - len(self.head))):
            self.head += data
        return self.head[:n]

    def whole(self) -> Any:
        """The source from its beginning: itself if it can be rewound, as a redirected file can."""
        if self.source.seekable():
            self.source.seek(0)
            return self.source
        self.boxes = _Boxes() if self.head[4:8] == b"ftyp" else None
        return self

    def read(self, n: int = -1) -> bytes:
        """Up to `n` bytes."""
        if self.head:
            data, self.head = (self.head, b"") if n < 0 else (self.head[:n], self.head[n:])
        else:
            data = self._read(n)
        return data if self.boxes is None else self.boxes.push(data)


def pcm_blocks(source: Any, rate: int = SAMPLE_RATE) -> Iterator[np.ndarray]:
    """Raw PCM, 16 bit little endian mono at `rate` Hz -> float32 blocks at 16 kHz, until the source ends."""
    return (piece for piece in resampled(_pcm(source, rate), SAMPLE_RATE) if piece.size)


def _pcm(source: Any, rate: int) -> Iterator[tuple[int, np.ndarray]]:
    read = getattr(source, "read1", source.read)  # read1 returns what has arrived instead of waiting for more
    rest = b""
    while data := read(2 * round(_BLOCK * rate)):
        data = rest + data
        whole = len(data) // 2 * 2
        rest = data[whole:]
        yield rate, np.frombuffer(data[:whole], "<i2").astype(np.float32) / FULL_SCALE


def microphone() -> Iterator[np.ndarray]:
    """The default microphone until interrupted.

    Raises:
        UserError: the package sounddevice, its PortAudio library or a microphone is missing.
    """
    try:
        import sounddevice  # pyright: ignore[reportMissingImports]  # optional
    except (ImportError, OSError) as error:  # OSError: no PortAudio library
        raise UserError(f"--audio mic: {error}; pip install sounddevice (and apt-get install libportaudio2)") from error
    blocks: queue.SimpleQueue = queue.SimpleQueue()

    def heard(data, frames, time, status) -> None:
        blocks.put(data[:, 0].copy())

    try:
        stream = sounddevice.InputStream(SAMPLE_RATE, round(_BLOCK * SAMPLE_RATE), channels=1, callback=heard)
    except (sounddevice.PortAudioError, ValueError) as error:
        raise UserError(f"--audio mic: no microphone ({error}); plug one in, or give a file") from error
    return _listen(stream, blocks)


def _listen(stream, blocks: queue.SimpleQueue) -> Iterator[np.ndarray]:
    log.info("listening; Ctrl-C ends")
    with stream:
        while True:
            yield blocks.get()
