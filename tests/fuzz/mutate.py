"""Damage that knows its file: bytes, numbers in headers, zip members, pickle opcodes, npy headers, JSON, lines."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import random
import struct
import zipfile
from collections.abc import Callable

Mutator = Callable[[bytes, random.Random], bytes]

EXTREMES = (0, 1, 2, 127, 128, 255, 256, 1000, 32767, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1,
            2**64 - 1)  # fmt: skip
ODD_SHAPES = ("()", "(0,)", "(1,)", "(3, 0)", "(2147483648,)", "(100000, 100000, 100000)", "(-1,)",
              "(1099511627776,)",
              "(4294967296, 4294967296)", "(True,)", "(1.5,)", "('a',)", "[3]", "(1,)*40", "None")  # fmt: skip
ODD_TYPES = ("'<f4'", "'>f8'", "'|O'", "'|V8'", "'<U5'", "'|S0'", "'<M8[D]'", "'<c16'", "[('a', '<f4')]", "'<f2'",
             "'|b1'", "'x'", "3", "'<f4'*9", "'|V2147483647'", "'<U1000000000'")  # fmt: skip
ODD_VALUES = (None, True, -1, 0, 1e308, float("nan"), float("inf"), 10**30, "", "x" * 5000, "../../x", "\x00", [], {},
              [[]], [1, 2, 3], {"a": {"b": []}}, "é")  # fmt: skip
ODD_LINES = ("", "../../../etc/passwd", "/etc/passwd", "a/../../b", "/", "//", "a/b/c/d", "x" * 6000, "a\tb\tc\td", "#",
             "\x00", "é/ü", "a/b\u2028c/d", "-", "~", "file:///etc/passwd", "1,2,3", '"', "'", "[" * 3000,
             "NaN,inf,-0,1e999", "/dev/zero", "C:\\x", "a/ ", "﻿a/b")  # fmt: skip
HOSTILE = (
    ("os", "mkdir"), ("posix", "mkdir"), ("builtins", "eval"), ("builtins", "exec"), ("builtins", "getattr"),
    ("builtins", "bytearray"), ("builtins", "object"), ("builtins", "set"), ("builtins", "open"), ("numpy", "load"),
    ("numpy", "ndarray"), ("numpy", "dtype"), ("numpy", "zeros"), ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"), ("numpy._core.numeric", "_frombuffer"), ("_codecs", "encode"),
    ("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_parameter"),
    ("torch", "FloatStorage"), ("torch", "Tensor"), ("torch.storage", "UntypedStorage"), ("argparse", "Namespace"),
    ("pathlib", "PosixPath"), ("scipy.sparse", "csc_matrix"), ("chumpy.ch", "Ch"), ("copy_reg", "_reconstructor"),
    ("subprocess", "Popen"), ("torch", "load"), ("torch._utils", "_rebuild_sparse_tensor"), ("torch", "device"),
    ("torch.storage", "_load_from_bytes"), ("torch._utils", "_rebuild_tensor"),
)  # fmt: skip


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, removed, put in or copied from elsewhere; sometimes the end is cut off."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 30))):
        at, kind = rng.randrange(len(changed) + 1), rng.random()
        if kind < 0.5:
            changed[at : at + 1] = bytes([rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))])
        elif kind < 0.7:
            del changed[at : at + rng.choice((1, 2, 8, 64, 1000))]
        elif kind < 0.85:
            changed[at:at] = rng.randbytes(rng.choice((1, 2, 8)))
        else:
            start = rng.randrange(len(changed) + 1)
            changed[at : at + 16] = changed[start : start + 16]
    return bytes(changed[: rng.randrange(len(changed) + 1)] if rng.random() < 0.1 else changed)


def mutate_numbers(data: bytes, rng: random.Random) -> bytes:
    """Whole numbers of 2, 4 or 8 bytes replaced by extremes, mostly near the beginning: sizes, rates, counts."""
    changed = bytearray(data)
    reach = len(changed) if rng.random() < 0.4 else min(len(changed), 400)
    for _ in range(rng.choice((1, 1, 2, 4))):
        size, order = rng.choice((2, 4, 4, 8)), rng.choice(("little", "big"))
        at = rng.randrange(reach + 1)
        value = rng.choice(EXTREMES) % (1 << 8 * size)
        changed[at : at + size] = value.to_bytes(size, order)
    return bytes(changed)


def repeat_part(data: bytes, rng: random.Random) -> bytes:
    """A stretch many times over: chains of pages, boxes, rows."""
    start = rng.randrange(len(data) + 1)
    part = data[start : start + rng.choice((4, 30, 200, 2000))]
    return data[:start] + part * rng.choice((2, 10, 300)) + data[start:] if part else data


def mutate_member(data: bytes, rng: random.Random) -> bytes:
    """A zip archive with one damaged member and sound checksums, so that the damage is read."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
    except Exception:  # it was damaged before
        members = {}
    if not members:
        return mutate_bytes(data, rng)
    name = rng.choice(sorted(members))
    members[name] = _inner(name)(members[name], rng)
    if rng.random() < 0.1:
        members[rng.choice(("../escaped.npy", "/tmp/escaped.npy", "exp.npy", "x/", "data.pkl", "é.npy"))] = members[
            name
        ]
    if rng.random() < 0.1:
        del members[rng.choice(sorted(members))]
    buffer = io.BytesIO()
    with zipfile.ZipFile(
        buffer, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as archive:
        for member, value in members.items():
            archive.writestr(member, value)
    return buffer.getvalue()


def _inner(name: str) -> Mutator:
    if name.endswith(".npy"):
        return either(mutate_npy, mutate_bytes)
    return either(mutate_pickle, mutate_pickle, mutate_bytes) if name.endswith(".pkl") else mutate_bytes


def lying_zip(data: bytes, rng: random.Random) -> bytes:
    """Sizes and offsets in the central directory that are not the members'."""
    changed = bytearray(data)
    at, places = -1, []
    while (at := data.find(b"PK\1\2", at + 1)) >= 0:
        places.append(at)
    if not places:
        return mutate_numbers(data, rng)
    start, field = rng.choice(places), rng.choice((20, 24, 42))  # packed size, size, offset
    changed[start + field : start + field + 4] = struct.pack("<I", rng.choice(EXTREMES) % 2**32)
    return bytes(changed)


def mutate_npy(data: bytes, rng: random.Random) -> bytes:
    """An npy whose header says something else than what follows."""
    end = data.find(b"\n") + 1
    header = (f"{{'descr': {rng.choice(ODD_TYPES)}, 'fortran_order': {rng.choice(('True', 'False', '0'))}, "
              f"'shape': {rng.choice(ODD_SHAPES)}, }}\n").encode()  # fmt: skip
    body = data[end:] if rng.random() < 0.7 else data[end : end + rng.randrange(len(data) - end + 1)]
    if rng.random() < 0.2:
        header = mutate_bytes(header, rng)
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def mutate_pickle(data: bytes, rng: random.Random) -> bytes:
    """Opcodes left out, doubled, swapped, put in, and their arguments changed."""
    start = data.find(b"\x80") if data[:6] == b"\x93NUMPY" else 0
    parts = [data[:start], *_opcodes(data[start:])]
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, kind = rng.randrange(1, len(parts)) if len(parts) > 1 else 0, rng.random()
        if kind < 0.15:
            parts[at : at + 1] = []
        elif kind < 0.3:
            parts.insert(at, rng.choice(parts))
        elif kind < 0.55:
            parts.insert(at, rng.choice(_SNIPPETS))
        elif kind < 0.75:
            parts[at] = _argument(parts[at], rng)
        else:
            module, name = rng.choice(HOSTILE)
            call = f"c{module}\n{name}\n".encode() + rng.choice(
                (b"", b")R", b"}b", b"X\1\0\0\0x\x85R", b"J\xff\xff\xff\x7f\x85R")
            )
            parts.insert(at, call)
        if not parts:
            break
    return b"".join(parts)


_SNIPPETS = (
    b"R", b"b", b"a", b"e", b"s", b"u", b"(", b"0", b"2", b")", b"]", b"}", b"N", b"K\1", b"t", b"\x85",
    b"\x94", b"Q", b"h\0", b"j\xff\xff\xff\x7f", b"r\xff\xff\xff\x7f", b"B\xff\xff\xff\x7f",
    b"\x8e" + b"\xff" * 7 + b"\x7f", b"q\0", b"\x8a\1\x7f", b"M\xff\xff", b"J\0\0\0\x80", b"\x93", b"\x81",
    b".", b"\x96" + b"\xff" * 8, b"G" + b"\x7f\xf0" + b"\0" * 6, b"L" + b"9" * 60 + b"L\n",
    b"I" + b"9" * 5000 + b"\n",
)  # fmt: skip


def _opcodes(data: bytes) -> list[bytes]:
    """A pickle cut into its opcodes, as far as it can be read."""
    places = []
    try:
        places.extend(position for _, _, position in pickletools.genops(data))
    except Exception:  # damaged further on: the rest stays in one piece
        places.append(len(data))
    return [data[a:b] for a, b in zip(places, [*places[1:], len(data)])]


def _argument(opcode: bytes, rng: random.Random) -> bytes:
    if len(opcode) < 2:
        return opcode
    return opcode[:1] + (mutate_numbers if rng.random() < 0.6 else mutate_bytes)(opcode[1:], rng)


def pickled(value: object, rng: random.Random) -> bytes:
    """A pickle of any protocol."""
    return pickle.dumps(value, rng.randrange(pickle.HIGHEST_PROTOCOL + 1))


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """One value of a JSON text (or of one of its lines) replaced; sometimes brackets without end."""
    if rng.random() < 0.05:
        return rng.choice((b"[", b'{"a":', b"[[],")) * rng.choice((10, 3000, 200_000))
    lines = data.decode("utf-8", "replace").splitlines(keepends=False) or [""]
    at = rng.randrange(len(lines)) if data.count(b"\n{") else None
    try:
        tree = json.loads(lines[at] if at is not None else data)
    except (ValueError, RecursionError):
        return mutate_bytes(data, rng)
    tree = _replaced(tree, rng)
    text = json.dumps(tree)
    if at is None:
        return text.encode()
    lines[at] = text
    return "\n".join(lines).encode()


def _replaced(tree: object, rng: random.Random) -> object:
    if not tree or not isinstance(tree, dict | list) or rng.random() < 0.25:
        return rng.choice(ODD_VALUES)
    keys = sorted(tree) if isinstance(tree, dict) else range(len(tree))
    key = rng.choice(keys)
    if isinstance(tree, dict) and rng.random() < 0.15:
        return {k: v for k, v in tree.items() if k != key}
    changed = tree.copy()
    changed[key] = _replaced(tree[key], rng)
    return changed


def mutate_lines(data: bytes, rng: random.Random) -> bytes:
    """Lines doubled, left out, swapped, changed; cells of tables changed."""
    lines = data.split(b"\n")
    for _ in range(rng.choice((1, 1, 3))):
        at, kind = rng.randrange(len(lines)), rng.random()
        if kind < 0.2:
            lines.insert(at, rng.choice(lines))
        elif kind < 0.3 and len(lines) > 1:
            del lines[at]
        elif kind < 0.6:
            lines[at] = rng.choice(ODD_LINES).encode("utf-8", "replace")
        else:
            mark = rng.choice((b",", b"\t", b"/", b" "))
            cells = lines[at].split(mark)
            odd = (b"", b"nan", b"1e999", b"-1", b"x", b"9" * 400, b"\xff", b"\x00", b'"', b"0x1", b"1_0", "٣".encode())
            cells[rng.randrange(len(cells))] = rng.choice(odd)
            lines[at] = mark.join(cells)
    return b"\n".join(lines)


def either(*mutators: Mutator) -> Mutator:
    """One of them, by chance."""
    return lambda data, rng: rng.choice(mutators)(data, rng)
