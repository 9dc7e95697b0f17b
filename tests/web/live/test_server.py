"""The live server over real sockets, with a tiny talker: sessions, limits, clients that misbehave."""

import asyncio
import base64
import json
import os
import random
import re
import signal
import time
import urllib.request

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage

import web.live.server
import web.live.service
import web.live.session
from tests.support.demo_workspace import speech
from tests.support.live_server import client, served, tiny_service
from tests.support.programs import program
from web.live.protocol import HEADER, SCHEMA
from web.live.service import MAX_GUIDANCES
from web.live.styles import style_of_motion
from web.serve import main

PCM = (speech(1.0) * 32767).astype("<i2").tobytes()
VALID = Draft202012Validator(json.loads(SCHEMA.read_text()))


@pytest.fixture
def service(tmp_path):
    return tiny_service(tmp_path)


async def messages(socket) -> list[dict]:
    """Everything until the end, checked against the schema."""
    found = []
    async for text in socket:
        found.append(json.loads(text))
        VALID.validate(found[-1])
    return found


async def refusal(socket) -> tuple[int, str]:
    """The close code, and the message that came before."""
    found = []
    try:
        async for text in socket:
            found.append(text)
    except ConnectionClosed:
        pass
    errors = [one for one in map(json.loads, (t for t in found if isinstance(t, str))) if one["type"] == "error"]
    assert len(errors) == 1 and errors[0]["code"] == socket.close_code, (found[-1:], socket.close_code)
    return errors[0]["code"], errors[0]["message"]


def test_an_utterance(service):
    async def talk():
        async with served(service) as address, client(address) as socket:
            for i in range(0, len(PCM), 3000):
                await socket.send(PCM[i : i + 3000])
            await socket.send('{"type": "end"}')
            return await messages(socket), socket.close_code

    found, code = asyncio.run(talk())
    assert code == 1000 and found[0]["type"] == "ready" and found[-1]["type"] == "ended"
    frames = [one for one in found if one["type"] == "frame"]
    assert [one["frame"] for one in frames] == list(range(found[-1]["frames"]))
    np.testing.assert_allclose([one["audio"] for one in frames if one["audio"] is not None], np.arange(25) / 25)
    states = [one["state"] for one in found if one["type"] == "state"]
    assert states == ["idle", "speaking", "idle"] or states == ["speaking", "idle"]
    assert not service.sessions


def test_commands(service):
    async def talk():
        async with served(service) as address, client(address, listen=True, frames="packed", fps=50) as socket:
            ready = json.loads(await socket.recv())
            await socket.send(b"\0" + PCM * 5)
            await socket.send(b"\1" + PCM)
            await socket.send(json.dumps({"type": "set_style", "style": "lively"}))
            await socket.send(json.dumps({"type": "set_style", "style": "angry"}))
            await socket.send(json.dumps({"type": "set_gain", "values": {"offset.browInnerUp": 1, "gain.head": 0}}))
            await socket.send(json.dumps({"type": "set_gain", "values": {"gain.nose": 1}}))
            await socket.send(json.dumps({"type": "set_state", "state": "thinking"}))
            await asyncio.sleep(0.5)
            await socket.send('{"type": "interrupt"}')
            await asyncio.sleep(0.3)
            await socket.send('{"type": "end"}')
            return ready, [message async for message in socket]

    ready, found = asyncio.run(talk())
    texts = [json.loads(one) for one in found if isinstance(one, str)]
    errors = [one for one in texts if one["type"] == "error"]
    assert [one["code"] for one in errors] == [None, None]
    assert "'angry' is not a choice; use one of calm, lively" in errors[0]["message"]
    assert "'gain.nose' is not a choice" in errors[1]["message"]
    (interrupted,) = [one for one in texts if one["type"] == "interrupted"]
    assert 0 < interrupted["spoken"] < 1 and interrupted["sent"] == 5
    assert [one["state"] for one in texts if one["type"] == "state"][-1] == "thinking"
    packed = [one for one in found if isinstance(one, bytes)]
    assert all(len(one) == HEADER.size + 4 * len(ready["names"]) for one in packed)
    times = [HEADER.unpack_from(one)[4] for one in packed]
    np.testing.assert_allclose(np.diff(times), 0.02)
    last = dict(zip(ready["names"], np.frombuffer(packed[-1], "<f4", offset=HEADER.size)))
    assert last["browInnerUp"] > 0.9 and last["headW"] == pytest.approx(1, abs=1e-6)


