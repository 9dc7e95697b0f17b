"""web/desk.py: places in the queue, leaving it, and what fails."""

import threading
import time
from pathlib import Path

import pytest

from utils.errors import UserError
from web import desk as desk_module
from web.desk import WAITING, Desk
from web.service import Draft, Take
from web.wish import Wish

WISH = Wish(Path("speech.wav"))


class Maker:
    """Makes heads at once, and videos when it is let to."""

    def __init__(self) -> None:
        self.gate, self.began, self.heads = (threading.Semaphore(0) for _ in range(3))
        self.made: list[str] = []

    def draft(self, wish, report, token):
        report(0.02, "finding the motion")
        self.heads.acquire()
        if wish.seed == 666:
            raise UserError("seed: no")
        report(0.3, "waiting for the video")
        return Draft(wish, Path(token), {})

    def finish(self, draft, report):
        report(0.3, "drawing the video")
        self.began.release()
        self.gate.acquire()
        if draft.wish.seed == 667:
            raise RuntimeError("a fault")
        report(0.9, "writing the downloads")
        self.made.append(draft.folder.name)
        return Take(draft.folder)

    def allow(self, heads=0, videos=0):
        for semaphore, n in ((self.heads, heads), (self.gate, videos)):
            for _ in range(n):
                semaphore.release()


@pytest.fixture
def maker():
    return Maker()


@pytest.fixture
def desk(maker):
    desk = Desk(maker.draft, maker.finish)
    yield desk
    maker.allow(WAITING + 2, WAITING + 2)
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


def working(desk, job):
    return desk.status(job)["state"] == "working"


def test_everyone_sees_the_place_and_may_leave(desk, maker):
    jobs = [submitted(desk) for _ in range(20)]
    wait_for(lambda: working(desk, jobs[0]))
    assert [desk.status(job)["place"] for job in jobs] == list(range(20))
    desk.stop(jobs[3].token)
    assert desk.status(jobs[3])["state"] == "stopped"
    assert [desk.status(job)["place"] for job in jobs[4:]] == list(range(3, 19))
    maker.allow(20, 20)
    wait_for(lambda: all(job.over for job in jobs))
    assert maker.made == [job.token for job in jobs if job is not jobs[3]]
    assert desk.status(jobs[-1])["ready"] == ["head", "video", "files"]


def test_heads_do_not_wait_for_videos(desk, maker):
    jobs = [submitted(desk) for _ in range(3)]
    maker.allow(heads=3)
    wait_for(lambda: all(desk.status(job)["ready"] == ["head"] for job in jobs))
    assert [desk.status(job)["place"] for job in jobs] == [0, 0, 0] and not maker.made
    maker.allow(videos=3)
    wait_for(lambda: all(job.over for job in jobs))
    assert maker.made == [job.token for job in jobs]


def test_a_video_rests_while_a_head_is_wanted(desk, maker):
    maker.allow(heads=1)
    first = submitted(desk)
    maker.began.acquire()  # its video has begun
    second = submitted(desk)
    wait_for(lambda: working(desk, second))
    maker.allow(videos=1)
    wait_for(lambda: "heads of other visitors" in desk.status(first)["what"])
    assert not maker.made
    maker.allow(heads=1)
    wait_for(lambda: first.over)
    assert maker.made == [first.token] and first.state == "done"


def test_cancel_ends_work_that_has_begun(desk, maker):
    """At once for the visitor; the threads go on with the next one."""
    in_head, in_video = submitted(desk), submitted(desk)
    wait_for(lambda: working(desk, in_head))
    desk.stop(in_head.token)
    maker.allow(heads=2)
    maker.began.acquire()
    desk.stop(in_video.token)
    last = submitted(desk)
    maker.allow(1, 2)
    wait_for(lambda: last.over)
    assert [job.state for job in (in_head, in_video, last)] == ["stopped", "stopped", "done"]
    assert maker.made == [last.token]


def test_a_closed_tab_gives_up_its_work_and_a_reload_does_not(desk, maker, monkeypatch):
    monkeypatch.setattr(desk_module, "GRACE", 0.2)
    first, closed, reloaded = (submitted(desk) for _ in range(3))
    wait_for(lambda: working(desk, first))
    for job in (first, closed, reloaded):
        job.watch(-1)
    time.sleep(0.05)
    reloaded.watch(1)
    time.sleep(0.3)
    assert desk.status(reloaded)["place"] == 1  # only the one being made is before it
    maker.allow(3, 3)
    wait_for(lambda: reloaded.over)
    assert (first.state, closed.state, maker.made) == ("stopped", "waiting", [reloaded.token])
    desk.forget(3600)
    assert desk.find(closed.token) is closed  # who comes back within the hour gets a turn
    desk.forget(0)
    assert desk.find(closed.token) is None


def test_errors_are_told_and_the_next_one_is_made(desk, maker):
    jobs = [submitted(desk, seed) for seed in (666, 667, 0)]
    maker.allow(3, 3)
    wait_for(lambda: jobs[2].over)
    assert [job.state for job in jobs] == ["failed", "failed", "done"]
    assert jobs[0].error == "seed: no" and "server's log" in jobs[1].error


def test_a_full_queue_says_so(desk, maker):
    first = submitted(desk)
    wait_for(lambda: working(desk, first))
    for _ in range(WAITING):
        submitted(desk)
    with pytest.raises(UserError, match="waiting already"):
        desk.submit(WISH)
