"""Which items a training step sees."""

import itertools

import pytest
import torch

from utils.errors import UserError
from utils.training.data_order import EndlessBatches, Share, evaluation_batches, readers, training_batches


def batches(n, **options):
    return list(itertools.islice(EndlessBatches(**{"n_items": 11, "batch_size": 3, "seed": 1, **options}), n))


def test_batches_are_a_function_of_seed_and_step():
    assert batches(20) == batches(20)
    assert batches(20) != batches(20, seed=2)
    for start in (1, 3, 7):
        assert batches(10, start=start) == batches(20)[start : start + 10]


def test_an_epoch_has_every_item_once_and_drops_the_rest():
    first = batches(6)
    for epoch in (0, 1):
        items = [key for batch in first[3 * epoch : 3 * epoch + 3] for key in batch]
        assert {e for e, _ in items} == {epoch}
        assert len({i for _, i in items}) == 9
    assert [i for _, i in first[0]] != [i for _, i in first[3]]


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_what_one_would_see(processes):
    """P processes with batches of B see in every step what one process with a batch of P B sees."""
    shares = [batches(9, n_items=25, batch_size=2, share=Share(i, processes), start=1) for i in range(processes)]
    one = batches(9, n_items=25, batch_size=2 * processes, start=1)
    assert [sum(parts, []) for parts in zip(*shares)] == one


def test_batch_larger_than_the_data():
    with pytest.raises(UserError, match="--batch_size 12: .* only 11 items"):
        batches(1, batch_size=12)


class Items(torch.utils.data.Dataset):
    """Item (e, i) is that pair; a bare index belongs to epoch 0."""

    def __init__(self, n=7):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, key):
        return torch.tensor(key if isinstance(key, tuple) else (0, key))


def test_workers_do_not_change_the_order():
    alone = [x.tolist() for x in itertools.islice(training_batches(Items(), 2, 0, 0), 8)]
    workers = training_batches(Items(), 2, 0, 2)
    assert [x.tolist() for x in itertools.islice(workers, 8)] == alone
    resumed = training_batches(Items(), 2, 0, 0, start=5)
    assert [x.tolist() for x in itertools.islice(resumed, 3)] == alone[5:]


def test_evaluation_sees_everything_once_with_the_first_crops():
    dataset = Items()
    seen = torch.cat(list(evaluation_batches(dataset, 3, 0))).tolist()
    assert seen == [[0, i] for i in range(7)]
    assert len(list(evaluation_batches(dataset, 100, 0))) == 1


@pytest.mark.filterwarnings("error")
def test_readers_are_not_more_than_cores():
    """Torch warns of more."""
    assert readers(0) == 0 and 1 <= readers(1000) <= 1000
    assert evaluation_batches(list(range(4)), 2, 1000).num_workers == readers(1000)
