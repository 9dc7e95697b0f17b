"""Send a sound file to the live server as it would be spoken, and print its frames in time with it.

python -m web.serve
python -m examples.live_client speech.wav [--address ws://127.0.0.1:8765] [--style smile]
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import soundfile
from websockets.exceptions import ConnectionClosedError, InvalidURI

from examples.live_head import LiveHead
from utils.config import flag, positional, read_flags
from utils.errors import UserError, cli

BLOCK = 0.05  # seconds


@dataclass(frozen=True)
class ClientFlags:
    """All flags."""

    audio: str = positional()
    """Sound file (wav, flac, ogg, mp3)."""
    address: str = "ws://127.0.0.1:8765"
    """Of the server; ws://HOST:PORT/?token=SECRET with a token."""
    style: str | None = flag(None, "-s")
    """Name of a bundled style (default: the model's)."""


async def speak(head: LiveHead, audio, rate: int) -> None:
    """The samples (n, channels) int16 in real time."""
    step, clock = round(BLOCK * rate), asyncio.get_running_loop().time
    began = clock()
    for i in range(0, len(audio), step):
        await head.say(audio[i : i + step].tobytes())
        await asyncio.sleep(began + (i + step) / rate - clock())  # to a time, so that delays do not add up
    await head.tell("end")


async def run(flags: ClientFlags) -> None:
    try:
        audio, rate = soundfile.read(flags.audio, dtype="int16", always_2d=True)
    except soundfile.SoundFileError as error:
        raise UserError(f"{flags.audio}: not readable as audio ({error}); give a wav, flac, ogg or mp3") from error
    start = {"rate": rate, "channels": audio.shape[1]} | ({"style": flags.style} if flags.style else {})
    try:
        async with LiveHead.connect(flags.address, **start) as head:
            speaking = asyncio.create_task(speak(head, audio, rate))
            async for message in head.messages():
                if message["type"] == "frame":
                    jaw, blink = (message["arkit"][name] for name in ("jawOpen", "eyeBlinkLeft"))
                    at = "" if message["audio"] is None else f"audio {message['audio']:.2f} s"
                    print(f"{message['time']:7.2f} s  {message['state']:9} jaw {jaw:.2f}  blink {blink:.2f}  {at}")
                elif message["type"] == "error":
                    raise UserError(message["message"])
            await speaking
    except ConnectionClosedError as error:
        raise UserError(f"--address {flags.address}: the connection was closed ({error})") from error
    except (OSError, InvalidURI) as error:
        raise UserError(f"--address {flags.address}: no server there; start python -m web.serve") from error


@cli
def main(argv: list[str] | None = None) -> None:
    asyncio.run(run(read_flags(ClientFlags, argv, (__doc__ or "").splitlines()[0])))


if __name__ == "__main__":
    main()
