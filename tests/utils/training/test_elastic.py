"""Processes that start again meet each other, not what dead ones left."""

import threading
from datetime import timedelta

import pytest
from torch.distributed import HashStore, PrefixStore

from utils.errors import UserError
from utils.training import elastic
from utils.training.elastic import meet


def gathered(store, processes):
    """The name that each process gets."""
    names = [""] * processes

    def join(rank):
        names[rank] = meet(store, rank, processes, 30)

    threads = [threading.Thread(target=join, args=[rank]) for rank in reversed(range(processes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return names


def test_each_attempt_has_a_name_of_its_own():
    store, found = HashStore(), []
    for processes in (3, 3, 2, 3, 1):  # a machine may be lost, and come back
        names = gathered(store, processes)
        assert len(set(names)) == 1 and names[0] not in found
        found.append(names[0])


def test_what_dead_processes_left_does_not_count():
    """One greeted and died before it was answered, another after; neither keeps the first process from waiting."""
    store = HashStore()
    store.set("greeting/1", "dead")
    with pytest.raises(UserError, match="1 of 2 processes have not joined"):
        meet(store, 0, 2, patience=0.1)
    with pytest.raises(UserError, match="the first process has not joined"):
        meet(store, 1, 2, patience=0.1)  # the answer was to another
    assert len(set(gathered(store, 2))) == 1


def test_a_process_group_is_joined_in_its_own_part_of_the_store(monkeypatch):
    assert elastic.launch_store() is None and elastic.init_method() is None
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setattr(elastic, "launch_store", HashStore)
    assert elastic.init_method() == elastic.init_method() == "attempt://"
    ((store, rank, processes),) = elastic._join("attempt://", timedelta(seconds=30))
    assert isinstance(store, PrefixStore) and (rank, processes) == (0, 1)
