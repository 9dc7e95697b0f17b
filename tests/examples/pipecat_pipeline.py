"""examples/live_pipecat.py in a pipeline of pipecat-ai, against `python -m web.serve`. `make pipecat` runs it.

Pipecat pins older versions of this project's packages, so the pipeline runs in an environment without them, and the
server in the project's own.
"""

import asyncio
import logging
import subprocess
from pathlib import Path

import pytest
from pipecat.frames.frames import (
    Frame,
    InterruptionFrame,
    OutputTransportMessageFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.tests.utils import SleepFrame, run_test

from examples.live_pipecat import FaceProcessor

ROOT = Path(__file__).resolve().parents[2]
RATE, BLOCK = 24_000, 960  # Hz, bytes of 20 ms
TONE = b"".join(int(8000 * ((i * 7 % 200) / 100 - 1)).to_bytes(2, "little", signed=True) for i in range(RATE))  # 1 s


@pytest.fixture(scope="module")
def server():
    """The address of a live server that needs a token."""
    command = [".venv/bin/python", "-m", "web.serve", "--port", "0", "--device", "cpu", "--token", "secret"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = next(line for line in process.stderr if line.startswith(("ready:", "error:")))
            assert line.startswith("ready: "), line
            yield line.split()[1].rstrip(",")
        finally:
            process.kill()


def spoken(pcm: bytes) -> list[Frame]:
    """An utterance as text-to-speech services give it."""
    blocks = [TTSAudioRawFrame(pcm[at : at + BLOCK], RATE, 1) for at in range(0, len(pcm), BLOCK)]
    return [TTSStartedFrame(), *blocks, TTSStoppedFrame()]


def passed(address: str, frames: list[Frame], **start) -> tuple[bytes, list[dict]]:
    """What comes out of the pipeline: the speech, and the face's messages."""
    down, up = asyncio.run(run_test(FaceProcessor(address, **start), frames_to_send=frames, start_timeout=10))
    assert not [frame for frame in up if "Error" in type(frame).__name__]
    sound = b"".join(frame.audio for frame in down if isinstance(frame, TTSAudioRawFrame))
    return sound, [frame.message for frame in down if isinstance(frame, OutputTransportMessageFrame)]


def test_speech_passes_on_and_the_face_speaks_it(server):
    sound, messages = passed(f"{server}/?token=secret", [*spoken(TONE), SleepFrame(4)], style="smile")
    assert sound == TONE and messages[0]["type"] == "ready"
    frames = [one for one in messages if one["type"] == "frame"]
    audio = [frame["audio"] for frame in frames if frame["audio"] is not None]
    assert audio == pytest.approx([i / 25 for i in range(25)]) and len(frames[0]["arkit"]) == 52
    assert [one["state"] for one in messages if one["type"] == "state"][-2:] == ["speaking", "idle"]


def test_an_interruption_shuts_the_mouth(server):
    frames = [*spoken(TONE * 10), SleepFrame(3), InterruptionFrame(), SleepFrame(1)]
    _, messages = passed(f"{server}/?token=secret", frames)
    (interrupted,) = [one for one in messages if one["type"] == "interrupted"]
    assert interrupted["sent"] == 10 and 0 < interrupted["spoken"] < 5
    assert messages[-1]["state"] == "idle" and messages[-1]["arkit"]["jawOpen"] < 0.01


@pytest.mark.parametrize("query,expected", [("/?token=no", "token: wrong or missing"), (None, "Connect call failed")])
def test_speech_goes_on_without_a_face(server, caplog, query, expected):
    caplog.set_level(logging.WARNING)
    address = "ws://127.0.0.1:1" if query is None else server + query
    sound, messages = passed(address, [*spoken(TONE), SleepFrame(0.5), *spoken(TONE)])
    assert sound == TONE * 2 and not [one for one in messages if one["type"] == "frame"]
    (line,) = [one.getMessage() for one in caplog.records if one.name == "examples.live_assistant"]
    assert expected in line
