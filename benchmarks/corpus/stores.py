"""Random items of 200 frames with their audio: our LMDB against litdata and webdataset, the same values in each.

    pip install litdata==0.2.76 webdataset==1.0.2          # for this comparison only
    python -m benchmarks.corpus.stores [--clips 128] [--seconds 5] [--latency 20]

Clips of a minute (noise under a speech-like envelope), pages in the system's file cache, one process for each store:

- LMDB, and litdata with a segment of 4 s as an item: random windows of random clips, as training reads them.
- bucket: litdata's through an S3 server on this machine, in the same process, which waits --latency ms to answer.
- webdataset, with a clip as an item: it reads tar files from end to end through a buffer of 100 clips, one window of
  each clip; it has no random access.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import psutil

from benchmarks.report import Flags, column, read_flags, table, write_json
from benchmarks.speed.data import FRAMES, random_items, write_random_store
from datasets.clip_store import ClipStore
from utils.config import check_least, flag
from utils.errors import UserError, cli
from utils.runs.run_dir import ROOT

CHUNK = 64_000_000  # bytes of a file of litdata (its default) and of webdataset
STORES = ("lmdb", "litdata", "webdataset", "bucket")


@dataclass(frozen=True, kw_only=True)
class StoreFlags(Flags):
    """What is compared."""

    clips: int = 128
    """Clips of a minute."""
    seconds: float = 5.0
    """For each store."""
    latency: float = 20.0
    """Milliseconds until the bucket answers."""
    only: str | None = flag(None, choices=STORES)
    """Measure this store, in --folder, and print it: what the program starts for each."""
    folder: Path | None = None
    """Where the stores are."""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        super().check()
        check_least(self, clips=2, seconds=0.1, latency=0)
        if (self.only is None) != (self.folder is None):
            raise UserError("--only and --folder: give both or neither")


@dataclass(frozen=True)
class StoreRow:
    """One way of storing clips."""

    store: str = column("store")
    items: float = column("items/s", "{:.0f}")
    cpu: float = column("processor ms an item", "{:.2f}")
    start: float = column("until the first item, s", "{:.2f}")
    memory: float = column("memory, MB", "{:.0f}")
    size: float = column("MB on disk", "{:.1f}")
    fetched: float = column("MB fetched an item", "{:.2f}")  # from the bucket


class LitdataStore(ClipStore):
    """The values of a clip store as litdata's items, behind the same interface."""

    def __init__(self, folder: Path | str, names: Path, **options: object) -> None:
        import litdata

        super().__init__(names)
        self._seg_len = 100
        self._number = {key: i for i, key in enumerate(json.loads((names / "keys.json").read_text()))}
        self._items = litdata.StreamingDataset(str(folder), **options)

    def _get(self, key: str) -> bytes | None:
        return self._items[self._number[key]] if key in self._number else None


def write_stores(folder: Path, n_clips: int) -> None:
    """The same values in all three."""
    import webdataset
    from litdata.streaming.writer import BinaryWriter

    store = write_random_store(folder / "lmdb", n_clips)
    writer, keys = BinaryWriter(str(folder / "litdata"), chunk_bytes=CHUNK), []
    (folder / "webdataset").mkdir()
    with webdataset.ShardWriter(str(folder / "webdataset" / "%05d.tar"), maxsize=CHUNK, verbose=0) as shards:
        for clip in store.clips():
            values = store.values(clip)
            for key, value in values.items():
                writer[len(keys)] = value
                keys.append(key)
            named = {key.rpartition("/")[2]: value for key, value in values.items()}
            shards.write({"__key__": clip, **named})
    writer.done()
    writer.merge()
    (folder / "lmdb" / "keys.json").write_text(json.dumps(keys))


def windows_of(store: ClipStore) -> Iterator[Callable[[], object]]:
    """Readers of random items."""
    for clip, first in random_items(store, FRAMES):
        yield partial(store.read_frames, clip, first, first + FRAMES)


class OneClip(ClipStore):
    """A clip of webdataset behind the same interface."""

    def __init__(self, names: Path, sample: dict[str, bytes]) -> None:
        super().__init__(names)
        self._seg_len, self._sample = 100, sample

    def _get(self, key: str) -> bytes | None:
        return self._sample.get(key.rpartition("/")[2])


