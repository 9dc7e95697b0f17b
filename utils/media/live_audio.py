"""Sources of audio as it arrives: raw PCM from a pipe, a file, a microphone."""

from __future__ import annotations

import itertools
import logging
import queue
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from utils.errors import UserError
from utils.media.audio import FULL_SCALE, resampled, stream_audio
from utils.timebase import SAMPLE_RATE

log = logging.getLogger(__name__)
STDIN, MICROPHONE = "-", "mic"
_BLOCK = 0.04  # seconds asked for at a time
_RATES = (4000, 192_000)


def live_blocks(name: str, rate: int = SAMPLE_RATE) -> Iterator[np.ndarray]:
    """float32 (n,) blocks at 16 kHz, each as soon as it arrives.

    Args:
        name: `-` for raw PCM on standard input, `mic` for the microphone, else a file, or a named pipe of raw PCM.
            Raw PCM is 16 bit, little endian, one channel.
        rate: of raw PCM, Hz.

    Raises:
        UserError: no such source, or an impossible rate.
    """
    if not _RATES[0] <= rate <= _RATES[1]:
        raise UserError(f"--pcm_rate {rate}: must lie between {_RATES[0]} and {_RATES[1]} Hz")
    if name == MICROPHONE:
        return microphone()
    if name == STDIN:
        if sys.stdin.isatty():
            raise UserError("--audio -: standard input is a terminal; pipe raw 16 bit PCM into it, or use -a mic")
        return pcm_blocks(sys.stdin.buffer, rate)
    if Path(name).is_fifo():
        return pcm_blocks(Path(name).open("rb"), rate)
    return _begun(stream_audio(name))


def _begun(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The same with the first block already read, so that an unreadable file is reported before output is opened."""
    return itertools.chain([next(blocks)], blocks)


def pcm_blocks(source: BinaryIO, rate: int = SAMPLE_RATE) -> Iterator[np.ndarray]:
    """Raw PCM, 16 bit little endian mono at `rate` Hz -> float32 blocks at 16 kHz, until the source ends."""
    return (piece for piece in resampled(_pcm(source, rate), SAMPLE_RATE) if piece.size)


def _pcm(source: BinaryIO, rate: int) -> Iterator[tuple[int, np.ndarray]]:
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
