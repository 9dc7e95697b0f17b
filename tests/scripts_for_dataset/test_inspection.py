"""inspect_dataset: every kind of fault planted in a small data set is found, and nothing else."""

import json
import shutil

import lmdb
import numpy as np
import pytest

from datasets.clip_store import ClipStore, ClipWriter
from datasets.inspection import NAMES, longest_still, look_at, moments, summarise
from scripts_for_dataset import inspect_dataset
from scripts_for_dataset.inspecting.contact_sheet import COLUMNS, LABEL, SIZE, contact_sheet
from tests.support.backdrop import covered
from tests.support.small_store import LEGACY, clip_content
from utils.coefs import DIMS


def calm(n_frames, seed):
    """Audio and coefficients without faults: slow small curves."""
    audio, coefs = clip_content(n_frames, seed)
    time = np.arange(n_frames)[:, None] / 25
    phase = np.random.default_rng(seed).uniform(0, 6, 50)
    coefs["exp"] = (0.5 * np.sin(time * 2 + phase)).astype(np.float32)
    coefs["pose"] = (0.1 * np.sin(time + phase[:6])).astype(np.float32)
    return audio, coefs


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """A data set with one clip for each fault."""
    folder = tmp_path_factory.mktemp("data é") / "set"
    clips = {f"p{i % 5}/{i:03d}": calm(220 + i, i) for i in range(20)}
    clips["p0/000"][0][:] = 0  # silent
    clips["p1/001"][0][500:3000] = 1.0  # clipped
    clips["p2/002"][1]["exp"][50:80] = clips["p2/002"][1]["exp"][50]
    clips["p2/002"][1]["pose"][50:80] = clips["p2/002"][1]["pose"][50]  # 30 frames frozen
    clips["p3/003"][1]["pose"][100:, 1] += 0.8  # a jump of 46 degrees
    clips["p4/004"][1]["pose"][:, 1] += 2.5  # looks away
    clips["p0/005"][1]["exp"][7, 3] = 60.0  # an outlier
    clips["p1/006"] = clips["p2/007"]  # the same clip twice
    with ClipWriter(folder) as writer:
        for clip, (audio, coefs) in clips.items():
            writer.add_clip(clip, audio, coefs)
        writer.add_clip("p4/short", *calm(30, 99))
    with lmdb.open(str(folder)) as environment, environment.begin(write=True) as transaction:
        transaction.delete(b"p3/008/001")
    (folder / "train.txt").write_text("p0/000\np1/001\np9/000\n")
    (folder / "val.txt").write_text("p1/006\n")
    return folder


def test_every_fault_is_found(faulty, tmp_path, caplog, capsys):
    caplog.set_level("INFO")
    with pytest.raises(SystemExit) as end:
        inspect_dataset.main([str(faulty), "-o", str(tmp_path / "r"), "--no_pictures"])
    assert end.value.code == 1
    found = json.loads((tmp_path / "r" / "inspection.json").read_text())
    assert (found["clips"], found["speakers"], found["too_short"]) == (21, 5, 1)
    assert list(found["broken"]) == ["p3/008"] and "p3/008/001" in found["broken"]["p3/008"]
    assert found["silent"] == ["p0/000"] and found["clipped"] == ["p1/001"]
    assert found["frozen"] == {"p2/002": 30} and list(found["jumps"]) == ["p3/003"]
    assert 40 < found["jumps"]["p3/003"] < 50 and list(found["turned_away"]) == ["p4/004"]
    assert list(found["outliers"]) == ["p0/005"] and found["outliers"]["p0/005"].startswith("exp[3] = 60")
    assert found["same_motion"] == [["p1/006", "p2/007"]] == found["same_audio"]
    lists = found["lists"]
    assert "1 clip is not in the data set (first: p9/000)" in lists["train problem"]
    assert lists["speakers in several lists"] == ["p1"] and lists["clips in no list"] == 18
    assert "1 broken, first: p3/008" in caplog.text
    page = (tmp_path / "r" / "inspection.html").read_text()
    assert "p2/007" in page and page.count("<svg") == 6


