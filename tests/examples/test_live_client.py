"""examples/live_client.py against a live server with a tiny talker."""

import asyncio
import time

import numpy as np
import pytest
import soundfile
from websockets.asyncio.server import serve

from examples import live_client
from examples.live_client import ClientFlags, main, run, speak
from tests.support.demo_workspace import speech
from tests.support.live_server import served, tiny_service
from utils.errors import UserError
from web.live.server import _Client


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "speech.wav"
    soundfile.write(path, np.stack([speech(0.6)] * 2, axis=1), 48_000)
    return str(path)


def test_it_prints_frames_in_time(tmp_path, wav, capsys):
    async def talk():
        async with served(tiny_service(tmp_path), token="secret") as address:
            await run(ClientFlags(wav, f"{address}/?token=secret"))
            with pytest.raises(UserError, match="token: wrong or missing"):
                await run(ClientFlags(wav, address))
            with pytest.raises(UserError, match="'nosuch' is not a choice"):
                await run(ClientFlags(wav, f"{address}/?token=secret", "nosuch"))

    asyncio.run(talk())
    lines = capsys.readouterr().out.splitlines()
    times = [float(line.split("audio ")[1].split()[0]) for line in lines if "audio" in line]
    np.testing.assert_allclose(times, np.arange(len(times)) / 25, atol=1e-6)
    assert len(times) in (5, 6) and "idle" in lines[-1] and "jaw 0.00" in lines[-1]


@pytest.mark.parametrize("how", ["stops", "is cut off"])
def test_a_server_that_goes_away(tmp_path, wav, monkeypatch, how):
    serve = _Client.serve

    async def cut(self):
        asyncio.get_running_loop().call_later(0.2, self.socket.transport.abort)
        await serve(self)

    if how == "is cut off":
        monkeypatch.setattr(_Client, "serve", cut)

    async def talk():
        async with served(tiny_service(tmp_path)) as address:
            client = asyncio.create_task(run(ClientFlags(wav, address)))
            await asyncio.sleep(0.5)
        with pytest.raises(UserError, match="--address ws.*: the server has gone"):
            await client

    asyncio.run(talk())


def test_an_interrupt_does_not_wait_for_a_server_that_hangs(wav, monkeypatch):
    monkeypatch.setattr(live_client, "SHUTTING", 0.2)

    async def hang(socket):
        await socket.recv()
        socket.transport.pause_reading()  # it will not even answer to a close
        await socket.wait_closed()

    async def talk():
        async with serve(hang, "127.0.0.1", 0) as server:
            address = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            client = asyncio.create_task(run(ClientFlags(wav, address)))
            await asyncio.sleep(0.5)
            began = time.monotonic()
            client.cancel()
            with pytest.raises(asyncio.CancelledError):
                await client
            for socket in server.connections:
                socket.transport.abort()
            return time.monotonic() - began

    assert 0.2 <= asyncio.run(talk()) < 3


def test_delays_do_not_add_up():
    class Slow:
        async def say(self, audio):
            time.sleep(0.03)

        async def tell(self, kind):
            pass

    began = time.monotonic()
    asyncio.run(speak(Slow(), np.zeros((16_000, 1), np.int16), 16_000))
    assert 1 <= time.monotonic() - began < 1.3  # 20 blocks


@pytest.mark.parametrize(
    "flags,expected",
    [
        (["nosuch.wav"], "nosuch.wav: no such file"),
        (["{wav}", "--address", "ws://127.0.0.1:1"], "no server there"),
        (["{wav}", "--address", "here"], "--address here"),
    ],
)
def test_mistakes(wav, capsys, flags, expected):
    with pytest.raises(SystemExit) as end:
        main([flag.format(wav=wav) for flag in flags])
    assert end.value.code == 2 and expected in capsys.readouterr().err