def test_resampled_audio_is_heard_to_its_end(service):
    """The resampler holds samples back until an utterance ends; those of an interrupted one are dropped."""

    async def talk():
        async with served(service) as address, client(address, rate=32_000) as socket:
            for command in ("flush", "interrupt", "interrupt"):
                await socket.send(PCM)  # 0.5 s
                await socket.send(json.dumps({"type": command}))
            await socket.send('{"type": "end"}')
            return await messages(socket)

    found = [one for one in asyncio.run(talk()) if one["type"] == "interrupted"]
    assert [(one["spoken"], one["sent"]) for one in found] == [(0, 1), (1, 1.5)]


def test_a_server_that_is_too_slow_says_so_once(service, monkeypatch):
    monkeypatch.setattr(web.live.session, "LATE", 0.3)
    compute, stall = web.live.service.next_pieces, iter((0, 1.0, 1.0))

    def slow(talkers):
        time.sleep(next(stall, 0))
        return compute(talkers)

    monkeypatch.setattr(web.live.service, "next_pieces", slow)

    async def talk(late):
        async with served(service) as address, client(address, late=late) as socket:
            await socket.send(PCM * 5)
            await asyncio.sleep(0.2)
            (session,) = service.sessions
            await socket.send('{"type": "end"}')
            found = await messages(socket)
        return session, found

    for late in ("skip", "wait"):
        stall = iter((0, 1.0, 1.0))
        session, found = asyncio.run(talk(late))
        spoken = [one["audio"] for one in found if one["type"] == "frame" and one["audio"] is not None]
        warnings = [one["message"] for one in found if one["type"] == "warning"]
        assert session.patient == (late == "wait")
        if late == "wait":
            assert not warnings and len(spoken) == 125
        else:
            assert len(warnings) == 1 and "too slow" in warnings[0] and 20 < len(spoken) < 125


def test_a_client_that_cannot_be_made_keeps_no_session(service, monkeypatch, caplog):
    def fail(start):
        raise RuntimeError("no resampler")

    monkeypatch.setattr(web.live.server, "AudioInput", fail)

    async def talk():
        async with served(service) as address, client(address) as socket:
            return await refusal(socket)

    assert asyncio.run(talk())[0] == 1011 and "no resampler" in caplog.text and not service.sessions


def test_all_sessions_are_shown_to_other_programs(service):
    seen = []

    class Sink:
        def show(self, slot, frame):
            seen.append((slot, frame.number, len(frame.values["arkit"])))

    service.sinks = [Sink()]

    async def talk():
        async with served(service) as address, client(address, fps=5, what="coefficients") as a, client(address) as b:
            await asyncio.sleep(0.5)
            for socket in (a, b):
                await socket.send('{"type": "end"}')
                await messages(socket)

    asyncio.run(talk())
    for slot in (1, 2):
        numbers = [number for one, number, count in seen if one == slot and count == 52]
        assert len(numbers) > 8 and numbers == list(range(len(numbers)))


def test_styles_of_all_kinds(service, tmp_path):
    numbers = np.linspace(-1, 1, 128)
    assert np.allclose(service._style([float(x) for x in numbers]), numbers)
    assert service._style(None).max() == 0 and service._style("lively").min() == 1
    np.savez(tmp_path / "bad.npz", other=np.zeros(3))
    npz = base64.b64encode((tmp_path / "bad.npz").read_bytes()).decode()
    np.savez_compressed(tmp_path / "bomb.npz", exp=np.zeros(30_000_000, np.uint8))
    bomb = base64.b64encode((tmp_path / "bomb.npz").read_bytes()).decode()
    for style, expected in (
        ([1.0] * 5, "must be 128 finite numbers, got 5"),
        ([float("inf")] * 128, "must be 128 finite"),
        ("../calm", "is not a choice"),
    ):
        with pytest.raises(ValueError, match=expected):
            service._style(style)
    for motion, expected in (
        ({"npz": "%"}, "not an npz file as base64"),
        ({"npz": "AAAA"}, "not an npz file as base64"),
        ({"npz": bomb}, "are allowed, cut the motion"),
        ({"npz": npz}, "^style: "),
        ({"exp": [[0.0] * 50] * 3, "pose": [[0.0] * 6] * 2}, "as many of both"),
        ({"exp": [[0.0]], "pose": [[0.0] * 6]}, "every row of exp must have 50"),
        ({"exp": [["x"] * 50], "pose": [[0.0] * 6]}, "numbers"),
    ):
        with pytest.raises(ValueError, match=expected):
            style_of_motion(motion, extractor=None)