def test_verify_reads_all_audio(faulty, tmp_path):
    copy = shutil.copytree(faulty, tmp_path / "copy")
    with lmdb.open(str(copy)) as environment, environment.begin(write=True) as transaction:
        value = bytearray(transaction.get(b"p0/010/001"))
        value[-3000:] = bytes(3000)
        transaction.put(b"p0/010/001", bytes(value))
    again = shutil.copytree(copy, tmp_path / "again")
    broken = {}
    for verify in ([], ["--verify"]):
        with pytest.raises(SystemExit):
            inspect_dataset.main([str(again), "-o", str(tmp_path / "r"), "--no_pictures", *verify])
        broken[bool(verify)] = set(json.loads((tmp_path / "r" / "inspection.json").read_text())["broken"])
    assert broken[True] - broken[False] == {"p0/010"}


def test_a_sound_data_set(tmp_path, caplog):
    """The published layout, with the page beside it."""
    caplog.set_level("INFO")
    copy = shutil.copytree(LEGACY, tmp_path / "data")
    inspect_dataset.main([str(copy), "--no_pictures", "--workers", "1"])
    found = json.loads((copy / "inspection" / "inspection.json").read_text())
    assert (found["clips"], found["speakers"], found["finished"], found["verified"]) == (4, 3, True, False)
    assert found["hours"] == pytest.approx((305 + 250 + 231 + 213) / 25 / 3600)
    store = ClipStore(LEGACY)
    exp = np.concatenate([store.read_coefs(clip)["exp"] for clip in store.clips()])
    stats = found["coefficients"]["exp[7]"]
    np.testing.assert_allclose(
        [stats[k] for k in ("mean", "std", "min", "max")],
        [exp[:, 7].mean(), exp[:, 7].std(), exp[:, 7].min(), exp[:, 7].max()],
        rtol=1e-4,
    )


def test_an_unfinished_data_set_can_be_looked_at(tmp_path, caplog):
    caplog.set_level("INFO")
    with pytest.raises(KeyboardInterrupt), ClipWriter(tmp_path / "s") as writer:
        writer.add_clip("a/0", *calm(220, 0))
        raise KeyboardInterrupt
    inspect_dataset.main([str(tmp_path / "s"), "--no_pictures"])
    assert "UNFINISHED" in caplog.text and "1 clip of 1 speaker," in caplog.text


def test_moments_are_those_of_all_frames():
    store = ClipStore(LEGACY)
    facts = [look_at(store, clip) for clip in store.clips()]
    values = np.concatenate(
        [np.concatenate([store.read_coefs(c)[name] for name in DIMS], axis=1) for c in store.clips()]
    ).astype(float)
    mean, std = moments(facts)
    np.testing.assert_allclose(mean, values.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(std, values.std(axis=0), atol=1e-6)
    assert len(NAMES) == len(mean)


def test_longest_still():
    assert longest_still(np.arange(5)[:, None]) == 1
    assert longest_still(np.array([[1, 2, 2, 2, 3, 3]]).T) == 3
    assert longest_still(np.zeros((7, 2))) == 7


def test_nothing_at_all_is_summarised():
    assert summarise([]).clips == 0


def test_contact_sheet(tmp_path, caplog):
    caplog.set_level("INFO")
    sheet = contact_sheet(ClipStore(LEGACY), ClipStore(LEGACY).clips(), 2, 0, None)
    assert sheet.shape == (2 * (SIZE + LABEL), COLUMNS * SIZE, 3)
    face = sheet[LABEL : LABEL + SIZE, :SIZE]
    assert covered(face).mean() > 0.2


def test_mistakes(tmp_path, capsys):
    for argv, match in (([str(tmp_path)], "no data.mdb"), ([str(LEGACY), "--clips", "0"], "at least 1"),
                        ([str(LEGACY), "-o", str(tmp_path / "o"), "--head", "no.pkl"], "no.pkl")):  # fmt: skip
        with pytest.raises(SystemExit) as end:
            inspect_dataset.main(argv)
        assert end.value.code == 2 and match in capsys.readouterr().err
