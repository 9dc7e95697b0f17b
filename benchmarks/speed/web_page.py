"""How long visitors of the web page wait: a first one, a returning one, and twenty at once.

    python -m benchmarks.speed.web_page [--json waits.json]

The first two press the button in headless Chromium, which draws the playing head in software on the same cores; a
client without a browser shows what the server alone needs. Needs what benchmarks.figures.web_page needs.
"""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from benchmarks.browser import FILMED, FINISHED, MOVING, chromium, server, visit, wait
from benchmarks.report import Flags, column, publish, read_flags
from utils.config import check_least
from utils.errors import cli


@dataclass(frozen=True)
class Wait:
    """Seconds from the press to what a visitor waits for."""

    visitor: str = column("visitor")
    head: float = column("head moves, s", "{:.1f}")
    video: float = column("video, s", "{:.1f}")
    files: float = column("downloads, s", "{:.1f}")


def press(page) -> tuple[float, ...]:
    """Press the button -> seconds until the head moves, the video and the downloads are there."""
    token, start = page.evaluate("() => page.token"), time.perf_counter()
    page.click("#make")
    return tuple(wait(page, *condition) - start for condition in ((MOVING, token), (FILMED,), (FINISHED,)))


@dataclass
class Client:
    """A visitor without a browser."""

    url: str
    leaves: bool = False  # as soon as the place in the queue is known
    places: list[int] = field(default_factory=list)
    waits: dict[str, float] = field(default_factory=dict)
    state: str = ""

    def ask(self, path: str, method: str = "GET", values: dict[str, Any] | None = None):
        body = None if values is None else json.dumps(values).encode()
        head = {"Content-Type": "application/json"}
        return urllib.request.urlopen(urllib.request.Request(self.url + path, body, head, method=method), timeout=600)

    def visit(self, example: str) -> None:
        """Ask for a take and listen until it is over."""
        start = time.perf_counter()
        token = json.load(self.ask("/api/takes", "POST", {"audio": example}))["token"]
        with self.ask(f"/api/takes/{token}/events") as events:
            for line in events:
                if not line.startswith(b"data: "):
                    continue
                status = json.loads(line[6:])
                self.state = status["state"]
                if self.state == "waiting":
                    self.places.append(status["place"])
                    if self.leaves:
                        self.leaves = False
                        self.ask(f"/api/takes/{token}", "DELETE").close()
                for name in status["ready"]:
                    self.waits.setdefault(name, time.perf_counter() - start)


def crowd(url: str, n: int) -> dict[str, Any]:
    """`n` visitors at once, every fourth of whom leaves while waiting -> what became of them."""
    clients = [Client(url, leaves=k % 4 == 3) for k in range(n)]
    leavers = [client for client in clients if client.leaves]
    threads = [threading.Thread(target=client.visit, args=("English, 3 s",)) for client in clients]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    stayed = [client for client in clients if client not in leavers]
    return {
        "visitors": n,
        "saw_their_place": sum(bool(client.places) for client in clients),
        "left": sum(client.state == "stopped" for client in leavers),
        "done": sum(client.state == "done" for client in stayed),
        "failed": sum(client.state == "failed" for client in clients),
        "seconds_to_heads": sorted(round(client.waits["head"], 1) for client in stayed if client.waits),
    }


@dataclass(frozen=True, kw_only=True)
class WaitFlags(Flags):
    """All flags."""

    crowd: int = 20
    """Visitors at once."""

    def check(self) -> None:
        super().check()
        check_least(self, crowd=1)


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(WaitFlags, __doc__, argv)
    title = f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    with server() as url:
        with chromium() as browser:
            page = visit(browser, url)
            rows = [Wait("first", *press(page))]
            page.reload()
            wait(page, FINISHED)
            rows.append(Wait("returning", *press(page)))
        client = Client(url)
        client.visit("English, 5 s")
        rows.append(Wait("without a browser", **client.waits))
        many = crowd(url, flags.crowd)
    print(json.dumps(many))
    publish(title, rows, flags.json, crowd=many)


if __name__ == "__main__":
    main()
