"""Decoded samples on one clock: the picture's, with silence where samples are missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from utils.errors import UserError
from utils.media.adts import AdtsReader

NOTED = 0.025  # seconds of shift or silence worth a line
LEAD = 0.001  # seconds by which sound and picture may begin apart without being aligned
JITTER, COARSE_JITTER = 0.005, 0.06  # seconds by which time stamps may be off; the latter of COARSE
COARSE = {"avi", "asf", "vorbis"}  # containers and codecs
BARE = {"mp3", "ac3", "eac3", "amr"}  # whose packets are only counted, as those of raw AAC are (adts.py)
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICS")
TELL_END = {"mov", "flac", "ogg"}  # which declare how long each stream is
MISSING_END = 0.25  # seconds by which a file may end early without a word
LONGEST_GAP = 600.0  # seconds; time stamps that jump further say nothing
MAX_LOST = 0.25  # share of the sound that may be damaged or missing
MOST_BAD = 100_000  # damaged packets, after which nothing more is tried
BLOCK = 65_536  # samples of silence at a time
Clock = Literal["picture", "sound"]
BEGINS_WITH = "begins_with"  # in motion npz of videos: the clock on which frame 0 is time 0


@dataclass(frozen=True)
class Piece:
    """Decoded samples that follow the ones before."""

    rate: int
    samples: np.ndarray  # float32 (c, n), full scale 1
    layout: str  # FFmpeg's name of the channels


class Timeline:
    """Places decoded pieces on one clock: silence where samples are missing, a cut where they overlap."""

    def __init__(self, container, stream, clock: Clock, raw: AdtsReader | None = None) -> None:
        """`raw` is what the container reads, if it is raw AAC."""
        kinds = set(container.format.name.split(","))
        self.bare, self.tells_end = bool(kinds & BARE), bool(kinds & TELL_END)
        coarse = (kinds | {stream.codec_context.name}) & COARSE
        self.stream, self.jitter = stream, COARSE_JITTER if coarse else JITTER
        first = container.streams.audio[0]
        self.origin = _first_picture(container) if clock == "picture" else None if stream is first else _begin(first)
        self.time: float | None = None  # of the next sample; None before the first
        self.lead, self.filled, self.gaps, self.good, self.bad, self.heard = 0.0, 0.0, 0, 0, 0, 0.0
        self.bytes, self.skipped, self.joined = 0, 0.0, False
        self.raw, self.lost_bytes, self.lost_packets = raw, 0, 0

    def frames(self, container) -> Iterator[Any]:
        """Decoded frames; packets that cannot be decoded are counted and passed over."""
        import av.error

        packets, problem = container.demux(self.stream), None
        while True:
            packet = None
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                found = packet.decode()
            except av.error.EOFError:
                break
            except av.error.FFmpegError as error:
                self.bad, problem = self.bad + 1, problem or error
                if self.bad > MOST_BAD:
                    break
                self._damage(bytes(packet) if packet is not None else b"")
                continue
            if found:
                self._skip_lost(found[0])
            self.good, self.bytes = self.good + bool(found), self.bytes + packet.size
            yield from found
        if problem is not None and not self.good:
            raise problem

    def _damage(self, packet: bytes) -> None:
        if self.bare and self.good and not packet.startswith(TAGS):
            self.lost_bytes, self.lost_packets = self.lost_bytes + len(packet), self.lost_packets + 1

    def _skip_lost(self, frame) -> None:
        """Without time stamps, what is lost before a good packet lasts as long as so many whole ones of usual size."""
        missing = 0
        if self.lost_packets:  # each of them has been counted as one already
            missing = round(self.lost_bytes * self.good / self.bytes) - self.lost_packets
            self.lost_bytes, self.lost_packets = 0, 0
        while self.raw is not None and self.raw.lost and self.raw.lost[0][0] <= self.good + self.bad:
            missing += self.raw.lost.popleft()[1]
        self.skipped += missing * frame.samples / frame.sample_rate

    def placed(self, piece: Piece, time: float | None) -> Iterator[Piece]:
        """The piece, after silence or cut at its beginning where its time stamp, in seconds, says so."""
        begun, time = self.heard > 0, None if time is None else time + self.skipped
        if self.time is None:
            self.time = (time or 0.0) if self.origin is None else self.origin
        off = 0.0 if time is None else time - self.time
        if abs(off) >= LONGEST_GAP or (begun and off <= -1):  # time stamps that begin again, as in joined files
            self.time, off, self.joined = time or 0.0, 0.0, True
        if abs(off) > (self.jitter if begun else LEAD):
            count = round(off * piece.rate)
            if count > 0:
                yield from _silence(piece, count)
                self.time += off
            else:
                piece = replace(piece, samples=piece.samples[:, -count:])
            if begun and off > 0:
                self.filled, self.gaps = self.filled + off, self.gaps + 1
            elif not begun:
                self.lead = self.lead or off
        seconds = piece.samples.shape[1] / piece.rate
        self.time, self.heard = self.time + seconds, self.heard + seconds
        if piece.samples.size:
            yield piece

    def report(self, name: str, notes: list[str]) -> None:
        """Say what was moved and filled.

        Raises:
            UserError: too much is lost.
        """
        self._add_missing_end()
        share = max(self.bad / max(self.bad + self.good, 1), self.filled / max(self.filled + self.heard, 1e-9))
        if share > MAX_LOST:
            raise UserError(f"{name}: {share:.0%} of the sound is damaged or missing; copy or export it again")
        if abs(self.lead) > NOTED:
            said = "silence fills the time before" if self.lead > 0 else "what came before is left out"
            notes.append(f"the sound begins {abs(self.lead) * 1000:.0f} ms {'after' if self.lead > 0 else 'before'} "
                         f"the picture: {said}")  # fmt: skip
        if self.bad or self.filled > NOTED:
            damaged = f"{self.bad} damaged packets; " if self.bad else ""
            notes.append(
                f"{damaged}{self.filled * 1000:.0f} ms are missing in {self.gaps} places: silence stands there"
            )

    def _add_missing_end(self) -> None:
        """Count what the file declares but does not hold; nothing is filled there."""
        if not self.tells_end or not self.stream.duration or self.joined or self.time is None:
            return
        end = (self.stream.start_time or 0) + self.stream.duration
        missing = float(end * self.stream.time_base) - self.time
        if missing > MISSING_END:
            self.filled, self.gaps = self.filled + missing, self.gaps + 1


def _first_picture(container) -> float | None:
    """When the picture begins, seconds on the container's clock; None without moving pictures."""
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic and stream.start_time is not None:
            return _begin(stream)
    return None


def _begin(stream) -> float | None:
    """Time stamp of a stream's first packet, seconds."""
    return None if stream.start_time is None else float(stream.start_time * stream.time_base)


def _silence(like: Piece, count: int) -> Iterator[Piece]:
    for start in range(0, count, BLOCK):
        yield replace(like, samples=np.zeros((len(like.samples), min(BLOCK, count - start)), np.float32))