def windows_of_tars(folder: Path, names: Path) -> Iterator[Callable[[], object]]:
    """Readers of one random window of each clip, epoch after epoch."""
    import webdataset

    urls, random = sorted(map(str, folder.glob("*.tar"))), np.random.default_rng(0)
    while True:
        for sample in webdataset.WebDataset(urls, shardshuffle=len(urls)).shuffle(100):
            store, clip = OneClip(names, sample), sample["__key__"]
            first = int(random.integers(store.n_frames(clip) - FRAMES + 1))
            yield partial(store.read_frames, clip, first, first + FRAMES)


class Bucket(BaseHTTPRequestHandler):
    """GET of S3, with byte ranges."""

    protocol_version = "HTTP/1.1"
    root, latency, sent = Path(), 0.0, 0

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        time.sleep(self.latency)
        path = self.root / self.path.partition("?")[0].partition("bucket/")[2]
        if not path.is_file():
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        size, asked = path.stat().st_size, self.headers.get("Range")
        low, high = map(int, asked.removeprefix("bytes=").split("-")) if asked else (0, size - 1)
        high = min(high, size - 1)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {low}-{high}/{size}")
        for name, value in (("Content-Length", high - low + 1), ("ETag", '"0"'),
                            ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")):  # fmt: skip
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            with path.open("rb") as file:
                file.seek(low)
                self.wfile.write(file.read(high - low + 1))
            Bucket.sent += high - low + 1

    def log_message(self, *_: object) -> None:
        """Nothing: stderr is the reader's."""


def bucket_store(folder: Path, latency: float) -> ClipStore:
    """litdata's folder through a server in this process."""
    Bucket.root, Bucket.latency = folder, latency / 1000
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = {"endpoint_url": f"http://127.0.0.1:{server.server_port}", "aws_access_key_id": "none",
               "aws_secret_access_key": "none", "region_name": "us-east-1"}  # fmt: skip
    return LitdataStore("s3://bucket/litdata", folder / "lmdb", storage_options=options,
                        cache_dir=str(folder / "cache"))  # fmt: skip


def own_memory() -> float:
    """MB without the pages of files, which processes share."""
    memory = psutil.Process().memory_info()
    return (memory.rss - memory.shared) / 1e6


def measured(store: str, flags: StoreFlags, folder: Path) -> StoreRow:
    """Items of one store, in this process."""
    memory = own_memory()
    begin = time.perf_counter()
    readers = {
        "lmdb": lambda: windows_of(ClipStore(folder / "lmdb")),
        "litdata": lambda: windows_of(LitdataStore(folder / "litdata", folder / "lmdb")),
        "bucket": lambda: windows_of(bucket_store(folder, flags.latency)),
        "webdataset": lambda: windows_of_tars(folder / "webdataset", folder / "lmdb"),
    }[store]()
    next(readers)()
    first, used, sent, count = time.perf_counter(), time.process_time(), Bucket.sent, 0
    while (elapsed := time.perf_counter() - first) < flags.seconds:
        next(readers)()
        count += 1
    return StoreRow(
        store,
        count / elapsed,
        (time.process_time() - used) / count * 1000,
        first - begin,
        own_memory() - memory,
        sum(p.stat().st_size for p in (folder / store.replace("bucket", "litdata")).rglob("*") if p.is_file()) / 1e6,
        (Bucket.sent - sent) / count / 1e6,
    )


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(StoreFlags, __doc__, argv)
    if flags.only is not None and flags.folder is not None:
        print(json.dumps(asdict(measured(flags.only, flags, flags.folder))))
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            write_stores(Path(folder), flags.clips)
        except ModuleNotFoundError as error:
            raise UserError(f"{error.name} is not installed; pip install litdata==0.2.76 webdataset==1.0.2") from error
        words = [sys.executable, "-m", "benchmarks.corpus.stores", "--folder", folder, "--seconds", f"{flags.seconds}",
                 "--latency", f"{flags.latency}", "--only"]  # fmt: skip
        run = partial(subprocess.run, cwd=ROOT, check=True, stdout=subprocess.PIPE)
        rows = [StoreRow(**json.loads(run([*words, store]).stdout.splitlines()[-1])) for store in STORES]
    print(table(rows))
    write_json(flags.json, rows)


if __name__ == "__main__":
    main()
