"""Small heads in FLAME's layout, and a writer of Python-2 pickles full of chumpy objects, as FLAME is distributed."""

import io
import pickle
import struct
import sys
import types
from pathlib import Path

import numpy as np
import scipy.sparse


def tiny_flame(n_vertices: int = 12, seed: int = 0) -> dict[str, np.ndarray]:
    """Random arrays under FLAME's names; sparse weights as in a real head are not needed."""
    rng = np.random.default_rng(seed)
    regressor, weights = rng.random((5, n_vertices)), rng.random((n_vertices, 5))
    return {
        "f": rng.integers(0, n_vertices, (20, 3)).astype(np.uint32),
        "v_template": rng.normal(size=(n_vertices, 3)) * 0.1,
        "shapedirs": rng.normal(size=(n_vertices, 3, 400)) * 0.01,
        "posedirs": rng.normal(size=(n_vertices, 3, 36)) * 0.01,
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], dtype=np.uint32),
    }


class _Chumpy:
    """Pickles as an instance of chumpy.ch.Ch with chumpy's kind of state."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x
        self._dirty_vars = set()
        self._itr = None


class _Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote str: an opcode of their own, no codec call."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes


def python2_pickle(content: dict) -> bytes:
    """Protocol 2 bytes with the module names of Python 2, NumPy 1 and an old SciPy."""
    package, module = types.ModuleType("chumpy"), types.ModuleType("chumpy.ch")
    _Chumpy.__module__, _Chumpy.__qualname__, _Chumpy.__name__ = "chumpy.ch", "Ch", "Ch"
    module.Ch = _Chumpy
    sys.modules.update({"chumpy": package, "chumpy.ch": module})
    try:
        buffer = io.BytesIO()
        _Python2Pickler(buffer, protocol=2).dump(content)
    finally:
        del sys.modules["chumpy"], sys.modules["chumpy.ch"]
    data = buffer.getvalue()
    for new, old in ((b"cnumpy._core", b"cnumpy.core"), (b"cscipy.sparse._csc\n", b"cscipy.sparse.csc\n")):
        data = data.replace(new, old)
    return data


def write_flame_pickle(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """`generic_model.pkl` as distributed: directions as chumpy, the regressor sparse, a few texts."""
    content = {key: _Chumpy(value) if key in ("shapedirs", "posedirs") else value for key, value in arrays.items()}
    content["J_regressor"] = scipy.sparse.csc_matrix(arrays["J_regressor"])
    content |= {"bs_style": b"lbs", "bs_type": b"lrotmin"}
    path.write_bytes(python2_pickle(content))
    return path


def chumpy_expression() -> object:
    """A chumpy object without a plain array in its state."""
    empty = _Chumpy(np.zeros(1))
    del empty.x
    return empty
