"""examples/live_assistant.py and live_livekit.py, on livekit-agents' own classes, against a live server."""

import asyncio

import numpy as np
import pytest
from livekit import rtc
from livekit.agents.voice.io import AudioOutput, AudioOutputCapabilities

from examples.live_assistant import AssistantFace
from examples.live_livekit import FaceOutput
from tests.support.demo_workspace import speech
from tests.support.live_server import served, tiny_service
from web.live.server import _Client

PCM = (speech(1.0) * 32767).astype("<i2").tobytes()


class Speaker(AudioOutput):
    """Where an agent's speech is played, in place of a room's track."""

    def __init__(self) -> None:
        super().__init__(label="speaker", capabilities=AudioOutputCapabilities(pause=False), sample_rate=16_000)
        self.played, self.calls = b"", []

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        self.played += bytes(frame.data)

    def flush(self) -> None:
        super().flush()
        self.calls.append("flush")
        self.on_playback_finished(playback_position=len(self.played) / 32_000, interrupted=False)

    def clear_buffer(self) -> None:
        self.calls.append("clear")


def audio_frames(pcm: bytes) -> list[rtc.AudioFrame]:
    """In pieces of 10 ms, as text-to-speech services give them."""
    return [rtc.AudioFrame(pcm[at : at + 320], 16_000, 1, 160) for at in range(0, len(pcm), 320)]


class Seen:
    """The server's messages."""

    def __init__(self) -> None:
        self.messages: list[dict] = []

    async def show(self, message: dict) -> None:
        self.messages.append(message)

    def of(self, kind: str) -> list[dict]:
        return [one for one in self.messages if one["type"] == kind]

    async def until(self, kind: str, **values) -> dict:
        async with asyncio.timeout(20):
            while True:
                for one in self.of(kind):
                    if all(one[name] == value for name, value in values.items()):
                        return one
                await asyncio.sleep(0.02)


def test_a_livekit_agents_speech_has_a_face(tmp_path):
    speaker, seen = Speaker(), Seen()

    async def talk():
        async with served(tiny_service(tmp_path)) as address:
            face = FaceOutput(address, speaker, seen.show, style="lively")
            assert face.sample_rate == 16_000
            for frame in audio_frames(PCM):
                await face.capture_frame(frame)
            face.flush()
            played = await face.wait_for_playout()
            await seen.until("frame", audio=0.96)
            for frame in audio_frames(PCM * 5):
                await face.capture_frame(frame)
            await seen.until("frame", audio=1.2)
            face.clear_buffer()
            for frame in audio_frames(PCM[:9600]):  # comes after the interrupt, which must not drop it
                await face.capture_frame(frame)
            face.flush()
            await seen.until("frame", audio=6.24)
            await face.aclose()
            return played

    played = asyncio.run(talk())
    assert played.playback_position == 1 and not played.interrupted
    assert speaker.played == PCM * 6 + PCM[:9600] and speaker.calls == ["flush", "clear", "flush"]
    (interrupted,) = seen.of("interrupted")
    assert interrupted["sent"] == 6 and 1.2 <= interrupted["spoken"] < 2
    spoken = [frame["audio"] for frame in seen.of("frame") if frame["audio"] is not None]
    np.testing.assert_allclose(spoken[:25], np.arange(25) / 25)
    assert {len(frame["arkit"]) for frame in seen.of("frame")} == {52} and not seen.of("error")


@pytest.mark.parametrize(
    "wrong,expected",
    [("port", "Connect call failed"), ("token", "token: wrong or missing"), ("style", "'nosuch' is not a choice"),
     ("cut", "no close frame received"), ("address", "isn't a valid URI")],
)  # fmt: skip
def test_speech_goes_on_without_a_face(tmp_path, caplog, monkeypatch, wrong, expected):
    speaker = Speaker()

    async def cut(self):
        self.socket.transport.abort()

    if wrong == "cut":
        monkeypatch.setattr(_Client, "serve", cut)

    async def talk():
        async with served(tiny_service(tmp_path), token="secret") as address:
            token = "no" if wrong == "token" else "secret"
            where = {"port": "ws://127.0.0.1:1", "address": "here"}.get(wrong, f"{address}/?token={token}")
            face = FaceOutput(where, speaker, Seen().show, style="nosuch" if wrong == "style" else "calm")
            for frame in audio_frames(PCM):
                await face.capture_frame(frame)
            async with asyncio.timeout(20):
                while not caplog.records:
                    await asyncio.sleep(0.02)
            for frame in audio_frames(PCM):
                await face.capture_frame(frame)
            face.flush()
            face.clear_buffer()
            await face.aclose()
            return face._face._orders.qsize()

    waiting = asyncio.run(talk())
    assert speaker.played == PCM * 2 and speaker.calls == ["flush", "clear"] and waiting <= 100
    (line,) = [record.getMessage() for record in caplog.records if record.name == "examples.live_assistant"]
    assert line.startswith("no face any more, the speech goes on: ") and expected in line and "\n" not in line


def test_long_audio_is_sent_in_pieces(tmp_path):
    seen = Seen()

    async def talk():
        async with served(tiny_service(tmp_path), message=1 << 20) as address:
            face = AssistantFace(address, seen.show)
            face.hear(PCM * 40, 16_000, 1)  # 1.28 MB
            face.interrupt()
            await seen.until("interrupted")
            await face.close()

    asyncio.run(talk())
    assert seen.of("interrupted")[0]["sent"] == 40 and not seen.of("error")


def test_what_is_never_heard_needs_no_server():
    async def talk():
        face = AssistantFace("ws://127.0.0.1:1", Seen().show)
        face.flush()
        face.interrupt()
        await face.close()
        return face._session

    assert asyncio.run(talk()) is None
