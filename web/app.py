"""A page to try it: record or upload speech, choose a style, get video, a 3-D view and downloads.

python -m web.app                      # http://127.0.0.1:7860, this machine only
python -m web.app --host 0.0.0.0       # everyone who can reach this machine: there is no login
"""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from utils.config import read_flags
from utils.errors import UserError, cli
from utils.runs.run_dir import DEFAULT_EXPERIMENT
from web.addresses import address, listener, url
from web.desk import Desk
from web.folders import Uploads
from web.service import Studio


@dataclass(frozen=True)
class PageFlags:
    """All flags of the program."""

    exp_name: str = DEFAULT_EXPERIMENT
    """Experiment in experiments/DPT, or a prefix of it."""
    host: str = "127.0.0.1"
    """Address to listen on (default: this machine only)."""
    port: int = 7860
    """Port to listen on."""
    device: str = "auto"
    """cuda, cpu or auto."""


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(PageFlags, argv, (__doc__ or " ").splitlines()[0])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # otherwise the folder would stay when the server is stopped
    try:
        import uvicorn

        from web.page import Page
    except ImportError as error:
        raise UserError("the page needs its packages: pip install -r requirements-web.txt, or `make web`") from error
    with listener(flags.host, flags.port) as door, tempfile.TemporaryDirectory(prefix="diffposetalk-") as folder:
        studio, stop = Studio.open(flags.exp_name, Path(folder) / "takes", flags.device), threading.Event()
        studio.welcome()
        elsewhere = address(flags.host, flags.port)
        desk = Desk(studio.draft, studio.finish, studio.warm_up)
        page = Page(studio, desk, Uploads(Path(folder) / "uploads"), elsewhere)
        threading.Thread(target=page.sweeping, args=(stop,), daemon=True).start()
        here = url("http", flags.host, flags.port)
        print(f"open {here}" + (f", on other devices {elsewhere}" if elsewhere else ""), flush=True)
        config = uvicorn.Config(page.app(flags.host), log_level="warning", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        page.ending = lambda: server.should_exit  # visitors who listen would hold it up
        try:
            server.run([door])
        finally:
            stop.set()
            desk.close()


if __name__ == "__main__":
    main()
