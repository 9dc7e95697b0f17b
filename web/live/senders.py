"""Frames for programs that do not speak WebSocket: Live Link Face (Unreal), VMC (avatars), lines of JSON.

To add one, write a class with `show` and its flag in web/serve.py.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import queue
import socket
import struct
import threading
import uuid
from typing import Protocol

import numpy as np
from scipy.spatial.transform import Rotation

from utils.errors import UserError
from utils.exports.arkit import BLEND_SHAPES, yaw_pitch_roll
from utils.timebase import FPS
from web.live.protocol import Shown

log = logging.getLogger(__name__)
LIVELINK_PORT, VMC_PORT = 11111, 39539
SUBJECT = "DiffPoseTalk"
# Unreal's order, in which the packets are, has the left of these pairs first; the app's csv files have the right first.
_SWAPPED = {"jawRight": "jawLeft", "mouthRight": "mouthLeft"}
_SWAPPED |= {left: right for right, left in _SWAPPED.items()}
_UNREAL = [BLEND_SHAPES.index(_SWAPPED.get(name, name)) for name in BLEND_SHAPES]
_LINES = 1000  # that wait to be written
_DATAGRAM = 1400  # bytes: larger ones may be cut into several on their way


class FrameSink(Protocol):
    """Gets every frame of every session at 25 fps; the values are those of `arkit`."""

    def show(self, slot: int, frame: Shown) -> None:
        """slot: number of the session, from 1."""
        ...


class _Udp:
    """Sends datagrams without ever waiting; nothing tells whether they arrive."""

    def __init__(self, flag: str, address: str, port: int) -> None:
        """address: host or host:port.

        Raises:
            UserError: no such host or port.
        """
        host, _, given = address.partition(":")
        try:
            struct.pack(">H", port := int(given or port))
            self._to = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)[0][4]
        except (OSError, ValueError, struct.error) as error:
            raise UserError(f"--{flag} {address}: must be a host or host:port") from error
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # the other program is not there (yet), or the line is full
            self._socket.sendto(data, self._to)


class LiveLinkSender:
    """The packets of Epic's Live Link Face app, a subject for each session: DiffPoseTalk, DiffPoseTalk2, ...

    Layout (version 6, big endian): byte 6; device id and subject, each with its length (int32); frame number (int32)
    and part of a frame (float32) at the rate (int32 / int32); byte 61; 52 blend shapes in Unreal's order, yaw, pitch
    and roll of head, left and right eye in radians (float32).
    """

    def __init__(self, address: str) -> None:
        self._udp, self._device = _Udp("livelink", address, LIVELINK_PORT), str(uuid.uuid4())

    def show(self, slot: int, frame: Shown) -> None:
        self._udp.send(self.packet(SUBJECT + (str(slot) if slot > 1 else ""), frame))

    def packet(self, subject: str, frame: Shown) -> bytes:
        texts = (text.encode() for text in (self._device, subject))
        head = yaw_pitch_roll(Rotation.from_quat(frame.values["head"]))
        left, right = np.split(frame.values["eyes"], 2)
        values = np.concatenate([frame.values["arkit"][_UNREAL], head, left, [0], right, [0]])
        return b"".join(
            [
                b"\6",
                *(struct.pack(">i", len(text)) + text for text in texts),
                struct.pack(">ifiiB", round(frame.time * FPS), 0.0, FPS, 1, len(values)),
                values.astype(">f4").tobytes(),
            ]
        )


class VmcSender:
    """The VMC protocol (OSC) for avatars with ARKit's shapes ("perfect sync"): the first session's face and head.

    Its axes are Unity's: FLAME's with x the other way.
    """

    def __init__(self, address: str) -> None:
        self._udp = _Udp("vmc", address, VMC_PORT)

    def show(self, slot: int, frame: Shown) -> None:
        if slot == 1:
            for bundle in self.bundles(frame):
                self._udp.send(bundle)

    def bundles(self, frame: Shown) -> list[bytes]:
        """OSC bundles of at most 1400 bytes; the last message applies all values."""
        eyes = np.split(frame.values["eyes"], 2)
        bones = {"Head": Rotation.from_quat(frame.values["head"])}
        bones |= {name: Rotation.from_euler("YX", eye) for name, eye in zip(("LeftEye", "RightEye"), eyes)}
        messages = [osc("/VMC/Ext/OK", 1), osc("/VMC/Ext/T", float(frame.time))]
        for name, rotation in bones.items():
            x, y, z, w = rotation.as_quat().tolist()
            messages.append(osc("/VMC/Ext/Bone/Pos", name, 0.0, 0.0, 0.0, x, -y, -z, w))
        values = frame.values["arkit"].tolist()
        messages += [osc("/VMC/Ext/Blend/Val", name, value) for name, value in zip(BLEND_SHAPES, values)]
        return _bundled([*messages, osc("/VMC/Ext/Blend/Apply")])


def osc(address: str, *values: str | int | float) -> bytes:
    """One OSC 1.0 message."""
    tags, data = ",", b""
    for value in values:
        if isinstance(value, str):
            tags, data = tags + "s", data + _padded(value)
        else:
            kind = "i" if isinstance(value, int) else "f"
            tags, data = tags + kind, data + struct.pack(">" + kind, value)
    return _padded(address) + _padded(tags) + data


def _padded(text: str) -> bytes:
    """With one to four zeros, to a multiple of 4 bytes."""
    data = text.encode()
    return data + bytes(4 - len(data) % 4)


def _bundled(messages: list[bytes]) -> list[bytes]:
    start = _padded("#bundle") + struct.pack(">Q", 1)  # now
    bundles = [start]
    for message in messages:
        if len(bundles[-1]) + 4 + len(message) > _DATAGRAM:
            bundles.append(start)
        bundles[-1] += struct.pack(">i", len(message)) + message
    return bundles


class LineSender:
    """A line of JSON for each frame, as the protocol has it, with `session` in front.

    A thread writes them. A reader that is slow misses lines, and one that has gone ends the writing, not the server.
    """

    def __init__(self, path: str) -> None:
        """path: a file, or - for standard output.

        Raises:
            UserError: the file cannot be written.
        """
        try:  # unbuffered: Python's buffers have locks, at which a blocked thread would hold up the program's end
            self._file = open(1 if path == "-" else path, "wb", buffering=0, closefd=path != "-")  # noqa: SIM115
        except OSError as error:
            raise UserError(f"--ndjson {path}: cannot be written ({error.strerror}); choose another path") from error
        self._path, self._lines = path, queue.Queue[bytes | None](_LINES)
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def show(self, slot: int, frame: Shown) -> None:
        text = f'{{"session": {slot}, {frame.json(list(BLEND_SHAPES))[1:]}\n'
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(text.encode())

    def close(self, seconds: float = 1.0) -> None:
        """Write what waits, for at most as long as this."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
            self._thread.join(seconds)

    def _write(self) -> None:
        try:
            while line := self._lines.get():
                while line:
                    line = line[self._file.write(line) :]
        except OSError as error:
            log.warning("--ndjson %s: cannot be written any more (%s); the server goes on without", self._path, error)
