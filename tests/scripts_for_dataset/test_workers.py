"""Processes that share work: how they end."""

import multiprocessing
import subprocess
import sys

from scripts_for_dataset.preparing.batch import run_all

SWALLOWED = """
import os, signal, time
from scripts_for_dataset.preparing import batch
batch._GRACE = 1
batch._leave_to_parent()
class Held:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
Held()
print("swallowed", flush=True)
time.sleep(60)
"""


def square(number: int) -> int:
    return number**2


def test_workers_have_ended_when_the_last_result_is_there():
    """Readers such as zip never ask for one more, so nothing after the last result would be done."""
    results = run_all(square, [1, 2, 3], workers=2, label="")
    assert [next(results) for _ in range(3)] == [1, 4, 9]
    assert not multiprocessing.active_children()


def test_a_worker_ends_although_python_swallowed_the_exception():
    ended = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, text=True, timeout=30)
    assert (ended.stdout.split(), ended.stderr, ended.returncode) == (["swallowed"], "", 1)
