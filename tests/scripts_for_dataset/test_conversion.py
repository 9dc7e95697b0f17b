"""convert_dataset: published LMDB -> our encoding, equal value by value; cut off and continued; damaged clips."""

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import lmdb
import numpy as np
import pytest

from datasets.clip_store import ClipStore
from datasets.splits import read_list
from scripts_for_dataset import convert_dataset
from scripts_for_dataset.preparing.conversion import check_equal, convert, verify
from tests.support.small_store import LEGACY
from utils.coefs import CoefStats
from utils.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def test_all_values_are_equal(tmp_path, caplog):
    caplog.set_level("INFO")
    out = tmp_path / "safe é"
    convert_dataset.main([str(LEGACY), str(out), "--dry_run"])
    assert not out.exists() and "4 to do" in caplog.text
    convert_dataset.main([str(LEGACY), str(out)])
    assert "all values of 4 clips are equal" in caplog.text
    a, b = ClipStore(LEGACY), ClipStore(out)
    assert a.clips() == b.clips()
    for clip in a.clips():
        for (key, x), (other, y) in zip(a.segments(clip), b.segments(clip), strict=True):
            assert key == other and x.flac == y.flac
            for name in x.coefs:
                np.testing.assert_array_equal(x.coefs[name], y.coefs[name])
    for name in ("train.txt", "val.txt", "test.txt"):
        assert read_list(out / name) == read_list(LEGACY / name)
    assert CoefStats.load(out / "stats_train.npz").exp_mean.equal(CoefStats.load(LEGACY / "stats_train.npz").exp_mean)
    with lmdb.open(str(shutil.copytree(out, tmp_path / "c")), readonly=True, lock=False) as env, env.begin() as read:
        assert all(bytes(value[:1]) in (b"{", b"C") for _, value in read.cursor())


def test_a_cut_off_conversion_is_continued(tmp_path):
    source = ClipStore(LEGACY)
    steps = convert(source, tmp_path / "out", source.clips())
    assert [next(steps).clip for _ in range(2)] == source.clips()[:2]
    with pytest.raises(KeyboardInterrupt):
        steps.throw(KeyboardInterrupt)
    again = list(convert(source, tmp_path / "out", source.clips()))
    assert [result.there for result in again] == [True, True, False, False]
    for clip in source.clips():
        verify(source, ClipStore(tmp_path / "out"), clip)


def test_giving_the_command_twice(tmp_path):
    for _ in range(2):
        command = [sys.executable, "-m", "scripts_for_dataset.convert_dataset", str(LEGACY), str(tmp_path / "out")]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "4 there already" in run.stderr


def test_damaged_clips_are_left_out_and_said(tmp_path, caplog):
    caplog.set_level("INFO")
    broken = shutil.copytree(LEGACY, tmp_path / "broken")
    with lmdb.open(str(broken)) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"TH_00001/000/001", pickle.dumps(print))
        value = pickle.loads(transaction.get(b"WRA_Speaker/007/000"))
        value["coef"]["exp"][3, 4] = np.nan
        transaction.put(b"WRA_Speaker/007/000", pickle.dumps(value))
    copy = shutil.copytree(broken, tmp_path / "read")
    convert_dataset.main([str(copy), str(tmp_path / "out")])
    assert ClipStore(tmp_path / "out").clips() == ["RD_Radio1/012", "TH_00001/001"]
    assert "refused to load builtins.print" in caplog.text and "NaN" in caplog.text
    assert read_list(tmp_path / "out" / "test.txt") == ["RD_Radio1/012"]


def test_differences_are_found(tmp_path):
    source = ClipStore(LEGACY)
    (_, a), (_, b) = list(source.segments("TH_00001/000"))[:2]
    check_equal(a, a, "x")
    with pytest.raises(UserError, match="x: .* is not the same after decoding"):
        check_equal(a, b, "x")


def test_mistakes(tmp_path, capsys):
    for argv, match in (
        ([str(tmp_path), str(tmp_path / "o")], "no data.mdb"),
        ([str(LEGACY)] * 2, "is the data set itself"),
    ):
        with pytest.raises(SystemExit) as end:
            convert_dataset.main(argv)
        assert end.value.code == 2 and match in capsys.readouterr().err
