import multiprocessing
import pickle
import shutil

import lmdb
import numpy as np
import pytest
import torch

from datasets.clip_encoding import Segment, decode_segment, encode_segment
from datasets.clip_store import ClipStore, ClipWriter
from tests.support.small_store import LEGACY, clip_content, write_store
from utils.errors import UserError


def edit(path, key, value):
    """Replace (or with None delete) one value behind the store's back."""
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        if value is None:
            transaction.delete(key.encode())
        else:
            transaction.put(key.encode(), value)


def test_published_layout():
    store = ClipStore(LEGACY)
    assert store.seg_len == 100
    assert store.clips() == ["RD_Radio1/012", "TH_00001/000", "TH_00001/001", "WRA_Speaker/007"]
    assert store.clips(LEGACY / "test.txt") == ["WRA_Speaker/007", "RD_Radio1/012"]
    assert [store.n_frames(clip) for clip in store.clips()] == [305, 250, 231, 213]
    frames = store.read_frames("RD_Radio1/012", 90, 305)
    assert frames.audio.shape == (215 * 640,) and frames.audio.dtype == np.float32
    assert {name: values.shape for name, values in frames.coefs.items()} == {
        "shape": (215, 100),
        "exp": (215, 50),
        "pose": (215, 6),
    }


def test_published_clips_survive_a_rewrite_exactly(tmp_path):
    published = ClipStore(LEGACY)
    with ClipWriter(tmp_path / "ours") as writer:
        for clip in published.clips():
            frames = published.read_frames(clip, 0, published.n_frames(clip))
            writer.add_clip(clip, frames.audio, frames.coefs)
    ours = ClipStore(tmp_path / "ours")
    assert (tmp_path / "ours" / "keys.txt").read_text().split() == published.clips() == ours.clips()
    for clip in published.clips():
        for start, stop in ((0, published.n_frames(clip)), (3, 60), (99, 101), (100, 200)):
            a, b = published.read_frames(clip, start, stop), ours.read_frames(clip, start, stop)
            np.testing.assert_array_equal(a.audio, b.audio)
            for name in a.coefs:
                np.testing.assert_array_equal(a.coefs[name], b.coefs[name])


def test_our_files_hold_no_pickle(tmp_path):
    write_store(tmp_path / "s", {"a/0": 120})
    with lmdb.open(str(tmp_path / "s"), readonly=True, lock=False) as environment, environment.begin() as transaction:
        values = {bytes(key).decode(): bytes(value) for key, value in transaction.cursor()}
    assert sorted(values) == ["a/0/000", "a/0/001", "a/0/metadata", "metadata"]
    assert values["metadata"].startswith(b"{") and values["a/0/000"].startswith(b"CLP1")


@pytest.mark.parametrize("seg_len", [7, 100])
def test_any_stretch_equals_the_slice_of_the_whole(tmp_path, seg_len):
    store = ClipStore(write_store(tmp_path / "s", {"a/0": 61}, seg_len))
    audio, coefs = clip_content(61)
    for start, stop in ((0, 61), (0, 1), (60, 61), (6, 8), (7, 14), (13, 50)):
        frames = store.read_frames("a/0", start, stop)
        np.testing.assert_array_equal(frames.audio, audio[640 * start : 640 * stop])
        alone = store.read_coefs("a/0", start, stop)
        for name in coefs:
            np.testing.assert_array_equal(frames.coefs[name], coefs[name][start:stop])
            np.testing.assert_array_equal(alone[name], coefs[name][start:stop])
    np.testing.assert_array_equal(store.read_coefs("a/0")["exp"], coefs["exp"])


def test_reading_coefficients_decodes_no_audio(tmp_path):
    path = write_store(tmp_path / "s", {"a/0": 10})
    _, coefs = clip_content(10)
    edit(path, "a/0/000", encode_segment(Segment(coefs, b"not flac")))
    store = ClipStore(path)
    np.testing.assert_array_equal(store.read_coefs("a/0")["exp"], coefs["exp"])
    with pytest.raises(UserError, match="a/0/000.*damaged FLAC"):
        store.read_frames("a/0", 0, 10)


