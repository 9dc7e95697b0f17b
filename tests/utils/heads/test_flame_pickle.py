"""Reading FLAME's pickles without chumpy, and refusing everything that is not FLAME."""

import os
import pickle
import pickletools

import numpy as np
import pytest
import scipy.sparse

from tests.support.flame_fixtures import chumpy_expression, python2_pickle, tiny_flame, write_flame_pickle
from tests.support.hostile import Calls
from utils.errors import UserError
from utils.heads.flame_pickle import load_flame_pickle, load_mask_pickle


def test_reads_python2_chumpy_pickle(tmp_path):
    arrays = tiny_flame()
    path = write_flame_pickle(tmp_path / "generic_model.pkl", arrays)
    names = {argument for opcode, argument, _ in pickletools.genops(path.read_bytes()) if opcode.name == "GLOBAL"}
    assert {"chumpy.ch Ch", "numpy.core.multiarray _reconstruct", "scipy.sparse.csc csc_matrix"} <= names
    loaded = load_flame_pickle(path)
    assert set(loaded) == set(arrays)  # the texts are left out
    for key, expected in arrays.items():
        np.testing.assert_array_equal(loaded[key], expected)
        assert type(loaded[key]) is np.ndarray


def test_reads_todays_pickle_too(tmp_path):
    arrays = tiny_flame()
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(arrays | {"J_regressor": scipy.sparse.csc_matrix(arrays["J_regressor"])}, protocol=2))
    np.testing.assert_array_equal(load_flame_pickle(path)["J_regressor"], arrays["J_regressor"])


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_malicious_pickle_is_refused_and_does_not_run(tmp_path, protocol):
    proof = tmp_path / "executed"
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(pickle.dumps({"v_template": Calls(os.mkdir, str(proof))}, protocol=protocol))
    with pytest.raises(UserError, match=r"generic_model\.pkl.*(posix|nt)\.mkdir"):
        load_flame_pickle(path)
    with pytest.raises(UserError, match="mkdir"):
        load_mask_pickle(path)
    assert not proof.exists()
    pickle.loads(path.read_bytes())  # the same file does run in an ordinary unpickler
    assert proof.exists()


@pytest.mark.parametrize(
    "module, name",
    [
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("__builtin__", "file"),
        ("numpy", "load"),
        ("numpy", "ndarray.tofile"),
        ("chumpy.ch", "Ch.__init__"),
        ("chumpy", "Ch"),
        ("scipy.sparse", "load_npz"),
        ("copyreg", "__newobj__"),
        ("codecs", "encode"),
    ],
)
def test_only_exact_names_are_allowed(tmp_path, module, name):
    path = tmp_path / "m.pkl"
    path.write_bytes(f"c{module}\n{name}\n.".encode())
    with pytest.raises(UserError, match="refused to load " + f"{module}.{name}".replace(".", r"\.")):
        load_flame_pickle(path)


def beyond_its_end() -> scipy.sparse.csc_matrix:
    """A matrix that would write far outside the dense array."""
    matrix = scipy.sparse.csc_matrix(np.eye(4))
    matrix.indices[0] = 10**6
    return matrix


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.", "codec"),
        (b"ccopy_reg\n_reconstructor\n(c__builtin__\nset\nc__builtin__\nobject\nNtR.", "_reconstructor"),
        (python2_pickle({"J_regressor": beyond_its_end()}), "J_regressor is a malformed sparse matrix"),
        (python2_pickle({"shapedirs": chumpy_expression()}), "shapedirs is an unevaluated chumpy expression"),
        *((damaged, r"m\.pkl") for damaged in (b"", b"hello", b"\x80\x02]q\x00.", b"\x80\x02}q\x00")),
    ],
)
def test_what_is_no_model_is_refused(tmp_path, content, message):
    path = tmp_path / "m.pkl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_flame_pickle(path)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_flame_pickle(tmp_path / "absent.pkl")


def test_masks(tmp_path):
    path = tmp_path / "FLAME_masks.pkl"
    path.write_bytes(python2_pickle({b"lips": np.array([3, 1]), b"nose": np.array([], dtype=np.int64)}))
    masks = load_mask_pickle(path)
    assert {name: ids.tolist() for name, ids in masks.items()} == {"lips": [3, 1], "nose": []}
    path.write_bytes(python2_pickle({b"lips": np.array([0.5])}))
    with pytest.raises(UserError, match="'lips' is not a list of vertex numbers"):
        load_mask_pickle(path)
