"""Pickled dicts of arrays, object npy files and torch's zip files (.pt, .frame) as plain trees; no code in them runs.

`utils.safe_pickle` answers NumPy's constructors with stand-ins. Torch's own few are added here: a tensor is a view of
a storage, a storage is a member of the zip file whose length is checked against what the pickle says.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np

from utils.array_file import npy_header, zip_members
from utils.errors import UserError
from utils.pickle_scan import scan_pickle
from utils.safe_pickle import CONSTRUCTORS, ArrayStand, SafeUnpickler, Stand

MAX_NODES = 500_000  # entries of a tree; a small pickle can refer to itself so often that walking it never ends
_STORAGES = {"DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "LongStorage": "i8", "IntStorage": "i4",
             "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "b1"}  # fmt: skip


def load_tree(data: bytes, source: str, storages: dict[str, bytes] | None = None) -> Any:
    """A pickle of dicts, lists, numbers, text, arrays and tensors as Python objects and NumPy arrays.

    Args:
        data: the pickle.
        source: for messages.
        storages: bytes of the tensors' storages by key.

    Raises:
        UserError: damaged, or naming any other class or function.
    """
    scan_pickle(data, source)
    try:
        loaded = _TorchUnpickler(data, storages or {}).load()
        return _tree(loaded, iter(range(MAX_NODES)))
    except (RecursionError, StopIteration) as error:
        raise UserError(f"{source}: nested without end; this is no data") from error
    except Exception as error:  # a damaged pickle can raise nearly anything; none of it is worth a traceback
        raise UserError(f"{source}: not accepted as data ({error}); get it again, or store plain arrays") from error


def load_torch_zip(data: bytes, source: str) -> Any:
    """What `torch.save` wrote (its zip form, since torch 1.6).

    Raises:
        UserError: not such a file, or see `load_tree`.
    """
    members = zip_members(data, source)
    names = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    if len(names) != 1:
        raise UserError(f"{source}: is a zip archive without data.pkl, so not of torch.save; give a tracker's file")
    folder = names[0].removesuffix("data.pkl")
    if members.get(f"{folder}byteorder", b"little") != b"little":
        raise UserError(f"{source}: was written on a big-endian machine; store plain arrays with numpy.savez")
    start = f"{folder}data/"
    storages = {name.removeprefix(start): value for name, value in members.items() if name.startswith(start)}
    return load_tree(members[names[0]], source, storages)


def load_object_npy(data: bytes, source: str) -> Any:
    """What `numpy.save` made of a dict or a list of dicts: the one object, or a list of them."""
    dtype, shape, _, offset = npy_header(data, source)
    if not dtype.hasobject or math.prod(shape) > MAX_NODES:
        raise UserError(f"{source}: not an npy of objects; give a tracker's file")
    content = load_tree(data[offset:], source)
    items = content if isinstance(content, list) else [content]
    return items[0] if shape == () and items else items


class _ObjectArray(ArrayStand):
    """An array of Python objects becomes the list of them."""

    def __setstate__(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) in (4, 5) and isinstance(state[-1], list):
            self.value = state[-1]
        else:
            super().__setstate__(state)


class _Storage:
    """A typed stretch of bytes."""

    def __init__(self, code: str, data: bytes) -> None:
        self.values = np.frombuffer(data, f"<{code}")


class _StorageType:
    """Answers `torch.FloatStorage` and the like; only ever an argument of a persistent id."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __call__(self, *_: object) -> None:
        raise pickle.UnpicklingError("refused to make a storage")


class _ObjectType:
    """Answers `numpy.dtype('O8')`: objects of the tree itself, which are checked one by one."""

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment mean nothing for objects."""


def _dtype(code: object, *rest: object) -> object:
    return _ObjectType() if code in ("O8", "O4", "O") else CONSTRUCTORS["numpy", "dtype"](code, *rest)


def _rebuild_tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> ArrayStand:
    """`torch._utils._rebuild_tensor_v2`: a strided view, checked to lie inside its storage, then copied."""
    lists = [x for x in (size, stride) if isinstance(x, tuple) and all(type(n) is int and n >= 0 for n in x)]
    if not isinstance(storage, _Storage) or type(offset) is not int or offset < 0 or len(lists) != 2:
        raise pickle.UnpicklingError("damaged tensor")
    count, values = math.prod(size), storage.values
    if len(size) != len(stride) or len(size) > 32 or count > len(values):  # expanded tensors are refused, too
        raise pickle.UnpicklingError("damaged tensor: larger than its storage")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride)) if count else offset
    if last >= len(values) and count:
        raise pickle.UnpicklingError("damaged tensor: beyond its storage")
    bytes_ = tuple(step * values.itemsize for step in stride)
    array = ArrayStand()
    array.value = np.lib.stride_tricks.as_strided(values[offset:], size, bytes_).copy() if count else np.zeros(size)
    return array


def _reconstruct(kind: object, *_: object) -> ArrayStand:
    if kind is not CONSTRUCTORS["numpy", "ndarray"]:
        raise pickle.UnpicklingError("refused numpy array subclass")
    return _ObjectArray()


_TORCH: dict[tuple[str, str], object] = {
    ("torch._utils", "_rebuild_tensor_v2"): Stand(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): Stand(lambda tensor, *_: tensor),
    ("collections", "OrderedDict"): Stand(lambda *pairs: dict(*pairs)),
    ("numpy", "dtype"): Stand(_dtype),
    **{("torch", name): _StorageType(code) for name, code in _STORAGES.items()},
    **{(f"{core}.multiarray", "_reconstruct"): Stand(_reconstruct) for core in ("numpy.core", "numpy._core")},
}


class _TorchUnpickler(SafeUnpickler):
    def __init__(self, data: bytes, storages: dict[str, bytes]) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._storages = storages

    def find_class(self, module: str, name: str) -> object:
        found = _TORCH.get((module, name))
        return super().find_class(module, name) if found is None else found

    def persistent_load(self, pid: object) -> _Storage:
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage" or not isinstance(pid[1], _StorageType):
            raise pickle.UnpicklingError("damaged tensor storage")
        data = self._storages.get(str(pid[2]))
        if data is None or len(data) != pid[4] * np.dtype(pid[1].code).itemsize:
            raise pickle.UnpicklingError(f"tensor storage {str(pid[2])[:20]} is missing or cut off")
        return _Storage(pid[1].code, data)


def _tree(value: object, budget: Iterator[int]) -> Any:
    """Stand-ins -> arrays; anything but plain objects is refused. `budget` ends walks over self-repeating trees."""
    next(budget)
    if isinstance(value, ArrayStand):
        value = value.value
    if isinstance(value, dict):
        return {str(key): _tree(item, budget) for key, item in value.items() if isinstance(key, str | int)}
    if isinstance(value, list | tuple):
        return [_tree(item, budget) for item in value]
    if isinstance(value, int | float | str | bytes | bytearray | type(None) | np.generic):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "iufb":
        return value
    raise pickle.UnpicklingError(f"refused a value of type {type(value).__name__}")
