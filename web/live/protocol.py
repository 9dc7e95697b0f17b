"""The messages of the live server: JSON as protocol.schema.json says, audio as bytes, frames as JSON or packed.

Nothing here knows of sockets. docs/live_protocol.md explains the protocol.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.errors import UserError
from utils.timebase import SAMPLE_RATE

if TYPE_CHECKING:
    import soxr

VERSION = 1
SCHEMA = Path(__file__).with_suffix(".schema.json")
STATES = ("idle", "listening", "thinking", "speaking")  # a packed frame has the number
HEADER = struct.Struct("<BBHIdd")  # version, state, 0, number, time, audio (NaN: none); float32 values follow
MOST_NUMBERS, MOST_ROWS = 1024, 2000  # of a style, as in the schema
SILENT_SECONDS, SILENT_PEAK = 10, 1e-4
_FROM_CLIENT = ("start", "flush", "interrupt", "set_style", "set_gain", "set_state", "end")
_BYTES = {"s16": "<i2", "f32": "<f4"}


@dataclass(frozen=True)
class Start:
    """The first message; the schema has what the fields mean."""

    version: int = VERSION
    token: str | None = None
    rate: int = SAMPLE_RATE
    format: str = "s16"
    channels: int = 1
    listen: bool = False
    style: Any = None
    identity: str = "average"
    guidance: dict[str, float] = field(default_factory=dict)
    mix: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    hop: float | None = None
    fps: int = 25
    what: str = "arkit"
    frames: str = "json"
    late: str = "skip"


@cache
def _checks() -> dict[str, Any]:
    """A validator for each message that a client may send."""
    from jsonschema import Draft202012Validator

    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return {name: Draft202012Validator({"$defs": schema["$defs"], "$ref": f"#/$defs/{name}"}) for name in _FROM_CLIENT}


def read_message(text: str) -> dict[str, Any]:
    """A client's JSON message, checked against the schema.

    Raises:
        UserError: not JSON, or not a message of this protocol.
    """
    return _checked(_parsed(text))


def read_start(text: str, admit: Callable[[object], None] = lambda token: None) -> Start:
    """The first message.

    Args:
        admit: called with its token before the schema is applied, which can take long; may raise.

    Raises:
        UserError: another one.
    """
    message = _parsed(text)
    if message["type"] != "start":
        raise UserError("message: the first one must be start")
    admit(message.get("token"))
    fields = _checked(message)
    del fields["type"]
    return Start(**fields)


def _parsed(text: str) -> dict[str, Any]:
    """A message of a known type."""
    try:
        message = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise UserError(f"message: is not JSON ({str(error)[:80]})") from error
    kind = message.get("type") if isinstance(message, dict) else None
    if not isinstance(kind, str) or kind not in _FROM_CLIENT:
        raise UserError(f"message: its type must be one of {', '.join(_FROM_CLIENT)}")
    return message


def _checked(message: dict[str, Any]) -> dict[str, Any]:
    """The message, if it is one of the schema."""
    kind, style = message["type"], message.get("style")
    parts = [("style", style, MOST_NUMBERS)]
    if isinstance(style, dict):
        parts = [(f"style.{name}", style.get(name), MOST_ROWS) for name in ("exp", "pose")]
    for where, value, most in parts:  # jsonschema would look at all of it first, which takes seconds
        if isinstance(value, list) and len(value) > most:
            raise UserError(f"{kind}.{where}: has {len(value)} entries; at most {most} are allowed")
    error = next(_checks()[kind].iter_errors(message), None)
    if error is not None:
        where = ".".join([kind, *map(str, error.absolute_path)])
        wrong = f"must be {error.schema['description']}" if error.validator == "anyOf" else error.message[:200]
        raise UserError(f"{where}: {wrong}")
    return message


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number")


class AudioInput:
    """Bytes of one voice -> float32 (n,) at 16 kHz."""

    def __init__(self, start: Start) -> None:
        self._start, self._stream = start, _resampler(start.rate)
        self.silent = 0.0  # seconds since the last sound

    def read(self, data: bytes | memoryview) -> np.ndarray:
        """The samples of a message, which holds whole ones of all channels.

        Raises:
            UserError: half a sample, or values that are not finite.
        """
        kind = np.dtype(_BYTES[self._start.format])
        whole = kind.itemsize * self._start.channels
        if len(data) % whole:
            raise UserError(
                f"audio: {len(data)} bytes are not whole samples; {self._start.format} with {self._start.channels} "
                f"channel(s) takes {whole} bytes each"
            )
        samples = np.frombuffer(data, kind).astype(np.float32)
        if self._start.channels > 1:
            samples = samples.reshape(-1, self._start.channels).mean(axis=1)
        if kind.kind == "i":
            samples /= 32768
        elif not np.isfinite(samples).all():
            raise UserError("audio: NaN or infinite samples; check the source")
        else:
            samples = np.clip(samples, -4, 4)  # values beyond full scale would spoil the level for minutes
        loud = len(samples) > 0 and float(np.abs(samples).max()) > SILENT_PEAK
        self.silent = 0.0 if loud else self.silent + len(samples) / self._start.rate
        return samples if self._stream is None else self._stream.resample_chunk(samples)

    def finish(self) -> np.ndarray:
        """The last samples, which the resampler holds back; what is read next begins anew."""
        rest = np.zeros(0, np.float32)
        if self._stream is not None:
            rest = self._stream.resample_chunk(rest, last=True)
            self._stream = _resampler(self._start.rate)
        return rest


def _resampler(rate: int) -> soxr.ResampleStream | None:
    """To 16 kHz; None if nothing is to be done."""
    if rate == SAMPLE_RATE:
        return None
    import soxr

    return soxr.ResampleStream(rate, SAMPLE_RATE, 1, quality="HQ")


def json_text(kind: str, **values: Any) -> str:
    """A message to the client."""
    return json.dumps({"type": kind, **values}, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Shown:
    """One frame as it is sent."""

    number: int
    time: float
    audio: float | None
    state: str
    values: dict[str, np.ndarray]  # by the names of the message's parts

    def json(self, names: list[str]) -> str:
        """names: of ARKit's values, which are an object."""
        parts = {name: [round(float(x), 5) for x in values] for name, values in self.values.items()}
        if "arkit" in parts:
            parts = parts | {"arkit": dict(zip(names, parts["arkit"]))}
        audio = None if self.audio is None else round(self.audio, 4)
        return json_text("frame", frame=self.number, time=round(self.time, 4), audio=audio, state=self.state, **parts)

    def packed(self) -> bytes:
        audio = math.nan if self.audio is None else self.audio
        header = HEADER.pack(VERSION, STATES.index(self.state), 0, self.number, self.time, audio)
        return header + b"".join(values.astype("<f4").tobytes() for values in self.values.values())
