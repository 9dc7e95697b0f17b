"""Folders that one process writes at a time."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

log = logging.getLogger(__name__)


def hold(path: Path, patience: float = 0) -> BaseFileLock | None:
    """Lock a file, which is created if missing; None while another process holds it. `release()` ends the lock.

    `patience`: seconds to wait for another process's lock.

    The system releases the lock however the process ends, so a file that a killed process left is harmless. On a file
    system without locks, every caller gets one.
    """
    import filelock

    # The lock belongs to the process, not to this thread; without the system's locks, a file left behind would block.
    lock = filelock.FileLock(path, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(timeout=patience)
    except filelock.Timeout:
        return None
    except OSError as error:
        log.debug("%s: cannot be locked (%s)", path, error)
    return lock
