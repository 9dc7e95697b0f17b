"""Pickled dicts of arrays, object npy files and torch's files (.pt, .frame) as plain trees; no code in them runs.

Stand-ins replace NumPy's constructors (`utils.reading.safe_pickle`) and torch's (`utils.reading.torch_file`).
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from utils.errors import UserError
from utils.reading.array_file import npy_header
from utils.reading.pickle_scan import scan_pickle
from utils.reading.safe_pickle import ArrayStand, RefusedError
from utils.reading.torch_file import StorageStand, TensorStand, load_torch
from utils.reading.torch_legacy import TensorUnpickler, is_legacy, load_legacy

MAX_NODES = 500_000  # entries of a tree; a small pickle can refer to itself so often that walking it never ends


def load_tree(data: bytes, source: str) -> Any:
    """A pickle of dicts, lists, numbers, text, arrays and tensors, or of old torch.save, as objects and NumPy arrays.

    Args:
        data: the pickle.
        source: for messages.

    Raises:
        UserError: damaged, or naming any other class or function.
    """
    if is_legacy(data):
        return _checked(lambda: load_legacy(data, source), source)
    scan_pickle(data, source)
    return _checked(lambda: TensorUnpickler(data, source).load(), source)


def load_torch_zip(data: bytes, source: str) -> Any:
    """What `torch.save` wrote, with NumPy arrays for its tensors; UserError as for `load_torch`."""
    return _checked(lambda: load_torch(bytearray(data), source), source)


def _checked(load: Callable[[], object], source: str) -> Any:
    try:
        return _tree(load(), iter(range(MAX_NODES)))
    except (RecursionError, StopIteration) as error:
        raise UserError(f"{source}: nested without end, so not data; give another file") from error
    except Exception as error:  # a damaged pickle can raise nearly anything; none of it is worth a traceback
        if isinstance(error, UserError) and not isinstance(error, RefusedError):
            raise
        raise UserError(f"{source}: not accepted as data ({error}); get it again, or store plain arrays") from error


def load_object_npy(data: bytes, source: str) -> Any:
    """A dict or a list of dicts that `numpy.save` wrote: the single object, or a list of them."""
    dtype, shape, _, offset = npy_header(data, source)
    if not dtype.hasobject or math.prod(shape) > MAX_NODES:
        raise UserError(f"{source}: not an npy of objects; give a tracker's file")
    content = load_tree(data[offset:], source)
    items = content if isinstance(content, list) else [content]
    return items[0] if shape == () and items else items


def _tree(value: object, budget: Iterator[int]) -> Any:
    """Stand-ins -> arrays; anything but plain objects is refused. `budget` limits walks over self-repeating trees."""
    next(budget)
    if isinstance(value, ArrayStand | TensorStand):
        value = value.value
    if isinstance(value, StorageStand):
        value = value.values
    if isinstance(value, torch.Tensor):
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, dict):
        return {str(key): _tree(item, budget) for key, item in value.items() if isinstance(key, str | int)}
    if isinstance(value, list | tuple):
        return [_tree(item, budget) for item in value]
    if isinstance(value, int | float | str | bytes | bytearray | type(None) | np.generic):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "iufb":
        return value
    raise pickle.UnpicklingError(f"refused a value of type {type(value).__name__}")
