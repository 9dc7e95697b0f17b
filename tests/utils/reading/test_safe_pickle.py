import builtins
import os
import pickle

import numpy as np
import pytest

from tests.support.hostile import Calls
from utils.errors import UserError
from utils.trackers.pickles import load_tree

TREE = {
    "n": 3,
    "f": 0.5,
    "text": "é",
    "raw": b"\x00\xff",
    "list": [1, [2, None, True]],
    "coef": {"a": np.arange(12, dtype=np.float32).reshape(3, 4), "f": np.asfortranarray(np.arange(6.0).reshape(2, 3))},
    "ints": np.arange(4, dtype=">i4"),
    "bool": np.array([True, False]),
    "empty": np.zeros((0, 5), np.float32),
    "scalar": np.float64(2.5),
}


def assert_same(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_trees_come_back_in_every_protocol(protocol):
    assert_same(load_tree(pickle.dumps(TREE, protocol), "x"), TREE)


def test_numpy_1_spelling_is_read():
    data = pickle.dumps({"a": np.arange(3.0)}, 4)
    old = data.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray")
    assert old != data
    # The frame's length is one less, as the module's name is.
    old = old[:3] + (int.from_bytes(data[3:11], "little") - 1).to_bytes(8, "little") + old[11:]
    np.testing.assert_array_equal(load_tree(old, "x")["a"], np.arange(3.0))


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(("function", "name"), [(os.mkdir, "mkdir"), (builtins.eval, "eval"), (os.system, "system")])
def test_calls_are_refused_by_name_and_not_made(tmp_path, protocol, function, name):
    marker = tmp_path / "made"
    argument = {"mkdir": str(marker), "eval": f"__import__('os').mkdir({str(marker)!r})", "system": f"mkdir {marker}"}[
        name
    ]
    for evil in (Calls(function, argument), {"deep": [{"coef": (1, Calls(function, argument))}]}):
        with pytest.raises(UserError, match=rf"^clip a/000: .*\b{name}\b"):
            load_tree(pickle.dumps(evil, protocol), "clip a/000")
    assert not marker.exists()


def test_dotted_names_do_not_reach_through_allowed_modules():
    for module, name in (("numpy", "ndarray.tofile"), ("numpy", "load"), ("numpy.core.multiarray", "fromfile")):
        data = (
            b"\x80\x04\x8c"
            + bytes([len(module)])
            + module.encode()
            + b"\x8c"
            + bytes([len(name)])
            + name.encode()
            + b"\x93."
        )
        with pytest.raises(UserError, match=f"refused to load {module}.{name}"):
            load_tree(data, "x")


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize(
    "value",
    [
        np.array(["text"]),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
        np.zeros(2, dtype=[("a", "f4")]),
        np.array([b"xy"]).view(np.void),
        np.arange(3).view(np.matrix),
    ],
    ids=["text", "date", "record", "void", "matrix"],
)
def test_other_arrays_are_refused(value, protocol):
    with pytest.raises(UserError, match="refused"):
        load_tree(pickle.dumps({"coef": value}, protocol), "x")


def test_tuples_and_arrays_of_objects_become_lists():
    value = {"pair": (1, 2.0), "frames": np.array([{"a": 1}, None], dtype=object)}
    assert load_tree(pickle.dumps(value), "x") == {"pair": [1, 2.0], "frames": [{"a": 1}, None]}


def test_a_value_of_few_bytes_and_endless_size():
    """Sixty lists, each holding the one before twice, are 2^60 entries."""
    twice: list = []
    for _ in range(60):
        twice = [twice, twice]
    loop: list = []
    loop.append(loop)
    for value in (twice, loop):
        with pytest.raises(UserError, match="^x: nested without end"):
            load_tree(pickle.dumps({"coef": value}), "x")


@pytest.mark.parametrize("value", [{1, 2}, frozenset("a"), 1j, np.dtype("f4"), np.ndarray], ids=repr)
def test_other_values_are_refused(value):
    with pytest.raises(UserError, match="refused"):
        load_tree(pickle.dumps([value]), "x")


def test_the_constructors_cannot_be_changed():
    # state for a global: cnumpy\ndtype\n }X..K.s b
    data = b"cnumpy\ndtype\n}\x8c\x08functionK\x01sb."
    with pytest.raises(UserError, match="refused to change"):
        load_tree(data, "x")
    np.testing.assert_array_equal(load_tree(pickle.dumps(np.ones(2)), "x"), np.ones(2))


def test_shape_that_does_not_fit_the_bytes_is_refused():
    data = pickle.dumps(np.arange(300, dtype=np.uint8), 4)
    assert data.count(b"M\x2c\x01") == 1
    with pytest.raises(UserError, match="size and shape"):
        load_tree(data.replace(b"M\x2c\x01", b"M\x2d\x01"), "x")


def test_damage_is_reported_in_one_line():
    data = pickle.dumps(TREE)
    for bad in (
        b"",
        data[:40],
        data[:-9],
        b"\x80\x05K",
        b"no pickle at all",
        b"\x80\x04" + b"]" * 20000 + b"a" * 19999 + b".",
    ):
        with pytest.raises(UserError, match="^here: ") as caught:
            load_tree(bad, "here")
        assert "\n" not in str(caught.value)
