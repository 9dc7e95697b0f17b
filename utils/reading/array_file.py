"""npy and npz files of numbers from untrusted sources: objects are refused, sizes checked before memory is taken."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from pathlib import Path

import numpy as np

from utils.errors import UserError

MAX_BYTES = 1 << 30  # of one file, and of what it unpacks to: 10 h of 25 fps with 256 numbers per frame
MAX_MEMBERS = 2000
_KINDS = "biufSU"  # numbers, and text such as a time step's name
_BAD_FILE = (ValueError, OSError, EOFError, LookupError, TypeError, SyntaxError, RuntimeError, ArithmeticError,
             MemoryError, AttributeError, zipfile.BadZipFile, zlib.error)  # fmt: skip


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """A whole file.

    Raises:
        UserError: missing, a folder, unreadable, or larger than `limit`.
    """
    try:
        if not path.exists():
            raise UserError(f"{path}: no such file; check the path")
        if not path.is_file():
            raise UserError(f"{path}: is not a file; name one file")
        size = path.stat().st_size
        if size > limit:
            raise UserError(f"{path}: {size / 1e6:.0f} MB are more than the {limit / 1e6:.0f} MB allowed; cut the file")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error


def parse_npy(data: bytes, source: str) -> np.ndarray:
    """One array from the bytes of an npy.

    Raises:
        UserError: damaged, of Python objects, or with fewer bytes than its header says.
    """
    dtype, shape, order, offset = npy_header(data, source)
    if dtype.hasobject:
        raise UserError(f"{source}: holds Python objects, which could run code; store arrays of numbers")
    if dtype.kind not in _KINDS or dtype.itemsize == 0:
        raise UserError(f"{source}: holds {dtype}, not numbers; store float32")
    count = math.prod(shape)
    if count * dtype.itemsize != len(data) - offset:
        raise UserError(
            f"{source}: not a readable npy: says {shape} of {dtype}, has {len(data) - offset} bytes; copy it again"
        )
    try:
        flat = np.frombuffer(data, dtype, count, offset) if count else np.empty(0, dtype)
        return flat.reshape(shape, order="F" if order == "F" else "C")
    except _BAD_FILE as error:
        raise UserError(f"{source}: not a readable array ({error}); write it with numpy.save") from error


def npy_header(data: bytes, source: str) -> tuple[np.dtype, tuple[int, ...], str, int]:
    """(dtype, shape, "C" or "F", offset of the data) of the bytes of an npy; nothing else is read."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran, dtype = readers[version](file)
    except Exception as error:  # NumPy's header parser passes on errors of Python's tokenizer and compiler
        raise UserError(f"{source}: not a readable npy of numbers; write it with numpy.save") from error
    if any(type(n) is not int or n < 0 for n in shape):
        raise UserError(f"{source}: not a readable npy of numbers (shape {shape}); write it with numpy.save")
    return dtype, shape, "F" if fortran else "C", file.tell()


def is_numeric(array: np.ndarray) -> bool:
    """Whether an array holds numbers rather than text."""
    return array.dtype.kind in "biuf"


def is_finite(array: np.ndarray) -> bool:
    """Whether all numbers are finite, also as float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(array.astype(np.float32)).all())


def read_npy(path: Path) -> np.ndarray:
    """The array of an npy file; UserError as for `parse_npy`, or for an npz."""
    data = read_bytes(path)
    if data[:2] == b"PK":
        raise UserError(f"{path}: is an npz archive, but an npy with one array is needed here")
    return parse_npy(data, str(path))


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file.

    Raises:
        UserError: damaged, too large when unpacked, or with an entry of Python objects.
    """
    return parse_npz(read_bytes(path), str(path))


def parse_npz(data: bytes, source: str) -> dict[str, np.ndarray]:
    """All arrays in the bytes of an npz; see `read_npz`."""
    members = zip_members(data, source)
    return {name.removesuffix(".npy"): parse_npy(value, f"{source}: {name}") for name, value in members.items()}


def zip_members(data: bytes, source: str) -> dict[str, bytes]:
    """The members of a zip archive in memory; their declared sizes are added up before anything is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            total = sum(info.file_size for info in infos)
            if total > MAX_BYTES or len(infos) > MAX_MEMBERS:
                raise UserError(f"{source}: unpacks to {len(infos)} entries of {total / 1e6:.0f} MB, more than "
                                f"{MAX_MEMBERS} or {MAX_BYTES / 1e6:.0f} MB; cut the file")  # fmt: skip
            return {info.filename: archive.read(info) for info in infos if not info.is_dir()}
    except UserError:
        raise
    except _BAD_FILE as error:
        raise UserError(f"{source}: not a readable npz of numbers; write it with numpy.savez") from error