def test_a_moving_shape_is_kept_and_a_constant_one_stored_once():
    _, coefs = clip_content(10)
    moving = coefs | {"shape": np.random.default_rng(1).standard_normal((10, 100)).astype(np.float32)}
    constant, varied = encode_segment(Segment(coefs, b"")), encode_segment(Segment(moving, b""))
    assert len(varied) - len(constant) == 9 * 100 * 4
    np.testing.assert_array_equal(decode_segment(varied, "x").coefs["shape"], moving["shape"])
    np.testing.assert_array_equal(decode_segment(constant, "x").coefs["shape"], coefs["shape"])


def test_the_map_grows(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.clip_writer._FIRST_MAP", 64 << 10)
    store = ClipStore(write_store(tmp_path / "s", {"a/0": 150, "a/1": 150}))
    assert store.clips() == ["a/0", "a/1"]
    np.testing.assert_array_equal(store.read_frames("a/1", 0, 150).audio, clip_content(150, 1)[0])


def test_an_interrupted_store_is_refused_and_can_be_continued(tmp_path):
    with pytest.raises(KeyboardInterrupt), ClipWriter(tmp_path) as writer:
        writer.add_clip("b/0", *clip_content(20))
        raise KeyboardInterrupt
    assert not (tmp_path / "keys.txt").exists()
    with pytest.raises(UserError, match="unfinished"):
        ClipStore(tmp_path).clips()
    with pytest.raises(UserError, match="already holds"):
        ClipWriter(tmp_path)
    # A fresh process would resume; here the reader above still holds the file.
    shutil.copytree(tmp_path, tmp_path / "copy")
    with ClipWriter(tmp_path / "copy", resume=True) as writer:
        assert "b/0" in writer and "a/0" not in writer
        writer.add_clip("a/0", *clip_content(30, 1))
    assert ClipStore(tmp_path / "copy").clips() == ["a/0", "b/0"]


@pytest.mark.parametrize(
    ("clip", "change", "match"),
    [
        ("a", {}, "<person>/<video>"),
        ("a/", {}, "<person>/<video>"),
        ("a/metadata", {}, "<person>/<video>"),
        ("a\n/0", {}, "<person>/<video>"),
        ("a/" + "x" * 600, {}, "<person>/<video>"),
        ("a/0", {"exp": np.zeros((10, 49), np.float32)}, "exp"),
        ("a/0", {"exp": np.zeros((9, 50), np.float32)}, "differ in length"),
        ("a/0", {"pose": None}, "pose"),
        ("a/0", {"pose": np.full((10, 6), np.nan, np.float32)}, "NaN"),
    ],
)
def test_the_writer_refuses_bad_clips(tmp_path, clip, change, match):
    audio, coefs = clip_content(10)
    with ClipWriter(tmp_path / "s") as writer:
        with pytest.raises(UserError, match=match):
            writer.add_clip(clip, audio, coefs | change)
        writer.add_clip("good/0", audio, coefs)
        with pytest.raises(UserError, match="already"):
            writer.add_clip("good/0", audio, coefs)
    assert ClipStore(tmp_path / "s").clips() == ["good/0"]


def test_the_writer_fits_audio_and_widens_a_single_shape(tmp_path):
    audio, coefs = clip_content(10)
    with ClipWriter(tmp_path / "s") as writer:
        writer.add_clip("a/0", audio[:-100], coefs | {"shape": coefs["shape"][0]})
        for bad in (audio[:100], np.stack([audio, audio]), audio * np.nan, (audio * 32768).astype(np.int16)):
            with pytest.raises(UserError, match="audio"):
                writer.add_clip("a/1", bad, coefs)
    frames = ClipStore(tmp_path / "s").read_frames("a/0", 0, 10)
    np.testing.assert_array_equal(frames.audio, np.r_[audio[:-100], np.zeros(100, np.float32)])
    np.testing.assert_array_equal(frames.coefs["shape"], coefs["shape"])


def test_an_empty_store_is_not_finished(tmp_path):
    with pytest.raises(UserError, match="no clip"), ClipWriter(tmp_path / "s"):
        pass


def test_missing_things_are_named(tmp_path):
    with pytest.raises(UserError, match="no data.mdb"):
        ClipStore(tmp_path)
    (tmp_path / "data.mdb").write_bytes(b"nonsense" * 1000)
    with pytest.raises(UserError, match="not a readable LMDB"):
        ClipStore(tmp_path).clips()
    store = ClipStore(LEGACY)
    with pytest.raises(UserError, match="no nosuch/000"):
        store.n_frames("nosuch/000")
    for start, stop in ((0, 214), (-1, 5), (5, 5), (213, 214)):
        with pytest.raises(UserError, match="213 frames"):
            store.read_frames("WRA_Speaker/007", start, stop)
    (tmp_path / "list.txt").write_text("TH_00001/000\nnosuch/000\n")
    with pytest.raises(UserError, match=r"1 clip is not in .*nosuch/000"):
        store.clips(tmp_path / "list.txt")


def published_segment(n_frames, **change):
    _, coefs = clip_content(n_frames)
    return pickle.dumps({"audio": b"", "coef": coefs} | change)


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("a/0/000", None, "has no a/0/000"),
        ("a/0/000", b"CLP1", "truncated"),
        ("a/0/000", b"CLP1" + bytes(8), "rebuild"),
        ("a/0/000", encode_segment(Segment(clip_content(9)[1], b"")), "9 frames"),
        ("a/0/000", encode_segment(Segment(clip_content(10)[1], b""))[:-1], "truncated"),
        ("a/0/000", published_segment(10, coef={"exp": 1}), "shape"),
        ("a/0/000", published_segment(10, audio=3), "no audio"),
        ("a/0/000", pickle.dumps(print), "refused to load builtins.print"),
        ("a/0/metadata", pickle.dumps({"n_frames": "ten"}), "n_frames"),
        ("a/0/metadata", pickle.dumps([10]), "n_frames"),
        ("a/0/metadata", b'{"format": "clips-9", "n_frames": 10}', "clips-9"),
        ("a/0/metadata", b"{", "damaged metadata"),
        ("metadata", pickle.dumps({"seg_len": 0}), "seg_len"),
    ],
)
def test_damage_is_named(tmp_path, key, value, match):
    path = write_store(tmp_path / "s", {"a/0": 10})
    edit(path, key, value)
    with pytest.raises(UserError, match=match) as caught:
        ClipStore(path).read_frames("a/0", 0, 10)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_published_audio_may_end_a_little_early_but_not_more(tmp_path):
    from utils.media.audio import encode_flac

    path = write_store(tmp_path / "s", {"a/0": 10})
    audio, _ = clip_content(10)
    edit(path, "a/0/000", published_segment(10, audio=encode_flac(audio[:-700])))
    got = ClipStore(path).read_frames("a/0", 0, 10).audio
    np.testing.assert_array_equal(got, np.r_[audio[:-700], np.zeros(700, np.float32)])
    edit_path = write_store(tmp_path / "t", {"a/0": 10})
    edit(edit_path, "a/0/000", published_segment(10, audio=encode_flac(audio[:-1400])))
    with pytest.raises(UserError, match="samples of audio"):
        ClipStore(edit_path).read_frames("a/0", 0, 10)


def test_two_stores_of_one_folder_and_a_rebuilt_folder(tmp_path):
    path = write_store(tmp_path / "s", {"a/0": 10})
    first, second = ClipStore(path), ClipStore(tmp_path / "." / "s")
    assert first.clips() == second.clips() == ["a/0"]
    path.rename(tmp_path / "old")
    write_store(path, {"b/0": 10})
    assert ClipStore(path).clips() == ["b/0"]


class FirstFrames(torch.utils.data.Dataset):
    def __init__(self, store):
        self.store, self.clips = store, store.clips()

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, index):
        return torch.from_numpy(self.store.read_frames(self.clips[index], 5, 15).audio)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_may_use_a_store_that_is_already_open(method):
    data = FirstFrames(ClipStore(LEGACY))
    expected = torch.stack([data[i] for i in range(len(data))])
    loader = torch.utils.data.DataLoader(
        data, batch_size=4, num_workers=1, multiprocessing_context=multiprocessing.get_context(method)
    )
    torch.testing.assert_close(next(iter(loader)), expected, rtol=0, atol=0)
    torch.testing.assert_close(data[0], expected[0], rtol=0, atol=0)  # the parent's handle still works
