import logging

import numpy as np
import pytest

from datasets.clip_store import ClipStore
from datasets.style_pairs import StylePairs
from tests.support.golden_weights import HERE
from tests.support.small_store import LEGACY, write_store
from utils.coefs import CoefLayout, CoefStats, MotionCodec
from utils.errors import UserError

GOLDEN = np.load(HERE / "expected_io.npz")
PLAIN = MotionCodec(CoefLayout(), CoefStats.identity())


@pytest.mark.parametrize("where", ["begin", "end"])
@pytest.mark.parametrize("name", ["head", "nohead"])
def test_items_equal_the_published_ones(where, name):
    store = ClipStore(LEGACY)
    codec = MotionCodec(CoefLayout(name == "head"), CoefStats.load(LEGACY / "stats_train.npz"))
    pairs = StylePairs(store, store.clips(LEGACY / "test.txt"), codec)
    assert pairs.persons == ["WRA_Speaker", "RD_Radio1"]
    item = pairs.pair("RD_Radio1/012", 0 if where == "begin" else 305 - 210)
    np.testing.assert_allclose(item, GOLDEN[f"data_se/{where}_{name}"], atol=1e-6)


def test_one_item_per_person_in_order_of_first_appearance(tmp_path):
    store = ClipStore(write_store(tmp_path / "s", {"a/0": 30, "b/0": 30, "b/1": 30, "c/0": 30}))
    pairs = StylePairs(store, ["b/1", "c/0", "a/0", "b/0"], PLAIN, n_motions=10)
    assert len(pairs) == 3 and pairs.persons == ["b", "c", "a"]
    for index, clips in enumerate((["b/1", "b/0"], ["c/0"], ["a/0"])):
        candidates = [store.read_coefs(clip)["exp"] for clip in clips]
        item = pairs[index]
        start = int(item[0, 0, 0])
        assert any(np.array_equal(item[0, :, :50], exp[start : start + 10]) for exp in candidates)


def test_stretches_are_the_ends_of_the_crop_and_starts_reach_both_ends(tmp_path):
    store = ClipStore(write_store(tmp_path / "s", {"a/0": 24, "a/1": 22, "a/2": 20}))
    pairs = StylePairs(store, store.clips(), PLAIN, n_motions=10, seed=2)
    found = {"a/0": [], "a/1": []}
    for epoch in range(400):
        item = pairs[epoch, 0]
        first, second = item[0, :, 0], item[1, :, 0]
        start = int(first[0])
        assert first.tolist() == list(range(start, start + 10))
        assert second.tolist() == list(range(start + 11, start + 21))
        value = float(item[0, 0, 1])
        clip = next(c for c in found if store.read_coefs(c)["exp"][start, 1] == value)
        found[clip].append(start)
    assert set(found["a/0"]) == {0, 1, 2, 3} and set(found["a/1"]) == {0, 1}
    assert 140 < len(found["a/0"]) < 260  # clips of a person are equally likely


def test_items_are_reproducible(tmp_path):
    store = ClipStore(write_store(tmp_path / "s", {"a/0": 300, "a/1": 300}))
    first, second, other = (StylePairs(store, store.clips(), PLAIN, 10, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[3, 0], second[3, 0])
    assert not np.array_equal(first[3, 0], first[4, 0])
    assert not np.array_equal(first[3, 0], other[3, 0])


def test_short_clips_are_skipped_with_a_count(tmp_path, caplog):
    store = ClipStore(write_store(tmp_path / "s", {"a/0": 209, "a/1": 210, "b/0": 209}))
    with caplog.at_level(logging.WARNING):
        pairs = StylePairs(store, store.clips(), PLAIN)
    assert pairs.persons == ["a"] and "2 of 3 clips skipped" in caplog.text
    with pytest.raises(UserError, match="none of 1 clips has the 210 frames"):
        StylePairs(store, ["b/0"], PLAIN)
