"""Read the pickled values of published data sets without trusting them.

The only globals a pickle may name are the constructors of NumPy arrays and scalars, in NumPy 1's and 2's spelling,
and of bytes, and each of them is answered by a stand-in of ours: no foreign code and none of NumPy's own unpickling
runs. Everything else is refused before it is called, and the result is checked to be a plain tree.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from utils.errors import UserError

# Exact names of the numeric types; object, void, string and date types have no place in a data set.
_NUMERIC = {np.dtype(f"{kind}{size}").str[1:] for kind in "iu" for size in (1, 2, 4, 8)} | {"f2", "f4", "f8", "b1"}
_PLAIN = (int, float, str, bytes, bytearray, type(None), np.generic)


def load_numpy_pickle(data: bytes, source: str) -> Any:
    """A pickle of dicts, lists, numbers, text, bytes and numeric arrays, as Python and NumPy objects.

    Args:
        data: the pickle, any protocol.
        source: where it comes from, for the message.

    Raises:
        UserError: damaged, or naming any other class or function (named in the message; nothing of it is executed).
    """
    try:
        return _plain(_Unpickler(io.BytesIO(data), encoding="latin1").load())
    except RecursionError as error:
        raise UserError(f"{source}: nested without end; this is not a data set value") from error
    except Exception as error:  # a damaged pickle can raise nearly anything; none of it is worth a traceback
        raise UserError(f"{source}: not accepted as data ({error}); get the data set again") from error


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"refused to load {module}.{name}") from None


class _Stand:
    """A callable offered to the pickle. No class and no function is handed out, whose attributes it could set."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable) -> None:
        self._function = function

    def __call__(self, *args: object) -> object:
        return self._function(*args)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("refused to change a constructor")


class _DType:
    """Answers `numpy.dtype(code, align, copy)`; its state only tells the byte order."""

    __slots__ = ("value",)

    def __init__(self, code: object) -> None:
        if not isinstance(code, str) or code.lstrip("<>=|") not in _NUMERIC:
            raise pickle.UnpicklingError(f"refused numpy dtype {code!r}: only numbers are data")
        self.value = np.dtype(code)

    def __setstate__(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError("damaged numpy dtype")
        self.value = self.value.newbyteorder(order)


class _Array:
    """Answers `_reconstruct(ndarray, (0,), b'b')`; the state brings shape, type and bytes."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise pickle.UnpicklingError("damaged numpy array")
        shape, dtype, fortran, data = state[-4:]
        self.value = _from_buffer(data, dtype, shape, "F" if fortran else "C")


def _from_buffer(data: object, dtype: object, shape: object, order: object) -> np.ndarray:
    """`numpy._core.numeric._frombuffer` (protocol 5), with every argument checked."""
    if isinstance(data, str):  # bytes of Python 2
        data = data.encode("latin1")
    sizes_fit = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape) and len(shape) <= 32
    if (
        not isinstance(dtype, _DType)
        or not isinstance(data, bytes | bytearray)
        or not sizes_fit
        or order not in ("C", "F")
    ):
        raise pickle.UnpicklingError("refused numpy array: not a buffer of numbers")
    if math.prod(shape) * dtype.value.itemsize != len(data):
        raise pickle.UnpicklingError("damaged numpy array: size and shape differ")
    return np.frombuffer(data, dtype.value).reshape(shape, order=order)


def _reconstruct(kind: object, *_: object) -> _Array:
    if kind is not _NDARRAY:
        raise pickle.UnpicklingError("refused numpy array subclass")
    return _Array()


def _scalar(dtype: object, data: object) -> np.generic:
    return _from_buffer(data, dtype, (1,), "C")[0]


def _encode(text: object, encoding: object) -> bytes:
    """`_codecs.encode` as protocols below 3 use it for bytes: latin1 only."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"refused codec {encoding!r}")
    return text.encode("latin1")


def _refuse(*_: object) -> None:
    raise pickle.UnpicklingError("refused to call numpy.ndarray")


_NDARRAY = _Stand(_refuse)  # only ever an argument of _reconstruct
_ALLOWED: dict[tuple[str, str], _Stand] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Stand(lambda code, *_: _DType(code)),
    ("_codecs", "encode"): _Stand(_encode),
    ("__builtin__", "bytes"): _Stand(lambda: b""),  # how protocols below 3 write no bytes at all
}
for _core in ("numpy.core", "numpy._core"):
    _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = _Stand(_reconstruct)
    _ALLOWED[f"{_core}.multiarray", "scalar"] = _Stand(_scalar)
    _ALLOWED[f"{_core}.numeric", "_frombuffer"] = _Stand(_from_buffer)


def _plain(value: object) -> Any:
    """Replace the array stand-ins and refuse what is not a plain tree."""
    if isinstance(value, dict):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    if isinstance(value, _Array) and value.value is not None:
        return value.value
    if isinstance(value, _PLAIN) or (isinstance(value, np.ndarray) and value.dtype.kind in "iufb"):
        return value
    raise pickle.UnpicklingError(f"refused a value of type {type(value).__name__}")


def _key(key: object) -> object:
    if not isinstance(key, str | int | bytes):
        raise pickle.UnpicklingError(f"refused a key of type {type(key).__name__}")
    return key
