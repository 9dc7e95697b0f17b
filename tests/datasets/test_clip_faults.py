"""Faults while a data set is written or read: killed, disk full, two writers, truncated; odd paths."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import lmdb
import numpy as np
import pytest

from benchmarks.speed import data
from datasets.clip_encoding import encode_clip
from datasets.clip_store import ClipStore, ClipWriter
from scripts_for_dataset.preparing.conversion import convert
from tests.support.programs import program
from tests.support.small_store import clip_content, write_store
from utils.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
WRITE = """
import resource, sys
from pathlib import Path
from datasets.clip_writer import ClipWriter
from tests.support.small_store import clip_content
limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
with ClipWriter(Path(sys.argv[1]), resume=True) as writer:
    for i in range(10_000):
        if f"a/{i:03d}" not in writer:
            writer.add_clip(f"a/{i:03d}", *clip_content(60, i))
            print(i, flush=True)
"""


def writer_process(path, limit=0):
    return program(["-c", WRITE, path, limit])


def check_clips(store, n):
    assert store.clips() == [f"a/{i:03d}" for i in range(n)]
    for i in (0, n - 1):
        np.testing.assert_array_equal(store.read_frames(f"a/{i:03d}", 0, 60).audio, clip_content(60, i)[0])


def test_a_killed_run_leaves_whole_clips_that_can_be_read_and_continued(tmp_path):
    path = tmp_path / "data set é"
    with writer_process(path) as process:
        for line in process.stdout:
            if int(line) >= 5:
                break
    copies = [shutil.copytree(path, tmp_path / name) for name in "ab"]  # this process keeps what it reads open
    with pytest.raises(UserError, match="unfinished.*again to finish it"):
        ClipStore(copies[0]).clips()
    store = ClipStore(copies[1], unfinished=True)
    n = len(store.clips())
    assert n >= 6 and not store.finished
    check_clips(store, n)
    with ClipWriter(path, resume=True) as writer:
        assert f"a/{n - 1:03d}" in writer
        writer.add_clip(f"a/{n:03d}", *clip_content(60, n))
    store = ClipStore(path)
    assert store.finished
    check_clips(store, n + 1)


def test_a_full_disk_keeps_what_is_there(tmp_path):
    """A limit on the size of files stands in for the disk's end."""
    with writer_process(tmp_path / "s", limit=400_000) as process:
        out, error = process.communicate(timeout=60)
    assert process.returncode == 1 and "UserError" in error and "finished clips are kept" in error
    done = len(out.split())
    assert done >= 2
    check_clips(ClipStore(shutil.copytree(tmp_path / "s", tmp_path / "copy"), unfinished=True), done)
    with ClipWriter(tmp_path / "s", resume=True) as writer:
        writer.add_clip(f"a/{done:03d}", *clip_content(60, done))
    check_clips(ClipStore(tmp_path / "s"), done + 1)


def test_a_second_writer_is_refused(tmp_path):
    with writer_process(tmp_path / "s") as process:
        process.stdout.readline()
        with pytest.raises(UserError, match="another process is writing"):
            ClipWriter(tmp_path / "s", resume=True)
    with ClipWriter(tmp_path / "s", resume=True) as writer, pytest.raises(UserError, match="cannot be written"):
        assert "a/000" in writer
        ClipWriter(tmp_path / "s", resume=True)


@pytest.mark.parametrize("share", [0.2, 0.98])
def test_a_truncated_file_is_said_not_crashed_on(tmp_path, share):
    path = write_store(tmp_path / "s", {f"a/{i}": 80 for i in range(8)})
    size = (path / "data.mdb").stat().st_size
    os.truncate(path / "data.mdb", int(size * share))
    code = "import sys; from datasets.clip_store import ClipStore; ClipStore(sys.argv[1]).clips()"
    run = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 1, "a signal, not an exception"
    assert "UserError" in run.stderr and ("cut off" in run.stderr or "not a readable LMDB" in run.stderr)


def test_unused_pages_may_be_absent(tmp_path):
    """A file that ends before its last page number, with all its values whole, is read."""
    path = write_store(tmp_path / "s", {f"a/{i}": 80 for i in range(8)})
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        last = max(bytes(key) for key, _ in transaction.cursor() if key.endswith(b"/000"))
        transaction.put(b"zz", bytes(200_000))
        transaction.delete(b"zz")
        assert last
    info = path / "data.mdb"
    before = info.stat().st_size
    store = ClipStore(path)
    assert len(store.clips()) == 8
    assert info.stat().st_size == before


def test_a_data_set_that_was_moved(tmp_path):
    path = write_store(tmp_path / "s", {"a/0": 30})
    store = ClipStore(path)
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="not a readable LMDB"):
        store.clips()
    assert ClipStore(tmp_path / "elsewhere").clips() == ["a/0"]


def test_encoding_elsewhere_is_writing_here(tmp_path):
    audio, coefs = clip_content(130)
    with ClipWriter(tmp_path / "s") as writer:
        writer.add_encoded("p/0", encode_clip("p/0", audio, coefs, 100))
        with pytest.raises(UserError, match="already"):
            writer.add_encoded("p/0", {})
        for bad in ("../x", "a/../b", "x"):
            with pytest.raises(UserError, match="<person>/<video>"):
                writer.add_encoded(bad, {})
    frames = ClipStore(tmp_path / "s").read_frames("p/0", 0, 130)
    np.testing.assert_array_equal(frames.audio, audio)


def test_a_folder_that_may_not_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written"):
        ClipWriter(tmp_path / "file" / "s")


def test_benchmark_of_reading(tmp_path, capsys):
    start = time.perf_counter()
    data.main(["--parts", "reading", "--clips", "1", "--seconds", "0.05", "--json", str(tmp_path / "out.json")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and lines[2].startswith("ours")
    assert (tmp_path / "out.json").is_file() and time.perf_counter() > start


def test_names_in_a_data_set_are_not_trusted(tmp_path):
    path = write_store(tmp_path / "s", {"a/0": 30})
    for key, match in ((b"\xff/0/metadata", "not text"), (b"a/../../x/metadata", None)):
        copy = shutil.copytree(path, tmp_path / key.hex())
        with lmdb.open(str(copy)) as environment, environment.begin(write=True) as transaction:
            transaction.put(key, transaction.get(b"a/0/metadata"))
        source = ClipStore(copy)
        if match:
            with pytest.raises(UserError, match=match):
                source.clips()
            with pytest.raises(UserError, match=match):
                ClipWriter(shutil.copytree(copy, tmp_path / "w"), resume=True)
        else:
            results = {r.clip: r.problem for r in convert(source, tmp_path / "out", source.clips())}
            assert results["a/0"] == "" and "<person>/<video>" in results["a/../../x"]