def test_guidance_settings_are_limited(service):
    usual = service._generator({})
    generators = [service._generator({"audio": 1 + i / 10}) for i in range(MAX_GUIDANCES + 3)]
    assert len(service._generators) <= MAX_GUIDANCES
    assert service._generator({}) is usual  # warmed up, and what most clients want
    assert service._generator({"audio": 1 + (MAX_GUIDANCES + 1) / 10}) is generators[-2]  # unused, but there is room
    assert len(service._generators) == MAX_GUIDANCES
    assert service._generator({"audio": 1 + (MAX_GUIDANCES + 2) / 10}) is generators[-1]


@pytest.mark.parametrize(
    "start,sent,code,expected",
    [
        ({"version": 3}, None, 4400, "start.version"),
        ({"rate": 1}, None, 4400, "start.rate"),
        ({"style": "angry"}, None, 4400, "'angry' is not a choice"),
        ({"identity": "../x"}, None, 4400, "'../x' is not a choice"),
        ({"mix": {"happy": 7}}, None, 4400, "must lie between 0 and 1"),
        ({}, b"123", 4400, "not whole samples"),
        ({"format": "f32"}, np.array([np.nan], "<f4").tobytes(), 4400, "NaN"),
        ({"listen": True}, b"\7\0\0", 4400, "begins with byte 0"),
        ({"listen": True}, b"", 4400, "begins with byte 0"),
        ({}, "{}", 4400, "its type must be"),
        ({}, '{"type": "start", "version": 1}', 4400, "started once"),
        ({}, bytes(2 * 16_000 * 121), 4400, "not yet spoken"),
    ],
)
def test_mistakes_end_the_session_with_a_message(service, start, sent, code, expected):
    async def talk():
        async with served(service, message=1 << 22) as address, client(address, **start) as socket:
            if sent is not None:
                await socket.send(sent)
            return await refusal(socket)

    found, message = asyncio.run(talk())
    assert found == code and expected in message and "\n" not in message
    assert not service.sessions


def test_who_may_come_in(service):
    async def talk():
        async with served(service, token="secret", seconds=0.2) as address:
            found = []
            for start in ({}, {"token": "wrong"}, {"token": "\ud800"}, {"token": 5, "style": 5}):
                async with client(address, **start) as socket:
                    found.append(await refusal(socket))
            for where, start, headers in (
                ("/?token=secret", {}, {}),
                ("", {}, {"Authorization": "Bearer secret"}),
                ("", {"token": "secret"}, {"Origin": "https://example.org"}),
            ):
                async with connect(address + where, additional_headers=headers) as socket:
                    await socket.send(json.dumps({"type": "start", "version": 1, **start}))
                    assert json.loads(await socket.recv())["type"] == "ready"
                    found.append(await refusal(socket))
        async with served(service) as address, connect(address, origin="https://example.org") as socket:
            found.append(await refusal(socket))
        return found

    found = asyncio.run(talk())
    assert [code for code, _ in found] == [4401, 4401, 4401, 4401, 4408, 4408, 4408, 4403]
    assert "at most 0.2 s" in found[4][1] and "example.org" in found[-1][1]


@pytest.mark.parametrize(
    "origin", ["null", "http://[::1", "", "file://", "http://127.0.0.1.example.org", "http://[::2]"]
)
def test_pages_that_are_not_of_this_machine_need_a_token(service, origin):
    async def talk():
        headers = {"Origin": origin}
        async with served(service) as address, connect(address, additional_headers=headers) as socket:
            return await refusal(socket)

    assert asyncio.run(talk())[0] == 4403


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "http://localhost", "https://[::1]:8000"])
def test_pages_of_this_machine_need_no_token(service, origin):
    async def talk():
        async with served(service) as address, connect(address, origin=origin) as socket:
            await socket.send('{"type": "start", "version": 1}')
            return json.loads(await socket.recv())["type"]

    assert asyncio.run(talk()) == "ready"


