"""Noise belongs to an item and a step, however many processes there are."""

import pytest
import torch

from utils.training.randomness import Randomness


def drawn(random, size):
    """Draws of a step, with the items in the first dimension."""
    random.begin(7)
    pairs = [random.normal(size, 3, clips=2), random.uniform(size, 4, clips=2), random.integers(1, 500, size, clips=2)]
    single = [random.integers(1, 90, size, on_host=True), random.uniform(size, 2), random.normal(size, 50)]
    return [x.unflatten(0, (2, size)).transpose(0, 1) for x in pairs] + single


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_draw_the_rows_of_one(processes):
    whole = drawn(Randomness(3, "cpu"), 2 * processes)
    parts = [drawn(Randomness(3, "cpu", process, processes), 2) for process in range(processes)]
    for one, many in zip(whole, zip(*parts)):
        assert torch.equal(one, torch.cat(many))


def test_one_process_draws_what_its_generators_give():
    random = Randomness(3, "cpu")
    random.begin(7)
    states = random.state()
    first = [random.normal(4, 3, clips=2), random.integers(1, 90, 4, on_host=True)]
    random.restore(states)
    assert torch.equal(first[0], torch.randn(8, 3, generator=random.device))
    assert torch.equal(first[1], torch.randint(1, 90, (4,), generator=random.host))


def test_dropout_differs_between_processes():
    masks = []
    for process in (0, 1):
        Randomness(3, "cpu", process, 2).begin(7)
        masks.append(torch.nn.functional.dropout(torch.ones(200), 0.5))
    assert not torch.equal(*masks)
