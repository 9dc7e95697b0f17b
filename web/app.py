"""A page to try it: record or upload speech, choose a style, get video, a 3-D view and downloads.

python -m web.app                      # http://127.0.0.1:7860, this machine only
python -m web.app --host 0.0.0.0       # everyone who can reach this machine: there is no login
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from utils.config import read_flags
from utils.errors import UserError, cli
from utils.runs.run_dir import DEFAULT_EXPERIMENT
from web.page import make_app, sweeping
from web.service import Studio

log = logging.getLogger(__name__)


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


def open_gradio(folder: Path):
    """Import what the page needs; visitors' files go below `folder`, which must be known before Gradio is imported.

    Raises:
        UserError: it is not installed.
    """
    os.environ.update(GRADIO_TEMP_DIR=str(folder), GRADIO_ANALYTICS_ENABLED="False")
    try:
        import gradio  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise UserError("the page needs Gradio: pip install -r requirements-web.txt, or `make web`") from error
    return uvicorn


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(PageFlags, argv, (__doc__ or " ").splitlines()[0])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # otherwise the folder would stay when the server is stopped
    with tempfile.TemporaryDirectory(prefix="diffposetalk-") as folder:
        uvicorn = open_gradio(Path(folder) / "uploads")
        studio, stop = Studio.open(flags.exp_name, Path(folder) / "takes", flags.device), threading.Event()
        threading.Thread(target=sweeping, args=(studio, stop), daemon=True).start()
        print(f"open http://{flags.host}:{flags.port}")
        try:
            uvicorn.run(make_app(studio), host=flags.host, port=flags.port, log_level="warning")
        finally:
            stop.set()


if __name__ == "__main__":
    main()
