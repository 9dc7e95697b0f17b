"""Front ends in processes of their own, with a tiny talker in this one."""

import asyncio
import json
import multiprocessing
import os
import queue
import signal
import threading
import time
import urllib.request
from contextlib import asynccontextmanager, contextmanager
from socket import create_server

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

import web.live.hub as hub_module
from models.generation.audio_stream import AudioScale
from models.generation.live import begin_pieces
from models.heads.flame import load_flame
from tests.support.demo_workspace import speech
from tests.support.live_server import LIVE, client, tiny_service
from utils.errors import UserError
from web.live import server
from web.live.hub import FrontEndConfig, Hub
from web.live.limits import Limits
from web.live.remote import RemoteService, Seating, Wanted
from web.live.service import SessionConfig
from web.serve import ServeFlags, run_hub

PCM = (speech(1.0) * 32767).astype("<i2").tobytes()


@contextmanager
def running(folder, sessions: int):
    """A hub with two front ends, and its address without the scheme."""
    listening = create_server(("127.0.0.1", 0))
    hub = Hub(tiny_service(folder, sessions), 2, FrontEndConfig(listening, Limits(), sessions, list))
    ready, errors = threading.Event(), []

    def work():
        try:
            hub.run(ready.set)
        except UserError as error:
            errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(120)
        yield hub, f"127.0.0.1:{listening.getsockname()[1]}", errors
    finally:
        hub.stop()
        thread.join(60)
        assert not thread.is_alive() and not any(process.is_alive() for process in hub._processes)


async def spoken(address: str, **start) -> tuple[np.ndarray, np.ndarray]:
    """Places in the audio and head rotations of the frames of speech of one utterance."""
    async with client(address, **start) as socket:
        return await utterance(socket)


async def utterance(socket) -> tuple[np.ndarray, np.ndarray]:
    """As `spoken`, of a session that has begun."""
    await socket.send(PCM)
    await socket.send('{"type": "end"}')
    found = [json.loads(text) async for text in socket]
    frames = [one for one in found if one["type"] == "frame" and one["audio"] is not None]
    return np.array([one["audio"] for one in frames]), np.array([one["head"] for one in frames])


def test_sessions_of_all_front_ends_share_the_model(tmp_path):
    with running(tmp_path, 6) as (hub, place, _):

        async def talk():
            address = f"ws://{place}"
            found = await asyncio.gather(*(spoken(address, seed=i % 2, style="lively") for i in range(6)))
            async with client(address) as socket:
                assert json.loads(await socket.recv())["type"] == "ready"
                health = json.loads(urllib.request.urlopen(f"http://{place}/health", timeout=5).read())
                await socket.send(json.dumps({"type": "set_style", "style": "angry"}))
                await socket.send(json.dumps({"type": "set_style", "style": "calm"}))
                answer = next(one for one in [json.loads(await socket.recv()) for _ in range(40)] if "code" in one)
            with pytest.raises(ConnectionClosed) as refusal:
                async with client(address, style="angry") as socket:
                    while True:
                        await socket.recv()
            async with client(address) as socket:
                await socket.recv()
                hub.stop()
                with pytest.raises(ConnectionClosed) as end:
                    while True:
                        await socket.recv()
            return found, health, answer, refusal.value, end.value

        found, health, answer, refusal, end = asyncio.run(talk())
    for audio, head in found:
        np.testing.assert_allclose(audio, np.arange(25) / 25, atol=1e-4)
        assert np.ptp(head, axis=0).min() > 0
    assert health == {"status": "ok", "version": 1, "sessions": 1, "free": 5}
    assert "'angry' is not a choice" in answer["message"] and answer["code"] is None
    assert refusal.rcvd.code == 4400 and end.rcvd.code == 1001


