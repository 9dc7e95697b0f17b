"""torch.save's form before torch 1.6, and pickles with tensors in them, which hold that form for each storage.

Such a file is a row of pickles (a magic number, a version, the system, the object, the names of its storages), then the
storages, each behind its length. As in `torch_file`, a storage is a range of the file, and nothing in it is executed.
"""

from __future__ import annotations

import pickle
import struct
from typing import Any

import torch

from utils.reading.pickle_scan import scan_pickle
from utils.reading.safe_pickle import SafeUnpickler, Stand
from utils.reading.torch_file import KNOWN, StorageStand, StorageType, TorchUnpickler

_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)[2:]  # behind a protocol and perhaps a frame
_VERSION = 1001
_COUNT = struct.Struct("<q")


def is_legacy(data: bytes) -> bool:
    """Whether torch.save wrote this before torch 1.6."""
    return data[:1] == b"\x80" and _MAGIC in data[:40]


def load_legacy(data: bytes, source: str) -> Any:
    """The object in such a file, with stand-ins for its tensors. Damage raises many kinds of errors.

    Raises:
        UserError: an oversized or damaged pickle; RefusedError, if it could run code.
    """
    ends = [0]
    for _ in range(5):
        ends.append(scan_pickle(data, source, ends[-1]))
    parts = [data[start:end] for start, end in zip(ends, ends[1:])]
    version, system, keys = (SafeUnpickler(parts[i]).load() for i in (1, 2, 4))
    if version != _VERSION or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise pickle.UnpicklingError("another version of torch.save, or a big-endian machine")
    first = _Sizes(parts[3])
    first.load()
    return _Legacy(parts[3], _storages(bytearray(data), ends[-1], keys, first.sizes)).load()


def _storages(data: bytearray, start: int, keys: object, sizes: dict[str, int]) -> dict[str, memoryview]:
    """Views of the storages, in the order of their keys."""
    found, view = {}, memoryview(data)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(sizes):
        raise pickle.UnpicklingError("damaged list of storages")
    for key in map(str, keys):
        (count,) = _COUNT.unpack_from(view, start)
        end = start + _COUNT.size + sizes[key]
        if count < 0 or end > len(view) or (count and sizes[key] % count):
            raise pickle.UnpicklingError(f"tensor storage {key[:20]} is cut off")
        found[key] = view[start + _COUNT.size : end]
        start = end
    return found


class _Legacy(TorchUnpickler):
    def persistent_load(self, pid: object) -> StorageStand:
        whole = isinstance(pid, tuple) and len(pid) == 6 and pid[5] is None  # None: not a view of another storage
        return super().persistent_load(pid[:5] if whole else pid)  # pyright: ignore[reportIndexIssue]


class _Sizes(_Legacy):
    """Only notes the bytes of each storage."""

    known = KNOWN | {("torch._utils", name): Stand(lambda *_: None)
                     for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")}  # fmt: skip

    def __init__(self, data: bytes) -> None:
        super().__init__(data, {})
        self.sizes: dict[str, int] = {}

    def persistent_load(self, pid: object) -> StorageStand:
        match pid:
            case ("storage", StorageType() as kind, key, _, int() as count, None) if count >= 0:
                self.sizes[str(key)] = count * kind.dtype.itemsize
                return StorageStand(torch.uint8, memoryview(b""))
        raise pickle.UnpicklingError("damaged tensor storage")


class TensorUnpickler(TorchUnpickler):
    """Loads a plain pickle in which tensors stand among arrays."""

    def __init__(self, data: bytes, source: str) -> None:
        super().__init__(data, {})
        self._source, self._left = source, len(data)

    def find_class(self, module: str, name: str) -> object:
        return (
            Stand(self._storage)
            if (module, name) == ("torch.storage", "_load_from_bytes")
            else super().find_class(module, name)
        )

    def _storage(self, data: object) -> StorageStand:
        """The pickle holds each storage as bytes (a whole file in the old form), so they are no longer than it."""
        self._left -= len(data) if isinstance(data, bytes) else self._left + 1
        if self._left < 0 or not isinstance(data, bytes) or not is_legacy(data):
            raise pickle.UnpicklingError("damaged tensor storage")
        found = load_legacy(data, self._source)
        if not isinstance(found, StorageStand):
            raise pickle.UnpicklingError("damaged tensor storage")
        return found
