"""A live server with a tiny talker."""

import json
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from websockets.asyncio.client import connect

from models.generation.animator import Animator
from models.generation.live import LiveConfig
from models.heads.flame import load_flame
from tests.support.demo_workspace import STATS
from tests.support.tiny_talker import make_talker
from utils.coefs import CoefStats, MotionCodec
from web.live.limits import Limits
from web.live.server import running
from web.live.service import Service

LIVE = LiveConfig(hop=0.2, first_hop=0.2, look_ahead=0.04, catch_up=True)


def tiny_animator() -> Animator:
    model = make_talker()
    return Animator(model, MotionCodec(model.config.layout, CoefStats.load(STATS)), published=False)


def tiny_service(folder: Path, max_sessions: int = 4) -> Service:
    """With the styles `calm` and `lively`."""
    for i, name in enumerate(("calm", "lively")):
        np.save(folder / f"{name}.npy", np.full(128, i, np.float32))
    return Service(tiny_animator(), load_flame(None), folder, "calm", LIVE, max_sessions)


@asynccontextmanager
async def served(service: Service, **limits):
    """The address of a running server."""
    async with running(service, "127.0.0.1", 0, Limits(**limits)) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def client(address: str, **start):
    """A client that has started a session."""
    async with connect(address) as socket:
        await socket.send(json.dumps({"type": "start", "version": 1, **start}))
        yield socket