def test_too_many_sessions_and_a_front_end_that_dies(tmp_path, caplog):
    with running(tmp_path, 1) as (hub, place, errors):

        async def talk():
            async with client(f"ws://{place}") as first:
                await first.recv()
                with pytest.raises(ConnectionClosed) as refusal:
                    async with client(f"ws://{place}") as second:
                        while True:
                            await second.recv()
            return refusal.value

        assert asyncio.run(talk()).rcvd.code == 4429

        async def lose():
            async with client(f"ws://{place}") as socket:
                if json.loads(await socket.recv())["type"] != "ready":
                    return False  # the first client's session has not ended yet
                (seat,) = hub._seats.values()
                hub._processes[seat.front].kill()
                with pytest.raises(ConnectionClosed):
                    while True:
                        await socket.recv()
            return True

        while not asyncio.run(asyncio.wait_for(lose(), 60)):
            time.sleep(0.05)
        audio, _ = asyncio.run(asyncio.wait_for(again(f"ws://{place}"), 60))
        np.testing.assert_allclose(audio, np.arange(25) / 25, atol=1e-4)
        assert len(hub._processes) == 3 and sorted(hub._outboxes) != [0, 1]
    assert not errors and "a front end has ended, and 1 session with it" in caplog.text


def test_a_front_end_that_is_stopped_holds_up_no_other(tmp_path):
    """It is given more than its pipe holds; when it goes on, its session speaks."""
    with running(tmp_path, 2) as (hub, place, _):

        async def talk():
            async with client(f"ws://{place}") as stopped:
                await stopped.recv()
                (seat,) = hub._seats.values()
                process = hub._processes[seat.front].pid
                os.kill(process, signal.SIGSTOP)
                try:
                    unknown = (999, bytes(1 << 20))  # of a session that has left
                    telling = threading.Thread(target=hub._tell, args=(seat.front, "made", [unknown]), daemon=True)
                    telling.start()
                    telling.join(5)
                    assert not telling.is_alive()
                    other = await asyncio.wait_for(spoken(f"ws://{place}"), 20)
                finally:
                    os.kill(process, signal.SIGCONT)
                return other, await asyncio.wait_for(utterance(stopped), 20)

        for audio, _ in asyncio.run(talk()):
            np.testing.assert_allclose(audio, np.arange(25) / 25, atol=1e-4)


async def again(address: str) -> tuple[np.ndarray, np.ndarray]:
    """An utterance, as soon as there is a session."""
    while True:
        try:
            return await spoken(address)
        except ConnectionClosed:
            await asyncio.sleep(0.2)


def test_a_front_end_that_does_not_start_ends_the_server(tmp_path):
    listening = create_server(("127.0.0.1", 0))
    with pytest.raises(UserError, match="--front_ends: one of them did not start"):
        Hub(tiny_service(tmp_path), 1, FrontEndConfig(listening, Limits(), 1, broken_sinks)).run(lambda: None)


def test_a_wrong_address_is_told_before_anything_starts(tmp_path):
    flags = ServeFlags(port=0, front_ends=1, vmc="127.0.0.1:99999")
    with pytest.raises(UserError, match="--vmc 127.0.0.1:99999: must be"):
        run_hub(flags, tiny_service(tmp_path))


@asynccontextmanager
async def asking_client():
    """A front end without a hub, the hub's end of its pipe, and a client whose wish to enter has come there."""
    ours, theirs = multiprocessing.Pipe()
    service = RemoteService(theirs, load_flame(None), 2, multiprocessing.Value("i", 0, lock=False), [])
    async with (
        server.running(service, "127.0.0.1", 0, Limits()) as running,
        client(f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}") as socket,
    ):
        while not ours.poll():
            await asyncio.sleep(0.02)
        yield service, ours, socket


def test_sessions_end_quietly_when_the_models_process_dies(caplog):
    """Clients are told, and nothing is logged for each of them."""

    async def talk():
        async with asking_client() as (service, ours, socket):
            kind, number, _ = ours.recv()
            shape = np.zeros(100, np.float32)
            ours.send(("answer", number, Seating(1, LIVE, 100, 640, shape)))
            assert kind == "enter" and json.loads(await socket.recv())["type"] == "ready"
            await socket.send(PCM)
            ours.close()
            await asyncio.wait_for(service.stopped.wait(), 20)
        return service.sessions

    assert not asyncio.run(talk()) and not caplog.records


