"""examples/live_speech.py, with its voice, against a live server with a tiny talker."""

import asyncio
import io
import json
import signal
import sys
import time

import numpy as np
import pytest
import soundfile

from examples import live_speech
from examples.live_speech import Speaker, SpeechFlags, main, run, sentences
from tests.support.demo_workspace import speech
from tests.support.live_server import served, tiny_service
from tests.support.programs import program
from utils.errors import UserError


class Pipe(io.RawIOBase):
    """Its reads return one chunk each."""

    def __init__(self, *chunks: str | bytes) -> None:
        self.chunks = [one.encode() if isinstance(one, str) else one for one in chunks]

    def read(self, size: int = -1) -> bytes:
        return self.chunks.pop(0) if self.chunks else b""


def everything(items) -> list:
    """All items of an asynchronous iterator."""

    async def gather():
        return [item async for item in items]

    return asyncio.run(gather())


def talk(folder, source, token="secret", kind=Speaker, **flags) -> Speaker:
    """A whole session whose frames are kept."""
    speaker = kind(SpeechFlags(**flags).rate, keep=True)

    async def session():
        async with served(tiny_service(folder), token="secret") as address:
            given = SpeechFlags(f"{address}/?token={token}", **flags)
            await run(given, live_speech.speech(given, source), speaker)

    asyncio.run(session())
    return speaker


@pytest.mark.parametrize(
    "chunks,expected",
    [
        (["Hello there. How", " are you? I am"], ["Hello there.", "", "How are you?", "", "I am"]),
        (["One line\n", "Another.\n"], ["One line", "", "Another.", ""]),
        (["A text in\nlines of Dr. Who.\n\nA heading\n\nThe end.\n"],
         ["A text in lines of Dr. Who.", "A heading", "The end.", ""]),
        (["Caf\xe9".encode()[:-1], "Caf\xe9".encode()[-1:] + b" opens.\n"], ["Caf\xe9 opens.", ""]),
        (["\n", " \n"], []),
    ],
)  # fmt: skip
def test_sentences_are_said_once_they_are_complete(chunks, expected):
    assert everything(sentences(Pipe(*chunks))) == expected


def test_a_pipe_speaks_at_once_and_can_be_interrupted(tmp_path):
    """The first sentence is said while the pipe is open; Ctrl-C shuts the mouth and ends in one line."""

    def talk(address):
        with program(["-m", "examples.live_speech", "--address", address, "--style", "lively"], stdin=-1) as process:
            process.stdin.write("Hello there. This is a long sentence, which goes on and on and never ends. It")
            process.stdin.flush()
            for line in process.stdout:
                frame = json.loads(line)
                if frame["audio"] is not None and frame["audio"] > 0.2:
                    break
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            frames = [json.loads(line) for line in process.stdout]
            return frames, process.stderr.read(), process.wait(60), time.monotonic() - began

    async def listen():
        async with served(tiny_service(tmp_path)) as address:
            return await asyncio.to_thread(talk, address)

    frames, error, code, seconds = asyncio.run(listen())
    assert error == "interrupted\n" and code == 130 and seconds < 5
    assert frames[-1]["state"] == "idle" and frames[-1]["arkit"]["jawOpen"] < 0.01
    assert max(frame["audio"] or 0 for frame in frames) < 1.5


def test_a_video_has_the_voice_where_the_face_says_it(tmp_path):
    speaker = talk(tmp_path, Pipe("Hello there.\n"))
    motion, sound = speaker.film()
    (pieces,) = sound.pieces
    voice = np.concatenate(speaker.heard)
    assert sound.sample_rate == 24_000 and pieces.shape == (1, 960 * len(motion)) and len(motion) == len(speaker.frames)
    first = next(i for i, frame in enumerate(speaker.frames) if frame["audio"] is not None)
    np.testing.assert_array_equal(pieces[0, 960 * first : 960 * first + len(voice)], voice)
    assert not pieces[0, : 960 * first].any() and not pieces[0, 960 * first + len(voice) :].any()


def test_long_speech_waits_for_the_face(tmp_path, monkeypatch):
    monkeypatch.setattr(live_speech, "AHEAD", 0.3)
    ahead = []

    class Watched(Speaker):
        async def _say(self, head, block):
            await super()._say(head, block)
            ahead.append(self.sent - self.said)

    speaker = talk(tmp_path, Pipe("Hello. Hello.\n"), kind=Watched)
    assert max(ahead) <= 1.3 and speaker.sent > 1.5
    assert max(frame["audio"] or 0 for frame in speaker.frames) == pytest.approx(speaker.sent, abs=0.08)


@pytest.mark.parametrize("kind", ["wav", "raw"])
def test_another_voices_sound(tmp_path, kind):
    file = io.BytesIO()
    soundfile.write(file, speech(1), 16_000, format="wav", subtype="PCM_16")
    data = file.getvalue()[0 if kind == "wav" else 44 :]
    speaker = talk(tmp_path, Pipe(data[:1001], data[1001:]), sound=True, pcm_rate=16_000)
    assert speaker.sent == pytest.approx(1) and max(frame["audio"] or 0 for frame in speaker.frames) > 0.9


@pytest.mark.parametrize(
    "chunks,flags,expected",
    [
        (["Hello.\n"], {"token": "wrong"}, "token: wrong or missing"),
        (["Hello.\n"], {"style": "nosuch"}, "'nosuch' is not a choice"),
        ([b"RIFF\xff\xff\xff"], {}, "standard input: is not UTF-8 text .*; sound needs --sound"),
        (["\n\n"], {}, "standard input: has no words to say"),
        (["\u4f60\u597d\n"], {}, "standard input: has no words to say"),
        ([b""], {"sound": True}, "standard input: has no words to say"),
        ([b"RIFF1234WAVEjunk"], {"sound": True}, "standard input: "),
    ],
)
def test_mistakes(tmp_path, chunks, flags, expected):
    with pytest.raises(UserError, match=expected):
        talk(tmp_path, Pipe(*chunks), **flags)


def test_a_text_without_full_stops_is_synthesised_in_short_parts():
    said = []

    def voice(text, seed):
        said.append(text)
        return np.zeros(1, np.float32)

    text = "on and on " * 100
    assert len(everything(live_speech.spoken(voice, sentences(Pipe(text))))) == len(said) > 3
    assert max(map(len, said)) <= live_speech.LONGEST and " ".join(said) == text.strip()


def test_lines_do_not_wait_for_pytorch():
    code = "import sys, examples.live_speech\nprint('torch' in sys.modules)"
    with program(["-c", code]) as process:
        assert process.communicate(timeout=60) == ("False\n", "")


def test_what_cannot_be_said_is_left_out(caplog):
    pieces = everything(live_speech.speech(SpeechFlags(), Pipe("1234567890" * 20 + "\n", "Hello.\n")))
    assert [len(piece) > 0 for piece in pieces] == [False, True, False] and "cannot be said" in caplog.text


@pytest.mark.parametrize(
    "flags,expected",
    [
        (["--pcm_rate", "100"], "--pcm_rate 100: must lie between"),
        (["-o", "talk.avi"], "talk.avi: the output must end in .mp4"),
        (["--sound", "--address", "ws://127.0.0.1:1"], "--address ws://127.0.0.1:1: no server there"),
    ],
)
def test_wrong_flags(capsys, flags, expected):
    with pytest.raises(SystemExit) as end:
        main(flags)
    assert end.value.code == 2 and expected in capsys.readouterr().err


def test_without_the_voice(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "hibari", None)
    with pytest.raises(UserError, match="pip install hibari-tts"):
        talk(tmp_path, Pipe("Hello.\n"))
