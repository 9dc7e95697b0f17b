"""A data set in several folders: lists, weights, statistics, what does not go together, and the index."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets.clip_store import ClipStore
from datasets.motion_pairs import MotionPairs
from datasets.sources import split_check
from datasets.sources.clip_index import write_index
from datasets.sources.clip_sources import ClipSources, statistics_of
from datasets.sources.folders import sources_of
from datasets.sources.split_check import check_splits
from datasets.splits import write_list
from datasets.statistics import random_crop_stats
from datasets.style_pairs import StylePairs
from scripts_for_dataset import index_dataset
from tests.support.small_store import write_store
from utils.coefs import CoefLayout, CoefStats, MotionCodec
from utils.errors import UserError

STATS = Path("stats_train.npz")


def source(folder, train, val=(), test=(), length=210):
    """A folder with lists, and the statistics of its training clips."""
    write_store(folder, {clip: length + i for i, clip in enumerate([*train, *val, *test])})
    for name, clips in (("train", train), ("val", val), ("test", test)):
        if clips:
            write_list(folder / f"{name}.txt", clips)
    random_crop_stats(ClipStore(folder), train, 100, 1).save(folder / STATS)
    return folder


@pytest.fixture
def two(tmp_path):
    source(tmp_path / "a", ["é/2", "é/1", "b/1"], ["v/1"])
    source(tmp_path / "b", ["c/1", "c/2"], ["w/1"], ["x/1"], length=220)
    return tmp_path


def joined(folder):
    return Path(f"{folder / 'a'},{folder / 'b'}")


def codec(sources):
    return MotionCodec(CoefLayout(), sources.statistics(STATS))


def test_lists_are_joined_and_clips_are_read_from_their_folder(two):
    sources = ClipSources(joined(two))
    assert sources.clips("train") == ["é/2", "é/1", "b/1", "c/1", "c/2"]
    assert sources.clips("val") == ["v/1", "w/1"] and sources.clips("test") == ["x/1"]
    both = pickle.loads(pickle.dumps(sources))  # as it goes to workers
    for folder, clip in (("a", "é/1"), ("b", "c/2")):
        alone = ClipStore(two / folder)
        assert both.n_frames(clip) == alone.n_frames(clip)
        np.testing.assert_array_equal(both.read_frames(clip, 5, 60).audio, alone.read_frames(clip, 5, 60).audio)
        np.testing.assert_array_equal(both.read_coefs(clip)["exp"], alone.read_coefs(clip)["exp"])
    with pytest.raises(UserError, match="has no z/1"):
        both.n_frames("z/1")


def test_ways_to_name_the_folders(two):
    (two / "list.txt").write_text("a\n\nb\n")
    (two / "list.json").write_text(json.dumps({"a": 1, "b": 2.5}))
    expected = [two / "a", two / "b"]
    for name in (joined(two), two / "list.txt", two / "list.json"):
        assert [one.folder for one in sources_of(name)] == expected
    assert [one.repeats for one in sources_of(two / "list.json")] == [2, 5]
    assert [one.repeats for one in sources_of(two / "a")] == [1]
    assert [one.folder for one in sources_of(Path(f"{two / 'a'}, {two / 'b'}, "))] == expected
    assert statistics_of(Path(f"{two / 'a'},"), STATS).same_motion(CoefStats.load(two / "a" / STATS))


def test_weights_count_in_epochs_of_training(two):
    (two / "list.json").write_text(json.dumps({"a": 2, "b": 1}))
    sources = ClipSources(two / "list.json")
    pairs = MotionPairs(sources, sources.table("train"), codec(sources), 100)
    drawn = [pairs.locate(i)[0] for i in range(len(pairs))]
    assert drawn == ["é/2", "é/1", "b/1", "c/1", "c/2", "é/2", "é/1", "b/1"]
    assert [drawn.count(clip) for clip in pairs.clips] == [2, 2, 2, 1, 1]
    assert len(MotionPairs(sources, sources.table("val"), codec(sources), 100)) == 2
    assert pairs[7]["motion"].shape[:2] == (2, 100)


def test_one_folder_gives_the_items_of_a_store(two):
    """The same numbers, crops and values as before there were several."""
    store, sources = ClipStore(two / "a"), ClipSources(two / "a")
    clips = store.clips(two / "a" / "train.txt")
    for kind in (MotionPairs, StylePairs):
        old, new = kind(store, clips, codec(sources), 100), kind(sources, sources.table("train"), codec(sources), 100)
        assert len(old) == len(new)
        for key in ((0, 0), (3, len(old) - 1)):
            assert old.locate(key) == new.locate(key)
            torch.testing.assert_close(new[key], old[key], rtol=0, atol=0)


def test_statistics_are_those_of_all_crops(two):
    """Sums, not means of means: source a has three clips, b has two."""
    parts = [CoefStats.load(two / name / STATS).to_dict() for name in "ab"]
    merged = statistics_of(joined(two), STATS).to_dict()
    for key, value in merged.items():
        expected = (3 * parts[0][key].double() + 2 * parts[1][key].double()) / 5
        torch.testing.assert_close(value, expected.float(), rtol=0, atol=0)
    (two / "list.txt").write_text("a\nb\n")
    CoefStats.identity().save(two / STATS)
    assert statistics_of(two / "list.txt", STATS).exp_std.eq(1).all()  # those beside the list


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (["c/1", "é/2"], ["x/1"], "é/2 is listed twice"),
        (["c/1", "v/9"], ["x/1"], "v is in val.txt of one source and in train.txt"),
        (["c/1"], ["v/3"], "v is in val.txt of one source and in test.txt"),
    ],
)
def test_splits_are_by_speaker_over_all(tmp_path, train, test, message):
    source(tmp_path / "a", ["é/2"], ["v/1"])
    source(tmp_path / "b", train, ["w/1"], test)
    with pytest.raises(UserError, match=message):
        ClipSources(joined(tmp_path)).table("train")


def test_one_source_may_split_a_speakers_clips(tmp_path):
    source(tmp_path / "a", ["s1/1", "s1/2"], ["s1/3"])
    source(tmp_path / "b", ["w/1"], ["v/1"])
    sources = ClipSources(joined(tmp_path))
    assert (sources.clips("train"), sources.clips("val")) == (["s1/1", "s1/2", "w/1"], ["s1/3", "v/1"])
    assert [sources.source_of(clip) for clip in ("s1/3", "v/1")] == [0, 1]


def test_a_clip_is_read_where_it_is_listed(tmp_path):
    source(tmp_path / "a", ["x/1", "é/2"], length=150)
    write_list(tmp_path / "a" / "train.txt", ["é/2"])
    source(tmp_path / "b", ["x/1"], length=210)
    sources = ClipSources(joined(tmp_path))
    assert dict(sources.table("train")) == {"é/2": 151, "x/1": 210}
    assert (sources.source_of("x/1"), sources.n_frames("x/1"), len(sources.read_coefs("x/1")["exp"])) == (1, 210, 210)


def test_other_settings_are_refused(two):
    for name, smooth in (("a", True), ("b", False)):
        (two / name / "treatment.json").write_text(json.dumps({"smooth": smooth}))
    with pytest.raises(UserError, match="b: was prepared with {'smooth': False}, .*a with"):
        ClipSources(joined(two))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 0}', "the weight of .* is 0"),
        ('{"a": "much"}', "give a positive number"),
        ('{"a": 1, "b": 9000}', "more than 250 times"),
        ("{}", "names no folder"),
        ('{"a": 1, "a/": 2}', "a is named twice"),
        ('{"a": 1, "none": 1}', "none: no data.mdb"),
    ],
)
def test_bad_lists(two, text, message):
    (two / "list.json").write_text(text)
    with pytest.raises(UserError, match=message):
        ClipSources(two / "list.json")
    with pytest.raises(UserError, match="named twice"):
        sources_of(Path("a,b,a"))
    with pytest.raises(UserError, match="data.mdb: is a file"):
        sources_of(two / "a" / "data.mdb")


def test_the_index_changes_nothing_but_the_time(two, caplog):
    plain = {split: list(ClipSources(joined(two)).table(split)) for split in ("train", "val", "test")}
    index_dataset.main([str(two / "a"), str(two / "b")])
    rows = np.load(two / "a" / "index.npy")
    assert rows["clip"].tolist() == [b"b/1", b"v/1", "é/1".encode(), "é/2".encode()]
    sources = ClipSources(joined(two))
    sources.stores[0].clips = None  # lists are not read
    assert {split: list(sources.table(split)) for split in plain} == plain
    sent = pickle.dumps(sources.table("train"))
    assert b"b/1" not in sent and list(pickle.loads(sent)) == plain["train"]  # workers map the names again
    os.utime(two / "a" / "train.txt", (2e9, 2e9))
    assert list(ClipSources(joined(two)).table("train")) == plain["train"]
    assert "older than train.txt and is not used" in caplog.text
    os.utime(two / "a" / "train.txt", (0, 0))
    (two / "a" / "index.npy").write_bytes(b"no index")
    with pytest.raises(UserError, match="index.npy: cannot be read"):
        ClipSources(joined(two)).table("train")
    assert write_index(two / "a") == 4


def test_bad_indices(two):
    (two / "a" / "test.txt").write_text("é/1\n")
    with pytest.raises(UserError, match=r"a: é/1 is in train.txt and in test.txt; list each clip once"):
        write_index(two / "a")
    write_index(two / "b")
    rows = np.load(two / "b" / "index.npy")
    rows["place"] = 7
    np.save(two / "b" / "index.npy", rows)
    with pytest.raises(UserError, match=r"index.npy: two clips have one place in train.txt; make it again"):
        ClipSources(two / "b").table("train")


def rows_of(clips):
    """Lists in key order: clip -> number of its split."""
    rows = sorted((clip.encode(), split) for clip, split in clips.items())
    return np.array(rows, [("clip", "S9" if "long" in str(clips) else "S4"), ("split", "u1")])


def test_lists_are_compared_block_by_block(monkeypatch):
    monkeypatch.setattr(split_check, "_BLOCK", 2)
    one, two = ({f"p{2 * i + k}/0": 0 for i in range(12)} for k in (0, 1))
    check_splits("d", [rows_of(one), rows_of(two | {"long12/0": 2})])
    check_splits("d", [rows_of(one), rows_of(two | {"p8/0": 3})])  # the folder has it, and does not list it
    for clip in ("p0/0", "p8/0", "p9/0"):
        with pytest.raises(UserError, match=f"{clip} is listed twice"):
            check_splits("d", [rows_of(one | {clip: 0}), rows_of(two | {clip: 1})])
    with pytest.raises(UserError, match=r"p4 is in test.txt of one source and in train.txt"):
        check_splits("d", [rows_of(one), rows_of(two | {"p4/1": 2})])
    check_splits("d", [rows_of(one), rows_of(two | {"p/1": 2})])  # p is not p4
