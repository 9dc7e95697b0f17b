"""benchmarks.corpus.stores as far as it needs neither litdata nor webdataset."""

import json
import sys
import threading
import urllib.request
from http.server import ThreadingHTTPServer

import pytest

from benchmarks.corpus import stores
from tests.support.small_store import write_store


def test_our_store_is_measured(tmp_path, capsys):
    write_store(tmp_path / "lmdb", {"a/0": 250, "b/0": 201})
    stores.main(["--only", "lmdb", "--folder", str(tmp_path), "--seconds", "0.1"])
    row = json.loads(capsys.readouterr().out)
    assert row["items"] > 1 and row["size"] > 0.1 and row["fetched"] == 0


def test_a_window_of_a_clip_of_a_tar_file(tmp_path):
    store = stores.ClipStore(write_store(tmp_path / "lmdb", {"a/0": 250}))
    sample = {key.rpartition("/")[2]: value for key, value in store.values("a/0").items()}
    found = stores.OneClip(tmp_path / "lmdb", sample).read_frames("a/0", 30, 230)
    assert (found.audio == store.read_frames("a/0", 30, 230).audio).all() and len(found.coefs["exp"]) == 200


def test_the_bucket_answers_with_ranges(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(bytes(range(200)))
    monkeypatch.setattr(stores.Bucket, "root", tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), stores.Bucket) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asked = urllib.request.Request(
            f"http://127.0.0.1:{server.server_port}/bucket/file", headers={"Range": "bytes=5-9"}
        )
        with urllib.request.urlopen(asked, timeout=10) as answer:
            assert (answer.status, answer.read()) == (206, bytes(range(5, 10)))
            assert answer.headers["Content-Range"] == "bytes 5-9/200"
        server.shutdown()


def test_missing_packages_are_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "webdataset", None)
    with pytest.raises(SystemExit):
        stores.main(["--clips", "2"])
    assert "webdataset is not installed; pip install litdata" in capsys.readouterr().err
