"""web/desk.py: places in the queue, leaving it, and what fails."""

import threading
import time
from pathlib import Path

import pytest

from utils.errors import UserError
from web import desk as desk_module
from web.desk import WAITING, Desk
from web.service import Take
from web.wish import Wish

WISH = Wish(Path("speech.wav"))


class Maker:
    """Makes a take when it is let to."""

    def __init__(self) -> None:
        self.gate, self.made, self.began = threading.Semaphore(0), [], threading.Semaphore(0)

    def __call__(self, wish, report, token):
        report(0.3, "drawing the video")
        self.began.release()
        self.gate.acquire()
        if wish.seed == 666:
            raise UserError("seed: no")
        if wish.seed == 667:
            raise RuntimeError("a fault")
        report(0.9, "writing the downloads")
        self.made.append(token)
        return Take(Path(token), 1.0, 1.0)


@pytest.fixture
def maker():
    return Maker()


@pytest.fixture
def desk(maker):
    desk = Desk(maker)
    yield desk
    for _ in range(WAITING + 2):
        maker.gate.release()
    desk.close()


def submitted(desk, seed=0):
    job = desk.submit(Wish(WISH.audio, seed=seed))
    job.watch(1)
    return job


def wait_for(condition):
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("did not happen")


def test_everyone_sees_the_place_and_may_leave(desk, maker):
    jobs = [submitted(desk) for _ in range(20)]
    maker.began.acquire()
    assert [desk.status(job)["place"] for job in jobs] == list(range(20))
    assert desk.status(jobs[0])["state"] == "working" and desk.status(jobs[0])["ready"] == ["head"]
    desk.stop(jobs[3].token)
    assert desk.status(jobs[3])["state"] == "stopped"
    assert [desk.status(job)["place"] for job in jobs[4:]] == list(range(3, 19))
    for _ in jobs:
        maker.gate.release()
    wait_for(lambda: all(job.over for job in jobs))
    assert maker.made == [job.token for job in jobs if job is not jobs[3]]
    assert desk.status(jobs[-1])["ready"] == ["head", "video", "files"]


def test_cancel_ends_work_that_has_begun(desk, maker):
    job = submitted(desk)
    maker.began.acquire()
    desk.stop(job.token)
    maker.gate.release()
    wait_for(lambda: not desk._waiting())
    second = submitted(desk)
    maker.gate.release()
    wait_for(lambda: second.over)
    assert (job.state, second.state, maker.made) == ("stopped", "done", [second.token])


def test_a_closed_tab_gives_up_its_work_and_a_reload_does_not(desk, maker, monkeypatch):
    monkeypatch.setattr(desk_module, "GRACE", 0.2)
    first, closed, reloaded = (submitted(desk) for _ in range(3))
    maker.began.acquire()
    for job in (first, closed, reloaded):
        job.watch(-1)
    time.sleep(0.05)
    reloaded.watch(1)
    time.sleep(0.3)
    assert desk.status(reloaded)["place"] == 1  # only the one being made is before it
    for _ in range(3):
        maker.gate.release()
    wait_for(lambda: reloaded.over)
    assert (first.state, closed.state, maker.made) == ("stopped", "waiting", [reloaded.token])
    desk.forget(3600)
    assert desk.find(closed.token) is closed  # who comes back within the hour gets a turn
    desk.forget(0)
    assert desk.find(closed.token) is None


def test_errors_are_told_and_the_next_one_is_made(desk, maker):
    jobs = [submitted(desk, seed) for seed in (666, 667, 0)]
    for _ in jobs:
        maker.gate.release()
    wait_for(lambda: jobs[2].over)
    assert [job.state for job in jobs] == ["failed", "failed", "done"]
    assert jobs[0].error == "seed: no" and "server's log" in jobs[1].error


def test_a_full_queue_says_so(desk, maker):
    submitted(desk)
    maker.began.acquire()
    for _ in range(WAITING):
        submitted(desk)
    with pytest.raises(UserError, match="waiting already"):
        desk.submit(WISH)
