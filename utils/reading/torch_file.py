"""Files of `torch.save` without torch.load: only tensors, arrays, numbers, text, argparse's Namespace and paths.

`torch.load(weights_only=True)` runs no foreign code either, but takes as much memory as a file asks for: a few bytes
call bytearray(2**31), and a compressed member of 0.4 MB unpacks to 400 MB. Here a storage is a range of the file whose
length is checked, and a tensor is a view of it, so that reading needs little more memory than the file.
"""

from __future__ import annotations

import io
import math
import pathlib
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from utils.errors import UserError
from utils.reading.pickle_scan import scan_pickle
from utils.reading.safe_pickle import ArrayStand, Fixed, RefusedError, SafeUnpickler, Stand

MAX_MEMBERS, MAX_NODES = 100_000, 2_000_000
_LOCAL = struct.Struct("<4s22xHH")  # local header of a zip member: magic, ..., lengths of the name and the extra field
_DTYPES = {"DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
           "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
           "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
           "BoolStorage": torch.bool}  # fmt: skip


def load_torch(data: bytearray, source: str) -> Any:
    """The object in a file of `torch.save` (its zip form, since torch 1.6; `torch_legacy` has the older one). Tensors
    are views of `data`; a Namespace and an OrderedDict become dicts, paths become pure paths.

    Raises:
        UserError: not such a file, damaged, or holding anything else; RefusedError, if that could run code.
    """
    members = _members(data, source)
    names = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    if len(names) != 1:
        raise UserError(f"{source}: is a zip archive, but not from torch.save (no data.pkl); give another file")
    folder = names[0].removesuffix("data.pkl")
    if members.get(f"{folder}byteorder", b"little") != b"little":
        raise UserError(f"{source}: was written on a big-endian machine; save it again on a little-endian one")
    start = f"{folder}data/"
    storages = {name.removeprefix(start): value for name, value in members.items() if name.startswith(start)}
    pickled = bytes(members[names[0]])
    scan_pickle(pickled, source)
    try:
        return _plain(TorchUnpickler(pickled, storages).load(), iter(range(MAX_NODES)))
    except RefusedError:
        raise
    except (RecursionError, StopIteration) as error:
        raise UserError(f"{source}: nested without end, so not data; give another file") from error
    except Exception as error:  # a damaged pickle can raise nearly anything; none of it is worth a traceback
        raise UserError(f"{source}: not accepted as data ({error}); get it again") from error


def _members(data: bytearray, source: str) -> dict[str, memoryview]:
    """Views of the members of a zip archive that are stored as they are, with sound checksums."""
    found = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
        if len(infos) > MAX_MEMBERS or sum(info.file_size for info in infos) > len(data):
            raise UserError(f"{source}: declares more than it holds; copy or download it again")
        for info in infos:
            found[info.filename] = view = _stored(memoryview(data), info)
            if zlib.crc32(view) != info.CRC:
                raise ValueError("wrong checksum")
    except UserError:
        raise
    except Exception as error:  # as above, from zipfile
        raise UserError(
            f"{source}: not readable (damaged or incomplete: {error}); copy or download it again"
        ) from error
    return found


def _stored(data: memoryview, info: zipfile.ZipInfo) -> memoryview:
    magic, name, extra = _LOCAL.unpack_from(data, info.header_offset)
    start = info.header_offset + _LOCAL.size + name + extra
    if magic != b"PK\3\4" or info.compress_type != zipfile.ZIP_STORED or start + info.file_size > len(data):
        raise ValueError(f"{info.filename[:40]} is compressed or beyond the end")
    return data[start : start + info.file_size]


class StorageStand(Fixed):
    """A typed range of the file."""

    __slots__ = ("values",)

    def __init__(self, dtype: torch.dtype, data: memoryview) -> None:
        if len(data) == 0:
            self.values = torch.empty(0, dtype=dtype)
            return
        if np.frombuffer(data, np.uint8).ctypes.data % dtype.itemsize:  # torch.save aligns; others may not
            data = memoryview(bytearray(data))
        self.values = torch.frombuffer(data, dtype=dtype)


