"""A small writer of glTF 2.0 binary files (.glb): one buffer, accessors dense or sparse.

Specification: Khronos, glTF 2.0, sections 3.6 (accessors, sparse storage) and 4.4 (GLB container).
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

FLOAT, USHORT, UINT, UBYTE = 5126, 5123, 5125, 5121
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
_COMPONENTS = {np.dtype("<f4"): FLOAT, np.dtype("<u2"): USHORT, np.dtype("<u4"): UINT, np.dtype("u1"): UBYTE}
_TYPES = {(): "SCALAR", (2,): "VEC2", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}
_MAGIC, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942


class GltfWriter:
    """Collects accessors; `content` holds the other top-level lists (nodes, meshes, ...) of the document.

    It starts from an empty document, or from another file's, with its buffer.
    """

    def __init__(self, document: dict[str, Any] | None = None, binary: bytes = b"") -> None:
        self.content: dict[str, Any] = dict(document or {"asset": {"version": "2.0", "generator": "DiffPoseTalk"}})
        self._views: list[dict[str, int]] = list(self.content.pop("bufferViews", ()))
        self._accessors: list[dict[str, Any]] = list(self.content.pop("accessors", ()))
        self._buffers: list[dict[str, Any]] = list(self.content.pop("buffers", ({},)))
        self._binary = bytearray(binary)

    def add(self, kind: str, item: dict[str, Any]) -> int:
        """Append to a top-level list -> its index."""
        items = self.content.setdefault(kind, [])
        items.append(item)
        return len(items) - 1

    def accessor(self, values: np.ndarray, target: int | None = None, normalised: bool = False) -> int:
        """Dense accessor of values (n,), (n, 2..4) or (n, 4, 4; column-major as stored) -> its index."""
        values = np.ascontiguousarray(values)
        extra = {"normalized": True} if normalised else {}
        return self._accessor(values, extra | {"bufferView": self.view(values.tobytes(), target)})

    def offsets(self, values: np.ndarray) -> int:
        """Accessor of values (n, 3) float32 that are mostly 0: sparse where that is smaller -> its index."""
        rows = np.flatnonzero(values.any(axis=1))
        index_type = np.uint16 if len(values) <= 65536 else np.uint32
        if len(rows) * (12 + np.dtype(index_type).itemsize) >= values.nbytes:
            return self.accessor(values)
        if not len(rows):
            return self._accessor(values, {})  # no storage: all zeros
        indices = self.view(rows.astype(index_type).tobytes())
        sparse = {
            "count": len(rows),
            "indices": {"bufferView": indices, "componentType": _COMPONENTS[np.dtype(index_type)]},
            "values": {"bufferView": self.view(np.ascontiguousarray(values[rows]).tobytes())},
        }
        return self._accessor(values, {"sparse": sparse})

    def view(self, data: bytes, target: int | None = None) -> int:
        """Append bytes to the buffer, aligned to 4 -> index of the buffer view."""
        self._binary.extend(bytes(-len(self._binary) % 4))
        view = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": len(data)}
        self._binary.extend(data)
        self._views.append(view | ({"target": target} if target else {}))
        return len(self._views) - 1

    def _accessor(self, values: np.ndarray, storage: dict[str, Any]) -> int:
        accessor = {"componentType": _COMPONENTS[values.dtype], "count": len(values), "type": _TYPES[values.shape[1:]]}
        if values.dtype == np.float32 and values.ndim < 3:  # bounds are required for positions and times
            flat = values.reshape(len(values), -1)
            accessor |= {"min": flat.min(0).astype(float).tolist(), "max": flat.max(0).astype(float).tolist()}
        self._accessors.append(accessor | storage)
        return len(self._accessors) - 1

    def to_bytes(self) -> bytes:
        """The whole file."""
        binary = bytes(self._binary) + bytes(-len(self._binary) % 4)
        document = self.content | {
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [self._buffers[0] | {"byteLength": len(binary)}, *self._buffers[1:]],
        }
        text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + 8 + len(binary)
        head = struct.pack("<IIIII", _MAGIC, 2, total, len(text), _JSON)
        return head + text + struct.pack("<II", len(binary), _BIN) + binary
