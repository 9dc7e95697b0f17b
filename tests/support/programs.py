"""Programs in processes of their own, which end with their test whatever becomes of it."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

from utils.config import ROOT

LIMIT = 300  # seconds, after which a program is killed, so that a test which reads what it says goes on


def as_in_a_terminal() -> None:
    """Programs heed signals, although the tests may run where they are ignored (nohup, a shell's background)."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def program(arguments: Sequence[str], **options) -> Iterator[subprocess.Popen]:
    """`python ARGUMENTS` in the repository's folder; at the end it is killed, with all processes that it started.

    options: of `subprocess.Popen`; standard output and error are pipes of text otherwise.
    """
    pipe = subprocess.PIPE
    usual = {"cwd": ROOT, "text": True, "stdout": pipe, "stderr": pipe, "preexec_fn": as_in_a_terminal}
    command = [sys.executable, *map(str, arguments)]
    with subprocess.Popen(command, **{**usual, **options}, start_new_session=True) as process:
        watchdog = threading.Timer(LIMIT, _kill, [process])
        watchdog.daemon = True
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            _kill(process)


def _kill(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
