"""datasets/batches.py: batches read by workers, and batches kept on the device."""

import pytest
import torch
from torch.utils.data import default_collate

from datasets.batches import ResidentBatches
from datasets.clip_store import ClipStore
from datasets.motion_pairs import MotionPairs, StoredPairs, finished
from datasets.style_pairs import StylePairs
from tests.support.small_store import LEGACY
from utils.coefs import CoefLayout, CoefStats, MotionCodec
from utils.training.data_order import EndlessBatches

CPU = torch.device("cpu")


def pairs(kind, head_pose=True):
    store, stats = ClipStore(LEGACY), CoefStats.load(LEGACY / "stats_train.npz")
    return kind(store, store.clips(LEGACY / "train.txt"), MotionCodec(CoefLayout(head_pose), stats), seed=3)


@pytest.mark.parametrize("head_pose", [True, False])
def test_batches_of_clip_pairs_equal_the_collated_items(head_pose):
    dataset = pairs(MotionPairs, head_pose)
    keys = [(epoch, index) for epoch in (0, 5) for index in range(len(dataset))]
    batch, items = ResidentBatches(dataset, CPU).batch(keys), default_collate([dataset[key] for key in keys])
    assert batch.keys() == items.keys()
    assert torch.equal(batch["motion"], items["motion"]) and torch.equal(batch["shape"], items["shape"])
    torch.testing.assert_close(batch["audio"], items["audio"], atol=2e-4, rtol=0)  # half a 16 bit step, standardised


def test_what_workers_send_becomes_the_items():
    dataset = pairs(MotionPairs)
    keys = [(epoch, index) for epoch in (0, 5) for index in range(len(dataset))]
    stored = default_collate([StoredPairs(dataset)[key] for key in keys])
    assert stored["audio"].dtype == torch.int16  # half of what goes through the workers' pipes
    batch, items = finished(stored, dataset.codec), default_collate([dataset[key] for key in keys])
    assert torch.equal(batch["motion"], items["motion"]) and torch.equal(batch["shape"], items["shape"])
    torch.testing.assert_close(batch["audio"], items["audio"], atol=2e-4, rtol=0)


def test_batches_of_style_pairs_equal_the_collated_items():
    dataset = pairs(StylePairs)
    keys = [(epoch, index) for epoch in range(4) for index in range(len(dataset))]
    batch = ResidentBatches(dataset, CPU, num_workers=1).batch(keys)
    assert torch.equal(batch, default_collate([dataset[key] for key in keys]))


def test_it_follows_the_data_order():
    dataset = pairs(MotionPairs)
    order = EndlessBatches(len(dataset), 2, seed=1, start=3)
    batches = ResidentBatches(dataset, CPU)(order)
    for keys, batch, _ in zip(order, batches, range(3)):
        assert torch.equal(batch["motion"][1], dataset[keys[1]]["motion"])
