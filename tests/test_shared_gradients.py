"""Gradients of several processes (see also tests/test_training_runs.py, where there are several)."""

from types import SimpleNamespace

import torch
from torch import nn

from utils.shared_gradients import SharedGradients, buckets


def test_gradients_are_sent_while_others_are_computed(monkeypatch):
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    events = []

    def all_reduce(flat, async_op):
        assert async_op
        events.append(flat.numel())
        return SimpleNamespace(wait=lambda: flat.mul_(2))  # another process with the same gradients

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    shared = SharedGradients(list(network.parameters()), bucket_bytes=100)
    network[0].weight.register_post_accumulate_grad_hook(lambda _: events.append("the first layer's"))
    for last in (False, True):  # the gradients of a step's batches add up
        if last:
            shared.begin()
        network(torch.ones(1, 3)).sum().backward()
    shared.finish()
    assert events == ["the first layer's", 2 + 8 + 4, 16 + 4, 12, "the first layer's"]
    found = [p.grad for p in network.parameters()]
    network.zero_grad()
    network(torch.ones(1, 3)).sum().backward()  # nothing more is sent
    assert len(events) == 6
    for gradient, parameter in zip(found, network.parameters()):
        torch.testing.assert_close(gradient, 4 * parameter.grad)


def test_missing_gradients_count_as_zero(monkeypatch):
    used, unused = nn.Linear(2, 2), nn.Linear(2, 3)
    sent = []
    monkeypatch.setattr(
        torch.distributed,
        "all_reduce",
        lambda flat, async_op: sent.append(flat.clone()) or SimpleNamespace(wait=lambda: None),
    )
    shared = SharedGradients([*used.parameters(), *unused.parameters()], bucket_bytes=24)
    shared.begin()
    used(torch.ones(1, 2)).sum().backward()
    assert not sent  # the unused layer's bucket comes first everywhere
    shared.finish()
    assert [len(flat) for flat in sent] == [3, 6, 6]
    assert not sent[0].any() and not unused.weight.grad.any()
    assert used.weight.grad.eq(1).all()


def test_buckets():
    sizes = [3, 1, 5, 40, 2, 2]
    parameters = [nn.Parameter(torch.zeros(n)) for n in sizes]
    found = buckets(parameters, 32)
    assert [[p.numel() for p in bucket] for bucket in found] == [[2, 2], [40], [5, 1], [3]]
    parameters[4].data = parameters[4].data.half()
    assert [[p.numel() for p in bucket] for bucket in buckets(parameters, 32)] == [[2], [2], [40], [5, 1], [3]]
