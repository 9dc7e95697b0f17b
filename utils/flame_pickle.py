"""Read FLAME's Python-2 pickles without chumpy and without trusting them.

An unpickler may call anything a pickle names, so only an exact list of (module, name) pairs is let through: NumPy
array and dtype construction, SciPy's csc_matrix, text decoding, plain sets, and a stand-in for `chumpy.ch.Ch` whose
state's 'x' entry is the array. Everything else is refused before it runs.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import scipy.sparse

from utils.errors import UserError


class _ChumpyArray:
    """Stands in for `chumpy.ch.Ch`: keeps the plain array of its state, nothing else."""

    value: np.ndarray | None = None

    def __setstate__(self, state: object) -> None:
        value = state.get("x") if isinstance(state, dict) else None
        self.value = value if isinstance(value, np.ndarray) else None


def _encode(text: str, encoding: str) -> bytes:
    """`_codecs.encode` as protocol 2 uses it for bytes: latin1 only."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"codec {encoding!r} is not allowed")
    return text.encode("latin1")


def _reconstructor(cls: type, base: type, state: object) -> object:
    """`copy_reg._reconstructor` (protocols 0 and 1) for our two object types only."""
    if cls not in (_ChumpyArray, scipy.sparse.csc_matrix) or base is not object or state is not None:
        raise pickle.UnpicklingError("copy_reg._reconstructor is only allowed for array objects")
    return object.__new__(cls)


def _allow_list() -> dict[tuple[str, str], object]:
    reconstruct = np.empty(0).__reduce__()[0]  # wherever this NumPy keeps them
    scalar = np.float64(0).__reduce__()[0]
    allowed: dict[tuple[str, str], object] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("chumpy.ch", "Ch"): _ChumpyArray,
        ("_codecs", "encode"): _encode,
    }
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        allowed[module, "_reconstruct"] = reconstruct
        allowed[module, "scalar"] = scalar
    for module in ("scipy.sparse", "scipy.sparse.csc", "scipy.sparse._csc"):
        allowed[module, "csc_matrix"] = scipy.sparse.csc_matrix
    for module in ("__builtin__", "builtins"):
        allowed[module, "set"] = set
        allowed[module, "object"] = object
    for module in ("copy_reg", "copyreg"):
        allowed[module, "_reconstructor"] = _reconstructor
    return allowed


_ALLOWED = _allow_list()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"refused to load {module}.{name}") from None


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
        ids = np.asarray(ids) if not isinstance(ids, _ChumpyArray) else np.asarray(ids.value)
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise UserError(f"{path}: mask {name!r} is not a list of vertex numbers; use FLAME_masks.pkl as downloaded")
        masks[str(name)] = ids.astype(np.int64)
    return masks


def _load(path: Path) -> dict:
    try:
        with path.open("rb") as file:
            content = _Unpickler(file, encoding="latin1").load()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except Exception as error:  # a damaged pickle can raise nearly anything; none of it is worth a traceback
        raise UserError(f"{path}: not accepted as a FLAME pickle ({error}); download it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, not a dict; this is not a FLAME pickle")
    return content


def _plain(value: object, what: str) -> np.ndarray | None:
    if isinstance(value, _ChumpyArray):
        if value.value is None:
            raise UserError(f"{what} is an unevaluated chumpy expression; use FLAME's file as downloaded")
        value = value.value
    if scipy.sparse.issparse(value):
        try:
            value.check_format(full_check=True)  # indices outside the shape would write out of bounds
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{what} is a malformed sparse matrix ({error}); download the file again") from error
        value = value.toarray()
    is_numeric = isinstance(value, np.ndarray) and value.dtype.kind in "fiub"
    return value if is_numeric else None
