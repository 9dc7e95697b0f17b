"""Gradients of several processes (see also tests/programs/test_training_runs.py, where there are several)."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from utils.training import shared_gradients
from utils.training.shared_gradients import SharedGradients, buckets


@pytest.fixture
def sent(monkeypatch):
    """Numbers of each tensor sent; another process has the same gradients."""
    found = []

    def allreduce_coalesced(tensors, options):
        found.append([tensor.numel() for tensor in tensors])
        return SimpleNamespace(wait=lambda: [tensor.mul_(2) for tensor in tensors])

    monkeypatch.setattr(torch.distributed, "group", SimpleNamespace(WORLD=SimpleNamespace(**locals())))
    return found


def test_gradients_are_sent_while_others_are_computed(monkeypatch, sent):
    monkeypatch.setattr(shared_gradients, "_SMALL", 10)
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    shared = SharedGradients(list(network.parameters()), bucket_bytes=100)
    network[0].weight.register_post_accumulate_grad_hook(lambda _: sent.append("the first layer's"))
    for last in (False, True):  # the gradients of a step's batches add up
        if last:
            shared.begin()
        network(torch.ones(1, 3)).sum().backward()
    shared.finish()
    # Small ones in one piece: the last layer's with the bias before; then a matrix and a bias; a matrix.
    assert sent == ["the first layer's", [2 + 8 + 4], [16, 4], [12], "the first layer's"]
    found = [p.grad for p in network.parameters()]
    network.zero_grad()
    network(torch.ones(1, 3)).sum().backward()  # nothing more is sent
    assert len(sent) == 6
    for gradient, parameter in zip(found, network.parameters(), strict=True):
        torch.testing.assert_close(gradient, 4 * parameter.grad)


def test_missing_gradients_count_as_zero(sent):
    used, unused = nn.Linear(2, 2), nn.Linear(2, 3)
    shared = SharedGradients([*used.parameters(), *unused.parameters()], bucket_bytes=24)
    for _ in range(2):
        used.zero_grad()
        unused.zero_grad()
        sent.clear()
        shared.begin()
        used(torch.ones(1, 2)).sum().backward()
        assert not sent  # the unused layer's bucket comes first everywhere
        shared.finish()
        assert sent == [[3], [6], [6]]
        assert not unused.weight.grad.any()
        assert used.weight.grad.eq(2).all()


def test_buckets():
    sizes = [3, 1, 5, 40, 2, 2]
    parameters = [nn.Parameter(torch.zeros(n)) for n in sizes]
    found = buckets(parameters, 32)
    assert [[p.numel() for p in bucket] for bucket in found] == [[2, 2], [40], [5, 1], [3]]
    parameters[4].data = parameters[4].data.half()
    assert [[p.numel() for p in bucket] for bucket in buckets(parameters, 32)] == [[2], [2], [40], [5, 1], [3]]
