"""What an untrusted pickle may name: the constructors of NumPy's arrays and scalars, in NumPy 1's and 2's spelling, and
of bytes. A stand-in replaces each of them, so that neither foreign code nor NumPy's own unpickling runs.
Everything else is refused before it is called. `utils.trackers.pickles` turns the result into plain trees.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from utils.errors import UserError

# Exact names of the numeric types; object, void, string and date types have no place in a data set.
_NUMERIC = {np.dtype(f"{kind}{size}").str[1:] for kind in "iu" for size in (1, 2, 4, 8)} | {"f2", "f4", "f8", "b1"}


class RefusedError(UserError):
    """A pickle that asks for something that could run code."""


class Fixed:
    """A stand-in that a pickle must not change, since a changed state would last for all later files."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("refused to change a constructor")


class Stand(Fixed):
    """A callable for the pickle. It gets no class or function, whose attributes it could set."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable) -> None:
        self._function = function

    def __call__(self, *args: object) -> object:
        return self._function(*args)


class _DType:
    """Stands for `numpy.dtype(code, align, copy)`; its state only gives the byte order."""

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


class _ObjectType:
    """Stands for `numpy.dtype('O8')`: objects of the pickle itself, which are checked one by one."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment mean nothing for objects."""


def _dtype(code: object, *_: object) -> object:
    return _ObjectType() if code in ("O8", "O4", "O") else _DType(code)


class ArrayStand:
    """Stands for `_reconstruct(ndarray, (0,), b'b')`; its state gives shape, type and bytes, or a list of objects."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: np.ndarray | list | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise pickle.UnpicklingError("damaged numpy array")
        shape, dtype, fortran, data = state[-4:]
        if isinstance(dtype, _ObjectType) and isinstance(data, list):
            self.value = data
            return
        self.value = _from_buffer(data, dtype, shape, "F" if fortran else "C")


def _from_buffer(data: object, dtype: object, shape: object, order: object) -> np.ndarray:
    """`numpy._core.numeric._frombuffer` (protocol 5), with every argument checked."""
    if isinstance(data, str):  # bytes of Python 2
        data = data.encode("latin1")
    if (
        not isinstance(dtype, _DType)
        or not isinstance(data, bytes | bytearray)
        or not isinstance(shape, tuple)
        or not all(type(n) is int and n >= 0 for n in shape)
        or len(shape) > 32
        or order not in ("C", "F")
    ):
        raise pickle.UnpicklingError("refused numpy array: not a buffer of numbers")
    if math.prod(shape) * dtype.value.itemsize != len(data):
        raise pickle.UnpicklingError("damaged numpy array: size and shape differ")
    return np.frombuffer(data, dtype.value).reshape(shape, order=order)


def _reconstruct(kind: object, *_: object) -> ArrayStand:
    if kind is not _NDARRAY:
        raise pickle.UnpicklingError("refused numpy array subclass")
    return ArrayStand()


def _scalar(dtype: object, data: object) -> np.generic:
    return _from_buffer(data, dtype, (1,), "C")[0]


def _encode(text: object, encoding: object) -> bytes:
    """`_codecs.encode` as protocols below 3 use it for bytes: latin1 only."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"refused codec {encoding!r}")
    return text.encode("latin1")


def _refuse(*_: object) -> None:
    raise pickle.UnpicklingError("refused to call numpy.ndarray")


_NDARRAY = Stand(_refuse)  # only ever an argument of _reconstruct
CONSTRUCTORS: dict[tuple[str, str], Stand] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): Stand(_dtype),
    ("_codecs", "encode"): Stand(_encode),
    ("__builtin__", "bytes"): Stand(lambda: b""),  # how protocols below 3 write empty bytes
}
for _core in ("numpy.core", "numpy._core"):
    CONSTRUCTORS[f"{_core}.multiarray", "_reconstruct"] = Stand(_reconstruct)
    CONSTRUCTORS[f"{_core}.multiarray", "scalar"] = Stand(_scalar)
    CONSTRUCTORS[f"{_core}.numeric", "_frombuffer"] = Stand(_from_buffer)


class SafeUnpickler(pickle.Unpickler):
    """Loads plain objects and, for arrays, `ArrayStand`; an error names anything else that the pickle asks for.

    Text of Python 2 is taken as latin1, which keeps the bytes of its arrays.
    """

    known: ClassVar[dict[tuple[str, str], Any]] = CONSTRUCTORS

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")

    def find_class(self, module: str, name: str) -> object:
        try:
            return self.known[module, name]
        except KeyError:
            raise RefusedError(f"refused to load {module}.{name}") from None