class StorageType(Fixed):
    """Stands for `torch.FloatStorage` and the like, which occur only in persistent ids."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


class TensorStand(Fixed):
    """A tensor until the pickle is read, so that nothing in it reaches torch's own methods."""

    __slots__ = ("value",)

    def __init__(self, value: torch.Tensor) -> None:
        self.value = value


class _Dict(dict):
    """Stands for `OrderedDict`, whose state is a network's version, and `Namespace`, whose state is its content."""

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict) and "_metadata" not in state:
            self.update(state)


def _rebuild_tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> TensorStand:
    """`torch._utils._rebuild_tensor_v2`: a strided view, checked to lie inside its storage."""
    if not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise pickle.UnpicklingError("damaged tensor")
    numbers_fit = all(type(n) is int and 0 <= n < 2**62 for n in (*size, *stride))
    if not isinstance(storage, StorageStand) or type(offset) is not int or offset < 0 or not numbers_fit:
        raise pickle.UnpicklingError("damaged tensor")
    count, values = math.prod(size), storage.values
    if len(size) != len(stride) or len(size) > 32 or count > len(values):  # refuses expanded tensors as well
        raise pickle.UnpicklingError("damaged tensor: larger than its storage")
    if count and offset + sum((n - 1) * step for n, step in zip(size, stride)) >= len(values):
        raise pickle.UnpicklingError("damaged tensor: beyond its storage")
    return TensorStand(
        torch.as_strided(values, size, stride, offset) if count else torch.empty(size, dtype=values.dtype)
    )


def _path(kind: type[pathlib.PurePath], parts: tuple) -> pathlib.PurePath:
    if not all(isinstance(part, str) for part in parts):
        raise pickle.UnpicklingError("damaged path")
    return kind(*parts)


_POSIX, _WINDOWS = (
    Stand(lambda *p: _path(pathlib.PurePosixPath, p)),
    Stand(lambda *p: _path(pathlib.PureWindowsPath, p)),
)
_PATHS = {"PosixPath": _POSIX, "PurePosixPath": _POSIX, "WindowsPath": _WINDOWS, "PureWindowsPath": _WINDOWS}
KNOWN: dict[tuple[str, str], Any] = SafeUnpickler.known | {
    ("torch._utils", "_rebuild_tensor_v2"): Stand(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor"): Stand(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): Stand(lambda tensor, *_: tensor),
    ("torch", "Size"): Stand(lambda sizes: sizes),
    ("collections", "OrderedDict"): Stand(lambda pairs=(): _Dict(pairs)),
    ("argparse", "Namespace"): _Dict,  # a class, as the pickle makes it without a call
    **{("torch", name): StorageType(dtype) for name, dtype in _DTYPES.items()},
    **{(module, name): path for module in ("pathlib", "pathlib._local") for name, path in _PATHS.items()},
}


class TorchUnpickler(SafeUnpickler):
    known = KNOWN

    def __init__(self, data: bytes, storages: dict[str, memoryview]) -> None:
        super().__init__(data)
        self._storages = storages

    def persistent_load(self, pid: object) -> StorageStand:
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage" or not isinstance(pid[1], StorageType):
            raise pickle.UnpicklingError("damaged tensor storage")
        data = self._storages.get(str(pid[2]))
        if data is None or len(data) != pid[4] * pid[1].dtype.itemsize:
            raise pickle.UnpicklingError(f"tensor storage {str(pid[2])[:20]} is missing or cut off")
        return StorageStand(pid[1].dtype, data)


def _plain(value: object, budget: Iterator[int]) -> Any:
    """Stand-ins -> the values that they stand for; anything but plain objects is refused. `budget` limits the walk."""
    next(budget)
    if isinstance(value, ArrayStand | TensorStand):
        value = value.value
    if isinstance(value, dict):
        return {_plain(key, budget): _plain(item, budget) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item, budget) for item in value)
    plain = (
        int | float | str | bytes | bytearray | type(None) | np.generic | np.ndarray | torch.Tensor | pathlib.PurePath
    )
    if isinstance(value, plain):
        return value
    raise pickle.UnpicklingError(f"refused a value of type {type(value).__name__}")
