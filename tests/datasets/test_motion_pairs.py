import logging

import numpy as np
import pytest
import torch

from datasets.clip_store import ClipStore
from datasets.motion_pairs import MotionPairs
from tests.support.golden_weights import HERE
from tests.support.small_store import LEGACY, clip_content, write_store
from utils.coefs import CoefLayout, CoefStats, MotionCodec
from utils.errors import UserError

GOLDEN = np.load(HERE / "expected_io.npz")
PLAIN = MotionCodec(CoefLayout(), CoefStats.identity())


@pytest.mark.parametrize(("index", "clip"), [(0, "TH_00001/000"), (3, "RD_Radio1/012")])
@pytest.mark.parametrize("where", ["begin", "end"])
@pytest.mark.parametrize("head_pose", [True, False])
def test_items_equal_the_published_ones(index, clip, where, head_pose):
    store = ClipStore(LEGACY)
    clips = store.clips(LEGACY / "train.txt")
    assert clips[index] == clip
    stats = CoefStats.load(LEGACY / "stats_train.npz")
    pairs = MotionPairs(store, clips, MotionCodec(CoefLayout(head_pose), stats))
    item = pairs.pair(clip, 0 if where == "begin" else store.n_frames(clip) - 200)
    golden = {key: GOLDEN[f"data/{where}_{index}/{key}"] for key in ("audio_head", "audio_sum", "shape", "exp", "pose")}
    assert item["audio"].shape == (2, 64000) and item["shape"].shape == (2, 100, 100)
    assert item["motion"].shape == (2, 100, 54 if head_pose else 51)
    np.testing.assert_allclose(item["audio"][:, :2000], golden["audio_head"], atol=1e-6)
    np.testing.assert_allclose(item["audio"].double().abs().sum(1), golden["audio_sum"], rtol=1e-6)
    np.testing.assert_allclose(item["motion"][..., :6], golden["exp"], atol=1e-6)
    np.testing.assert_allclose(item["shape"][..., :6], golden["shape"], atol=1e-6)
    np.testing.assert_allclose(item["motion"][..., -1], golden["pose"][..., 3], atol=1e-6)
    if head_pose:
        np.testing.assert_allclose(item["motion"][..., 50:53], golden["pose"][..., :3], atol=1e-6)


def test_the_second_clip_follows_the_first_and_audio_is_aligned(tmp_path):
    store = ClipStore(write_store(tmp_path / "s", {"a/0": 90}))
    item = MotionPairs(store, ["a/0"], PLAIN, n_motions=20).pair("a/0", 33)
    assert item["motion"][..., 0].flatten().tolist() == list(range(33, 73))
    audio = clip_content(90)[0][33 * 640 : 73 * 640].astype(np.float64)
    expected = (audio - audio.mean()) / (audio.std(ddof=1) + 1e-5)
    np.testing.assert_allclose(item["audio"].flatten(), expected, atol=1e-6)


def starts(pairs, index, epochs):
    return [int(pairs[epoch, index]["motion"][0, 0, 0]) for epoch in epochs]


def test_crops_are_uniform_over_all_starts_and_reproducible(tmp_path):
    store = ClipStore(write_store(tmp_path / "s", {"a/0": 14, "a/1": 10}))
    pairs = MotionPairs(store, store.clips(), PLAIN, n_motions=5, seed=7)
    found = starts(pairs, 0, range(500))
    counts = np.bincount(found, minlength=5)
    assert len(counts) == 5 and counts.min() > 60  # 0..4, both ends; expected 100 each, sd 9
    assert starts(pairs, 1, range(5)) == [0] * 5
    assert starts(MotionPairs(store, store.clips(), PLAIN, 5, seed=7), 0, range(500)) == found
    assert starts(MotionPairs(store, store.clips(), PLAIN, 5, seed=8), 0, range(500)) != found


def test_short_clips_are_skipped_with_a_count(tmp_path, caplog):
    store = ClipStore(write_store(tmp_path / "s", {"a/0": 9, "a/1": 10, "b/0": 3, "c/0": 11}))
    with caplog.at_level(logging.WARNING):
        pairs = MotionPairs(store, store.clips(), PLAIN, n_motions=5)
    assert len(pairs) == 2
    assert "2 of 4 clips skipped" in caplog.text
    with pytest.raises(UserError, match="none of 4 clips has the 200 frames"):
        MotionPairs(store, store.clips(), PLAIN)
    with pytest.raises(UserError, match="none of 0 clips"):
        MotionPairs(store, [], PLAIN)
    with pytest.raises(UserError, match="nobody"):
        MotionPairs(store, ["nobody/0"], PLAIN)


def test_items_do_not_depend_on_workers_or_order(tmp_path):
    store = ClipStore(write_store(tmp_path / "s", {f"a/{i}": 200 for i in range(4)}))
    pairs = MotionPairs(store, store.clips(), PLAIN, n_motions=5)
    keys = [(1, 2), (0, 2), (5, 0), (1, 3)]
    loader = torch.utils.data.DataLoader(pairs, sampler=keys, batch_size=2, num_workers=2)
    got = torch.cat([batch["motion"] for batch in loader])
    torch.testing.assert_close(got, torch.stack([pairs[key]["motion"] for key in keys]), rtol=0, atol=0)
    assert not torch.equal(got[0], got[1])
    torch.testing.assert_close(pairs[2]["motion"], got[1], rtol=0, atol=0)  # a bare index is of epoch 0


def test_clips_can_be_in_an_epoch_several_times(tmp_path):
    store = ClipStore(write_store(tmp_path / "s", {"a/0": 300, "b/0": 300}))
    pairs = MotionPairs(store, store.clips(), PLAIN, n_motions=20, repeats=3)
    assert len(pairs) == 6
    assert pairs.clips == ["a/0", "b/0"]
    assert [pairs.locate((0, i))[0] for i in range(6)] == ["a/0", "b/0"] * 3
    assert len({pairs.locate((0, i))[1] for i in (0, 2, 4)}) == 3
