"""Read FLAME's Python-2 pickles without chumpy and without trusting them.

An unpickler may call anything a pickle names. `utils.reading.safe_pickle` has stand-ins for NumPy's constructors; this
module has those for SciPy's csc_matrix, plain sets, and `chumpy.ch.Ch`, whose state's 'x' entry is the array.
Everything else is refused before it runs.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import scipy.sparse

from utils.errors import UserError
from utils.reading.array_file import read_bytes
from utils.reading.pickle_scan import scan_pickle
from utils.reading.safe_pickle import ArrayStand, SafeUnpickler, Stand

MAX_DENSE = 1 << 24  # entries of a sparse matrix made dense; FLAME's regressor has 25,115


class _Object:
    """Stands in for an object of a class: keeps the first state that it is given."""

    __slots__ = ("state",)

    def __setstate__(self, state: object) -> None:
        if hasattr(self, "state"):
            raise pickle.UnpicklingError("refused to change an object")
        self.state = state if isinstance(state, dict) else {}

    def get(self, *names: str) -> object:
        """The first of these entries of the state; None if there is none."""
        state = getattr(self, "state", {})
        return next((_array(state[name]) for name in names if name in state), None)


class _ChumpyArray(_Object):
    """`chumpy.ch.Ch`."""

    __slots__ = ()


class _SparseMatrix(_Object):
    """`scipy.sparse.csc_matrix`."""

    __slots__ = ()


_PLAIN_OBJECT = Stand(lambda *_: None)


def _reconstructor(cls: object, base: object, state: object) -> object:
    """`copy_reg._reconstructor` (protocols 0 and 1) for our two object types only."""
    if cls not in (_ChumpyArray, _SparseMatrix) or base is not _PLAIN_OBJECT or state is not None:
        raise pickle.UnpicklingError("copy_reg._reconstructor is only allowed for array objects")
    return cls()


class _Unpickler(SafeUnpickler):
    known = SafeUnpickler.known | {
        ("chumpy.ch", "Ch"): _ChumpyArray,
        **{(f"scipy.sparse{end}", "csc_matrix"): _SparseMatrix for end in ("", ".csc", "._csc")},
        **{(module, "set"): Stand(lambda *_: None) for module in ("__builtin__", "builtins")},
        **{(module, "object"): _PLAIN_OBJECT for module in ("__builtin__", "builtins")},
        **{(module, "_reconstructor"): Stand(_reconstructor) for module in ("copy_reg", "copyreg")},
    }


def load_flame_pickle(path: str | Path) -> dict[str, np.ndarray]:
    """`generic_model.pkl` as a dict of plain arrays; chumpy and sparse entries become dense, other types are left out.

    Raises:
        UserError: not a pickle, not a dict, a class outside the allow-list, or a malformed sparse matrix.
    """
    content = _load(Path(path))
    plain = {str(key): _plain(value, f"{path}: {key}") for key, value in content.items()}
    return {key: value for key, value in plain.items() if value is not None}


def load_mask_pickle(path: str | Path) -> dict[str, np.ndarray]:
    """`FLAME_masks.pkl`: region name -> vertex ids (n,) int64.

    Raises:
        UserError: as `load_flame_pickle`, or an entry which is not a list of vertex numbers.
    """
    content = _load(Path(path))
    masks = {}
    for name, ids in content.items():
        ids = _array(ids.get("x") if isinstance(ids, _ChumpyArray) else ids)
        ids = np.array(ids) if isinstance(ids, list) and all(type(i) is int and abs(i) < 2**31 for i in ids) else ids
        if not isinstance(ids, np.ndarray) or ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
            raise UserError(f"{path}: mask {name!r} is not a list of vertex numbers; use FLAME_masks.pkl as downloaded")
        masks[str(name)] = ids.astype(np.int64)
    return masks


def _load(path: Path) -> dict:
    data = read_bytes(path)
    scan_pickle(data, str(path))
    try:
        content = _Unpickler(data).load()
    except Exception as error:  # a damaged pickle can raise nearly anything; none of it is worth a traceback
        raise UserError(f"{path}: not accepted as a FLAME pickle ({error}); download it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, not a dict; this is not a FLAME pickle")
    return content


def _array(value: object) -> object:
    return value.value if isinstance(value, ArrayStand) else value


def _plain(value: object, what: str) -> np.ndarray | None:
    value = _array(value)
    if isinstance(value, _ChumpyArray):
        value = value.get("x")
        if not isinstance(value, np.ndarray):
            raise UserError(f"{what} is an unevaluated chumpy expression; use FLAME's file as downloaded")
    if isinstance(value, _SparseMatrix):
        value = _dense(value, what)
    return value if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" else None


def _dense(matrix: _SparseMatrix, what: str) -> np.ndarray:
    """Raises UserError for a matrix that contradicts itself or is too large."""
    shape = matrix.get("_shape", "shape")
    try:
        if not isinstance(shape, tuple | list) or len(shape) != 2:
            raise ValueError(f"shape {str(shape)[:60]}")
        if not all(type(n) is int and n >= 0 for n in shape) or math.prod(shape) > MAX_DENSE:
            raise ValueError(f"shape {str(shape)[:60]}")
        parts = tuple(np.array(matrix.get(name)) for name in ("data", "indices", "indptr"))
        if parts[0].dtype.kind != "f":
            raise TypeError(f"data {parts[0].dtype}")
        result = scipy.sparse.csc_matrix(parts, shape=shape)
        result.check_format(full_check=True)  # indices outside the shape would write out of bounds
        return result.toarray()
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise UserError(f"{what} is a malformed sparse matrix ({error}); download the file again") from error