def test_limits(service, monkeypatch):
    monkeypatch.setattr(web.live.server, "START_SECONDS", 0.1)
    service.max_sessions = 1

    async def talk():
        async with served(service, connections=2, message=5000) as address:
            async with client(address) as first, client(address) as second:
                await first.recv()
                full = await refusal(second)
                async with connect(address) as silent:
                    late = await refusal(silent)
                async with connect(address) as silent, connect(address) as third:
                    crowd = await refusal(third)
                health = await asyncio.to_thread(urllib.request.urlopen, address.replace("ws", "http") + "/health")
                await first.send(bytes(6000))
                with pytest.raises(ConnectionClosed):
                    while True:
                        await first.recv()
            return full, late, crowd, first.close_code, json.load(health)

    full, late, crowd, large, health = asyncio.run(talk())
    assert (full[0], late[0], crowd[0], large) == (4429, 4408, 4429, 1009)
    assert health == {"status": "ok", "version": 1, "sessions": 1, "free": 0}


def test_a_client_that_does_not_read_is_closed_and_others_are_not_disturbed(service, monkeypatch):
    monkeypatch.setattr(web.live.server, "UNREAD", 20)

    async def talk():
        async with served(service) as address, client(address) as good, connect(address, max_queue=1) as slow:
            await slow.send(json.dumps({"type": "start", "version": 1, "what": "vertices", "fps": 60}))
            await slow.recv()
            slow.transport.pause_reading()
            came, ends = [], time.monotonic() + 8
            while len(service.sessions) == 2 and time.monotonic() < ends:
                await good.recv()
                came.append(time.monotonic())
            slow.transport.resume_reading()
            return len(service.sessions), await refusal(slow), np.diff(came)

    left, (code, message), gaps = asyncio.run(talk())
    assert left == 1 and code == 4430 and "20 messages are unread" in message
    assert gaps.max() < 0.5


def test_a_failure_of_the_network_interrupts_and_does_not_stop_the_server(service, monkeypatch):
    monkeypatch.setattr(web.live.service, "next_pieces", lambda talkers: 1 / 0)

    async def talk():
        async with served(service) as address, client(address) as socket:
            await socket.send(PCM)
            await asyncio.sleep(0.3)
            await socket.send('{"type": "end"}')
            return await messages(socket)

    found = asyncio.run(talk())
    assert found[-1]["type"] == "ended" and all(one.get("audio") is None for one in found if one["type"] == "frame")


def test_thousands_of_bad_messages_and_cut_connections(service):
    """A few of them here; `python -m benchmarks.speed.serve --fuzz 10000` does the rest. A good client is unharmed."""
    from benchmarks.speed.live_clients import attack

    async def talk():
        # late: a machine that stands still for 2 s must not count as harm
        async with served(service, message=1 << 16) as address, client(address, late="wait") as good:
            reading = asyncio.create_task(messages(good))
            await attack(address, 150, random.Random(0))
            await good.send(PCM)
            await good.send('{"type": "end"}')
            found = await reading
            async with asyncio.timeout(20):
                while service.sessions:
                    await asyncio.sleep(0.01)
            return found

    found = asyncio.run(talk())
    assert sum(1 for one in found if one["type"] == "frame" and one["audio"] is not None) == 25
    assert not service.sessions


def test_the_program_starts_says_so_and_stops(tmp_path):
    with program(["-m", "web.serve", "--port", "0"], env=os.environ | {"OMP_NUM_THREADS": "1"}) as run:
        ready = run.stderr.readline()
        address = re.match(r"ready: (ws://127\.0\.0\.1:\d+), 16 sessions", ready)[1]

        async def talk():
            async with client(address) as socket:
                await socket.recv()
                run.send_signal(signal.SIGTERM)
                with pytest.raises((ConnectionClosed, InvalidMessage)):
                    while True:
                        await socket.recv()
                return socket.close_code

        assert asyncio.run(talk()) == 1001
        assert run.wait(10) == 0 and run.stderr.read() == ""


@pytest.mark.parametrize(
    "flags,expected",
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0: lets other machines in"),
        (["--port", "70000"], "--port 70000"),
        (["--hop", "0.03"], "--hop 0.03"),
        (["--hop", "2"], "--hop 2"),
        (["--livelink", "127.0.0.1:x"], "--livelink 127.0.0.1:x"),
        (["--ndjson", "/"], "--ndjson /"),
        (["--max_sessions", "0"], "--max_sessions 0"),
        (["--max_seconds", "nan"], "--max_seconds nan"),
        (["--exp_name", "nosuch"], "nosuch"),
    ],
)
def test_wrong_flags(capsys, monkeypatch, flags, expected):
    monkeypatch.delenv("DIFFPOSETALK_TOKEN", raising=False)
    with pytest.raises(SystemExit) as end:
        main(flags)
    assert end.value.code == 2 and expected in capsys.readouterr().err
