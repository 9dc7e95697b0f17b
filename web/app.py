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
from pathlib import Path

from utils.config import UserParser
from utils.errors import UserError, cli
from utils.runs.run_dir import DEFAULT_EXPERIMENT
from web.page import make_app, sweeping
from web.service import Studio

log = logging.getLogger(__name__)


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
    parser = UserParser(description=__doc__.splitlines()[0])
    parser.add_argument("--exp_name", default=DEFAULT_EXPERIMENT, help="experiment in experiments/DPT, or a prefix")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=7860, help="(default: 7860)")
    parser.add_argument("--device", default="auto", help="cuda, cpu or auto (default: auto)")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # otherwise the folder would stay when the server is stopped
    with tempfile.TemporaryDirectory(prefix="diffposetalk-") as folder:
        uvicorn = open_gradio(Path(folder) / "uploads")
        studio, stop = Studio.open(args.exp_name, Path(folder) / "takes", args.device), threading.Event()
        threading.Thread(target=sweeping, args=(studio, stop), daemon=True).start()
        print(f"open http://{args.host}:{args.port}")
        try:
            uvicorn.run(make_app(studio), host=args.host, port=args.port, log_level="warning")
        finally:
            stop.set()


if __name__ == "__main__":
    main()
