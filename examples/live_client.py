"""Send a sound file to the live server as it would be spoken, and print its frames in time with it.

python -m web.serve
python -m examples.live_client speech.wav [--address ws://127.0.0.1:8765] [--style smile]
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from websockets.exceptions import ConnectionClosed, WebSocketException

from examples.live_head import LiveHead
from utils.config import flag, positional, read_flags
from utils.errors import UserError, cli

BLOCK = 0.05  # seconds
SHUTTING = 2  # seconds that a server may take to shut the mouth


@dataclass(frozen=True)
class ClientFlags:
    """All flags."""

    audio: str = positional()
    """Sound file (wav, flac, ogg, mp3)."""
    address: str = "ws://127.0.0.1:8765"
    """Of the server; ws://HOST:PORT/?token=SECRET with a token."""
    style: str | None = flag(None, "-s")
    """Name of a bundled style (default: the model's)."""


@asynccontextmanager
async def joined(address: str, **start: Any) -> AsyncIterator[LiveHead]:
    """`LiveHead.connect` for programs.

    Raises:
        UserError: no server at the address, or one that goes away.
    """
    async with AsyncExitStack() as stack:
        try:
            head = await stack.enter_async_context(LiveHead.connect(address, **start))
        except (OSError, WebSocketException, ValueError, OverflowError) as error:
            why = str(error) or type(error).__name__
            raise UserError(f"--address {address}: no server there ({why}); start python -m web.serve") from error
        try:
            yield head
        except ConnectionClosed as error:
            raise UserError(f"--address {address}: the server has gone ({error}); start it again") from error


async def converse(head: LiveHead, speaking: Coroutine[Any, Any, None], show: Callable[[dict[str, Any]], None]) -> None:
    """Show the session's frames while `speaking` sends its sound, until both have ended. Ctrl-C interrupts the head.

    Raises:
        UserError: what the server objects to.
        ConnectionClosed: it has gone.
    """

    async def watch() -> None:
        async for message in head.messages():
            if message["type"] == "frame":
                show(message)
            elif message["type"] == "error":
                raise UserError(message["message"])

    task = asyncio.create_task(speaking)
    try:
        await watch()
    except asyncio.CancelledError:
        task.cancel()
        with contextlib.suppress(TimeoutError, ConnectionClosed):  # a server that hangs, or has gone
            async with asyncio.timeout(SHUTTING):
                await head.tell("interrupt")
                await head.tell("end")
                await watch()  # until the mouth is shut
        raise
    finally:
        task.cancel()
        (failure,) = await asyncio.gather(task, return_exceptions=True)
    if head.socket.close_code != 1000 and head.socket.protocol.close_exc is not None:  # 1001: the server stops
        raise head.socket.protocol.close_exc
    if isinstance(failure, Exception):
        raise failure


async def speak(head: LiveHead, audio, rate: int) -> None:
    """The samples (n, channels) int16 in real time."""
    step, clock = round(BLOCK * rate), asyncio.get_running_loop().time
    began = clock()
    for i in range(0, len(audio), step):
        await head.say(audio[i : i + step].tobytes())
        await asyncio.sleep(began + (i + step) / rate - clock())  # to a time, so that delays do not add up
    await head.tell("end")


def print_line(frame: dict[str, Any]) -> None:
    """A frame's time, state, and two of its values."""
    jaw, blink = (frame["arkit"][name] for name in ("jawOpen", "eyeBlinkLeft"))
    at = "" if frame["audio"] is None else f"audio {frame['audio']:.2f} s"
    print(f"{frame['time']:7.2f} s  {frame['state']:9} jaw {jaw:.2f}  blink {blink:.2f}  {at}", flush=True)


async def run(flags: ClientFlags) -> None:
    """Raises UserError: a file, style, token or address that cannot be used."""
    if not Path(flags.audio).is_file():
        raise UserError(f"{flags.audio}: no such file; check the path")
    try:
        audio, rate = soundfile.read(flags.audio, dtype="int16", always_2d=True)
    except soundfile.SoundFileError as error:
        raise UserError(f"{flags.audio}: not readable as audio ({error}); give a wav, flac, ogg or mp3") from error
    start = {"rate": rate, "channels": audio.shape[1]} | ({"style": flags.style} if flags.style else {})
    async with joined(flags.address, **start) as head:
        await converse(head, speak(head, audio, rate), print_line)


@cli
def main(argv: list[str] | None = None) -> None:
    asyncio.run(run(read_flags(ClientFlags, argv, (__doc__ or "").splitlines()[0])))


if __name__ == "__main__":
    main()
