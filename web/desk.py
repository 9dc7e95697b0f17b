"""The queue: one visitor's head is made at a time, and one video; the others see their place, and may leave."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from utils.errors import UserError
from web.folders import new_token
from web.service import DRAWING, EXPORTING, Draft, Report, Take
from web.wish import Wish

log = logging.getLogger(__name__)
WAITING, GRACE = 40, 10.0  # visitors in the queue; seconds without a watcher (a reload) after which a take is given up
READY = (("head", DRAWING), ("video", EXPORTING), ("files", 1.0))  # what can be shown from which progress on
BROKEN = "something went wrong here; the server's log has the details. Try again, or another recording"


class Stopped(Exception):
    """The visitor has left, or has pressed Cancel."""


@dataclass
class Job:
    """A take that is wanted, being made, or over. Only the desk changes its state."""

    wish: Wish
    token: str = field(default_factory=new_token)
    state: str = "waiting"  # then working, and done, failed or stopped
    share: float = 0.0
    what: str = ""
    error: str = ""
    draft: Draft | None = None
    take: Take | None = None
    born: float = field(default_factory=time.monotonic)
    watchers: int = 0
    left: float = field(default_factory=time.monotonic)  # when the last watcher left

    @property
    def over(self) -> bool:
        return self.state not in ("waiting", "working")

    @property
    def given_up(self) -> bool:
        return self.state == "stopped" or (self.watchers == 0 and time.monotonic() - self.left > GRACE)

    def watch(self, change: int) -> None:
        """Count a watcher who has come (1) or left (-1)."""
        self.watchers += change
        self.left = time.monotonic()


class Desk:
    """Takes wishes and has them fulfilled in order. One thread makes heads, another one videos; a video rests while a
    head is wanted, so that no visitor waits for the videos of others before anything moves."""

    def __init__(
        self,
        draft: Callable[[Wish, Report, str], Draft],
        finish: Callable[[Draft, Report], Take],
        warm_up: Callable[[], object] | None = None,
    ) -> None:
        """`draft`, `finish`: those of a `Studio`; `warm_up` runs before the first wish."""
        self._draft, self._finish, self._warm_up = draft, finish, warm_up
        self._jobs: dict[str, Job] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._make_heads, self._make_videos)]
        for thread in self._threads:
            thread.start()

    def submit(self, wish: Wish) -> Job:
        """Queue a wish.

        Raises:
            UserError: settings that cannot be used, or a full queue.
        """
        wish.check()
        with self._changed:
            if len(self._waiting()) >= WAITING:
                raise UserError(f"{WAITING} visitors are waiting already; try again in a few minutes")
            job = Job(wish)
            self._jobs[job.token] = job
            self._changed.notify_all()
        return job

    def find(self, token: str) -> Job | None:
        return self._jobs.get(token)

    def stop(self, token: str) -> None:
        """Take a wish back, or end its work at the next step."""
        with self._changed:
            job = self._jobs.get(token)
            if job is not None and not job.over:
                job.state = "stopped"

    def forget(self, max_age: float) -> None:
        """Drop what is over and older than `max_age` seconds."""
        with self._changed:
            now = time.monotonic()
            self._jobs = {
                t: job for t, job in self._jobs.items() if now - job.born <= max_age or not (job.over or job.given_up)
            }

    def close(self) -> None:
        """End all work, so that its files can be removed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for token in list(self._jobs):
            self.stop(token)
        for thread in self._threads:
            thread.join(10)

    def status(self, job: Job) -> dict[str, Any]:
        """What the page shows of a job; `place` is the number of visitors before this one."""
        waiting = [other.token for other in self._waiting()]
        place = waiting.index(job.token) + self._drafting() if job.token in waiting else 0
        ready = [name for name, share in READY if job.share >= share]
        return {
            "token": job.token, "state": job.state, "place": place, "share": job.share, "what": job.what,
            "error": job.error, "ready": ready,
        }  # fmt: skip

    def _waiting(self) -> list[Job]:
        return [job for job in list(self._jobs.values()) if job.state == "waiting" and not job.given_up]

    def _drafting(self) -> bool:
        """Whether a head is being made."""
        return any(job.state == "working" and not job.draft for job in list(self._jobs.values()))

    def _drafted(self) -> list[Job]:
        """Those who wait for their video, in the order of their heads."""
        return [job for job in list(self._jobs.values()) if job.state == "working" and job.draft and not job.take]

    def _make_heads(self) -> None:
        if self._warm_up is not None:
            self._warm_up()
        while (job := self._next(self._waiting)) is not None:
            self._attempt(job, self._make_head)

    def _make_videos(self) -> None:
        while (job := self._next(self._drafted)) is not None:
            self._attempt(job, self._make_video)

    def _next(self, candidates: Callable[[], list[Job]]) -> Job | None:
        """The first of them, as soon as there is one; None when the desk closes."""
        with self._changed:
            while not (found := candidates()) and not self._closed:
                self._changed.wait(1.0)  # a visitor who was away may be back
            if self._closed:
                return None
            found[0].state = "working"
            return found[0]

    def _make_head(self, job: Job, report: Report) -> None:
        job.draft = self._draft(job.wish, report, job.token)
        with self._changed:
            self._changed.notify_all()

    def _make_video(self, job: Job, report: Report) -> None:
        def polite(share: float, what: str) -> None:
            report(share, what)
            with self._changed:
                while (self._drafting() or self._waiting()) and not self._closed:
                    self._changed.wait(0.5)
                    report(share, "waiting for the heads of other visitors")
            report(share, what)

        assert job.draft is not None
        job.take = self._finish(job.draft, polite)
        job.share, job.state = 1.0, "done"

    @staticmethod
    def _attempt(job: Job, step: Callable[[Job, Report], None]) -> None:
        def report(share: float, what: str) -> None:
            if job.given_up:
                raise Stopped
            job.share, job.what = share, what

        try:
            step(job, report)
        except Stopped:
            job.state = "stopped"
        except UserError as error:
            job.error, job.state = " ".join(str(error).split()), "failed"
        except Exception:
            log.exception("take %s failed", job.token)
            job.error, job.state = BROKEN, "failed"
