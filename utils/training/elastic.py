"""Processes that torchrun (or `accelerate launch`) starts again after a loss: `--max_restarts`."""

# pyright: reportPrivateImportUsage=false
# (torch's documentation has them, its stubs do not)

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from datetime import timedelta

from torch.distributed import PrefixStore, Store, TCPStore, register_rendezvous_handler

from utils.errors import UserError

_SCHEME = "attempt"
_PAUSE = 0.02  # seconds


def launch_store() -> Store | None:
    """The store that torchrun keeps as long as it runs, whatever becomes of its processes; None without one."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    return TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)


def init_method() -> str | None:
    """How a process group is to be joined, for `init_process_group`; None: as usual.

    torchrun keeps one store for all attempts, so that a process that is started again could read the addresses of dead
    ones there and fail (https://github.com/pytorch/pytorch/issues/135712). Each attempt gets its own part of the store.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    with contextlib.suppress(RuntimeError):  # an earlier run in this Python process has registered it
        register_rendezvous_handler(_SCHEME, _join)
    return f"{_SCHEME}://"


def _join(url: str, timeout: timedelta, **_: object) -> Iterator[tuple[Store, int, int]]:
    """A rendezvous handler of torch."""
    store, rank, processes = launch_store(), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    assert store is not None  # `init_method` has looked
    yield PrefixStore(meet(store, rank, processes, timeout.total_seconds()), store), rank, processes


def meet(store: Store, rank: int, processes: int, patience: float) -> str:
    """A name for this attempt on which its processes agree, whatever earlier ones have left in the store.

    Each process greets the first one with a random word and waits for the answer to this word, which no dead process
    can have given. The number of restarts would not do: machines that join later count from 0.

    Raises:
        UserError: a process is missing after `patience` seconds.
    """
    word, end = secrets.token_hex(8), time.monotonic() + patience
    if rank > 0:
        store.set(f"greeting/{rank}", word)
        while not store.check([f"answer/{word}"]):  # not store.get, in which a process would not heed signals
            _wait(end, "the first process has")
        name = store.get(f"answer/{word}").decode()
        store.set(f"{name}/joined/{rank}", "")
        return name
    missing = range(1, processes)
    while missing := [other for other in missing if not store.check([f"{word}/joined/{other}"])]:
        for other in missing:
            if store.check([f"greeting/{other}"]):
                store.set(f"answer/{store.get(f'greeting/{other}').decode()}", word)
        _wait(end, f"{len(missing)} of {processes} processes have")
    return word


def _wait(end: float, who: str) -> None:
    if time.monotonic() > end:
        raise UserError(f"torchrun: {who} not joined in time; look at the logs of all machines")
    time.sleep(_PAUSE)
