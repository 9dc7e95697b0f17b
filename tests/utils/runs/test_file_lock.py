"""Locks between processes: held, released, left behind by a killed process."""

import subprocess
from pathlib import Path

import pytest

from tests.support.programs import program
from utils.runs.file_lock import hold

ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import os, sys
from pathlib import Path
from utils.runs.file_lock import hold
lock = hold(Path(sys.argv[1]))
ready, started = os.pipe()
child = os.fork() if sys.argv[2] == "fork" else None
if child == 0:
    os.close(1)
    os.write(started, b".")
    sys.stdin.read()
    os._exit(0)
if child:
    os.read(ready, 1)  # the child runs: it has let go of what it must not keep
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("fork", ["fork", "alone"])
def test_a_killed_process_releases_its_lock(tmp_path, fork):
    """A child that it forked, as training forks its workers, does not keep it."""
    path = tmp_path / "lock"
    with program(["-c", HOLD, path, fork], stdin=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == "held\n"
        assert hold(path) is None
        holder.kill()
        holder.wait()
        lock = hold(path)
        assert lock is not None and hold(path) is None
    lock.release()


def test_a_file_left_behind_is_harmless_and_its_content_stays(tmp_path):
    path = tmp_path / "lock"
    path.write_text("12345")
    for _ in range(2):
        lock = hold(path)
        assert lock is not None and lock.is_locked
        lock.release()
    assert path.read_text() == "12345"


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    import fcntl

    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    lock = hold(tmp_path / "lock")
    assert lock is not None
    lock.release()