def test_a_client_that_waits_for_its_session_does_not_hold_up_the_end():
    """The model's process dies before it answers: the front end must not wait for the answer."""

    async def talk():
        async with asking_client() as (service, ours, socket):
            ours.close()
            with pytest.raises(ConnectionClosed) as end:
                while True:
                    await socket.recv()
        with pytest.raises(UserError, match="server: it stops"):
            await service.enter(SessionConfig())
        return end.value

    end = asyncio.run(asyncio.wait_for(talk(), 10))
    assert (end.rcvd.code, end.rcvd.reason) == (4429, "server: it stops; try again later")


class Late:
    """A batch that a GPU computes until it is waited for."""

    ready = False

    def __init__(self, begun, events: list[str]) -> None:
        self.begun, self.events = begun, events
        events.append("begin")

    def motions(self):
        self.events.append("end")
        return self.begun.motions()


@pytest.fixture
def seated(tmp_path, monkeypatch):
    """A hub with a front end that is not there, what it is sent, and what is computed when."""
    events = []
    monkeypatch.setattr(hub_module, "begin_pieces", lambda talkers: Late(begin_pieces(talkers), events))
    with create_server(("127.0.0.1", 0)) as listening:
        hub = Hub(tiny_service(tmp_path, 2), 0, FrontEndConfig(listening, Limits(), 2, list))
        hub._outboxes[0] = queue.SimpleQueue()
        yield hub, hub._outboxes[0], events


def wanted(hub: Hub, slot: int) -> None:
    """A session's first piece is computed."""
    scale = AudioScale()
    scale.push(speech(1.0))
    hub._on_wanted(0, [Wanted(slot, [("keep", speech(1.0))], False, scale.loudness(), 0.0)])
    hub._compute()


def test_the_next_batch_is_begun_while_a_gpu_computes_one(seated):
    hub, outbox, events = seated
    for slot in (1, 2):
        hub._on_enter(0, slot, SessionConfig())
        assert outbox.get()[0] == "answer"
        wanted(hub, slot)
    assert events == ["begin", "begin", "end"]
    hub._finish()
    for slot in (1, 2):
        kind, ((number, motion),) = outbox.get()
        assert (kind, number, len(motion)) == ("made", slot, 20)
    assert hub.service.windows == hub._batches == 2


def test_a_piece_of_a_session_that_has_ended_is_not_sent_to_the_next_one(seated):
    hub, outbox, events = seated
    hub._on_enter(0, 1, SessionConfig())
    wanted(hub, 1)
    hub._on_leave(0, 1)
    hub._on_enter(0, 2, SessionConfig())
    hub._finish()
    assert [outbox.get()[2].slot for _ in range(2)] == [1, 1]
    assert events == ["begin", "end"] and outbox.empty()


class Hanging:
    """A process that ends only when it is killed."""

    def __init__(self, events: list) -> None:
        self.events = events

    def join(self, seconds: float | None = None) -> None:
        time.sleep(seconds or 0)
        self.events.append("ended" if seconds is None else seconds)

    def kill(self) -> None:
        self.events.append("killed")


def test_front_ends_that_hang_are_killed_after_one_wait_for_all(seated, monkeypatch):
    hub, _, events = seated
    monkeypatch.setattr(hub_module, "STOP_SECONDS", 0.1)
    hub._processes = [Hanging(events) for _ in range(3)]
    hub.stop()
    hub.run(lambda: None)
    assert [one for one in events if isinstance(one, str)] == ["killed", "ended"] * 3
    assert sum(one for one in events if isinstance(one, float)) < 0.11


def broken_sinks() -> list:
    raise UserError("no such sink")
