"""benchmarks.speed.serve on a tiny server: every figure is there, and hostile clients cost the good one nothing."""

import asyncio
import math
import os
import random
from contextlib import asynccontextmanager

import numpy as np
import pytest

from benchmarks.speed import serve
from benchmarks.speed.live_clients import Track, attack
from tests.support.demo_workspace import speech
from tests.support.live_server import served, tiny_service
from utils.errors import UserError

PCM = (speech(3.0) * 32767).astype("<i2").tobytes()


@asynccontextmanager
async def tiny(folder):
    async with served(tiny_service(folder, 12)) as address:
        yield serve.Server(address, os.getpid())


def test_sessions_are_measured(tmp_path):
    async def measure():
        async with tiny(tmp_path) as running:
            return await serve.measured(running, PCM, 2, 2.5)

    row = asyncio.run(measure())
    assert row.sessions == 2 and row.lost == 0
    assert 0.2 < row.first_s <= row.late_s and 0.2 < row.median_s <= row.late_s
    assert (
        row.gap_s < 1
        and row.interrupt_s < 1
        and row.cpu > 0
        and math.isfinite(row.growth_mb)
        and math.isfinite(row.drift_ms)
    )


def test_batches_are_measured(tmp_path):
    for n in (1, 3):
        row = serve.batch_row(tiny_service(tmp_path), n, 0.2, repeats=3)
        assert row.hops == n and row.prepare_ms > row.wait_ms > 0
        assert row.rate == pytest.approx(1000 * n / (row.prepare_ms + row.wait_ms))
    with pytest.raises(UserError, match="--batches 0: must be at least 1"):
        serve.ServeBenchFlags(batches=(2, 0)).check()


def test_hostile_clients(tmp_path):
    async def measure():
        async with tiny(tmp_path) as running:
            return await serve.fuzzed(running, PCM, 30)

    found = asyncio.run(measure())
    assert found["connections"] == 30 and found["lost"] == 0 and found["seconds"] > 1


def test_refused_connections_do_not_count():
    assert asyncio.run(attack("ws://127.0.0.1:9", 5, random.Random(0))) == 0


def test_a_mouth_that_never_shuts_is_seen():
    assert math.isnan(serve.greatest([0.3, math.nan])) and serve.greatest([0.1, 0.3]) == 0.3


def test_lost_and_later_frames():
    track = Track(0.0, [0.0, 0.04, 0.12], [0.3, 0.34, 0.52])
    np.testing.assert_allclose(track.delays, [0.3, 0.3, 0.4])
    assert serve.lost_frames(track) == 1 and abs(serve.drift(track) - 0.1) < 1e-9


@pytest.mark.parametrize(
    "flags,expected",
    [(["--sessions", "0"], "--sessions 0"), (["--seconds", "1"], "--seconds 1"), (["--fuzz", "-1"], "-1")],
)
def test_wrong_flags(capsys, flags, expected):
    with pytest.raises(SystemExit) as end:
        serve.main(flags)
    assert end.value.code == 2 and expected in capsys.readouterr().err
