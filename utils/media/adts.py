"""Raw AAC (ADTS), which has no time stamps: whole packets, and how many are lost between them.

FFmpeg passes over damaged bytes without a word, so that what follows them would come early.
"""

from __future__ import annotations

from collections import deque
from typing import BinaryIO

HEADER, BLOCK = 7, 1 << 16  # bytes
TYPICAL = 50  # packets whose mean size tells how many were lost
ID3_HEADER = 10


def packet_size(data: bytes, at: int = 0) -> int:
    """Bytes of the packet whose header lies at `at`; 0: no header does."""
    if len(data) < at + HEADER or data[at] != 0xFF or data[at + 1] & 0xF6 != 0xF0 or data[at + 2] >> 2 & 15 > 12:
        return 0
    size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    return size if size > HEADER else 0


def is_adts(data: bytes) -> bool:
    """Whether these first bytes of a file, or those after a tag, are two packets in a row."""
    at = tag_size(data)
    size = packet_size(data, at)
    return bool(size) and bool(packet_size(data, at + size))


def tag_size(data: bytes, at: int = 0) -> int:
    """Bytes of the ID3 tag at `at`; 0: there is none."""
    if data[at : at + 3] != b"ID3" or len(data) < at + ID3_HEADER:
        return 0
    return ID3_HEADER + sum((byte & 127) << shift for byte, shift in zip(data[at + 6 : at + 10], (21, 14, 7, 0)))


def adts_reader(handle: BinaryIO) -> AdtsReader | None:
    """A reader of this file or pipe, if it is raw AAC, from its beginning."""
    if not handle.seekable():
        return AdtsReader(handle) if is_adts(getattr(handle, "head", b"")) else None
    data = handle.read(ID3_HEADER)
    handle.seek(tag_size(data))
    data = handle.read(1 << 14)
    handle.seek(0)
    return AdtsReader(handle) if is_adts(data) else None


class AdtsReader:
    """What FFmpeg reads: whole packets only, those that another packet, a tag or the end follows.

    `lost` holds (number of a packet, number of packets that are missing before it), in their order.
    """

    def __init__(self, source: BinaryIO) -> None:
        self.lost: deque[tuple[int, int]] = deque()
        self._source, self._data, self._ready, self._ended = source, b"", b"", False
        self._count, self._sizes, self._skip, self._missing = 0, deque[int](maxlen=TYPICAL), 0, 0

    def read(self, n: int = -1) -> bytes:
        """Up to `n` bytes."""
        while not self._ready and not self._ended:
            more = self._source.read(BLOCK)
            self._ended = not more
            self._data += more
            self._parse()
        stop = len(self._ready) if n < 0 else n
        data, self._ready = self._ready[:stop], self._ready[stop:]
        return data

    def _parse(self) -> None:
        """Move the whole packets of the data to what is ready."""
        data, at, whole = self._data, self._skip, []
        while at < len(data):
            size = packet_size(data, at)
            if at + max(size, 0) + ID3_HEADER > len(data) and not self._ended:
                break  # more is needed to judge this place
            if tag := tag_size(data, at):
                at += tag
            elif size and self._goes_on(at + size):
                whole.append(data[at : at + size])
                self._found(size)
                at += size
            else:
                following = data.find(b"\xff", at + 1)
                step = (following if following > 0 else len(data)) - at
                self._missing += step
                at += step
        self._data, self._skip = data[at:], max(at - len(data), 0)
        self._ready = b"".join(whole)

    def _goes_on(self, at: int) -> bool:
        """Whether a packet, a tag or the end lies there."""
        data = self._data
        return bool(packet_size(data, at)) or data[at : at + 3] in (b"ID3", b"TAG", b"APE") or at == len(data)

    def _found(self, size: int) -> None:
        if self._missing and self._sizes:
            self.lost.append((self._count, round(self._missing * len(self._sizes) / sum(self._sizes))))
        self._missing = 0
        self._sizes.append(size)
        self._count += 1
