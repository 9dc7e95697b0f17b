"""Reading head models of all three kinds, the converter, and what is refused."""

import subprocess
import sys

import numpy as np
import pytest

from tests.support.flame_fixtures import python2_pickle, tiny_flame, write_flame_pickle
from tests.support.golden_weights import HERE
from utils.errors import UserError
from utils.heads import head_asset
from utils.heads.head_file import OPEN_HEAD_FILE, load_head_file, with_uv
from utils.heads.joints import PARENTS

ROOT = HERE.parent.parent


def _save(path, arrays):
    np.savez(path, **arrays)
    return path


def test_flame_pickle_and_npz_agree(tmp_path):
    arrays = tiny_flame()
    from_pickle = load_head_file(write_flame_pickle(tmp_path / "generic_model.pkl", arrays))
    from_npz = load_head_file(_save(tmp_path / "flame.npz", arrays))
    for key in ("v_template", "shapedirs", "expdirs", "posedirs", "j_regressor", "weights", "faces", "parents"):
        np.testing.assert_array_equal(getattr(from_pickle, key), getattr(from_npz, key))
    assert from_pickle.n_vertices == 12
    np.testing.assert_array_equal(from_pickle.shapedirs, arrays["shapedirs"][:, :, :100].astype(np.float32))
    np.testing.assert_array_equal(from_pickle.expdirs, arrays["shapedirs"][:, :, 300:350].astype(np.float32))
    assert tuple(from_pickle.parents) == PARENTS
    assert from_pickle.faces.dtype == np.int64 and from_pickle.weights.dtype == np.float32
    assert (from_pickle.masks, from_pickle.landmarks, from_pickle.lmk68) == ({}, {}, None)


def test_masks_beside_the_pickle(tmp_path):
    path = write_flame_pickle(tmp_path / "generic_model.pkl", tiny_flame())
    (tmp_path / "FLAME_masks.pkl").write_bytes(python2_pickle({b"lips": np.array([3, 1])}))
    head = load_head_file(path)
    assert np.flatnonzero(head.mask("lips")).tolist() == [1, 3]
    with pytest.raises(UserError, match=r"generic_model: no vertex mask 'nose' \(has: lips\)"):
        head.mask("nose")


def test_masks_of_another_version_are_refused(tmp_path):
    path = write_flame_pickle(tmp_path / "generic_model.pkl", tiny_flame())
    (tmp_path / "FLAME_masks.pkl").write_bytes(python2_pickle({b"lips": np.array([12])}))
    with pytest.raises(UserError, match="mask 'lips' names vertices outside 0..11"):
        load_head_file(path)


def test_optional_arrays_of_an_npz(tmp_path):
    extra = {"masks_lips": np.array([2]), "landmarks_chin": np.array(7), "lmk68": np.arange(68) % 12}
    head = load_head_file(_save(tmp_path / "flame.npz", tiny_flame() | extra))
    assert np.flatnonzero(head.mask("lips")).tolist() == [2]
    assert head.landmark("chin") == 7
    assert head.lmk68.shape == (68,)
    with pytest.raises(UserError, match="no landmark 'upper_inner_lip'"):
        head.landmark("upper_inner_lip")


def _without(key):
    return lambda arrays: arrays.pop(key)


def _with(key, change):
    return lambda arrays: arrays.update({key: change(arrays[key])})


@pytest.mark.parametrize(
    "spoil, message",
    [
        (_without("posedirs"), "lacks posedirs"),
        (_with("posedirs", lambda a: a[:, :, :20]), "posedirs has shape"),
        (_with("shapedirs", lambda a: a[:, :, :320]), "expdirs has shape"),
        (_with("shapedirs", lambda a: a[:, 0]), "malformed"),
        (_with("v_template", lambda a: a * np.nan), "v_template has values that are not finite"),
        (_with("f", lambda a: a + 12), "faces name vertices outside"),
        (_with("weights", lambda a: a * 2), "do not sum to 1"),
        (_with("kintree_table", lambda a: a[:, ::-1]), "joint parents"),
        (_with("J_regressor", lambda a: a[:4]), "j_regressor has shape"),
    ],
)
def test_malformed_models_are_named(tmp_path, spoil, message):
    arrays = tiny_flame()
    spoil(arrays)
    with pytest.raises(UserError, match=rf"flame\.npz: .*{message}"):
        load_head_file(_save(tmp_path / "flame.npz", arrays))


def test_missing_and_unreadable_files(tmp_path):
    with pytest.raises(UserError, match="no such head model"):
        load_head_file(tmp_path / "absent.npz")
    broken = tmp_path / "broken.npz"
    broken.write_bytes(OPEN_HEAD_FILE.read_bytes()[:5000])
    with pytest.raises(UserError, match="not a readable npz"):
        load_head_file(broken)
    objects = tmp_path / "objects.npz"
    np.savez(objects, v_template=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match="holds Python objects"):
        load_head_file(objects)


def test_other_format_version(tmp_path):
    with np.load(OPEN_HEAD_FILE) as file:
        packed = dict(file)
    with pytest.raises(UserError, match="format open-head-9"):
        load_head_file(_save(tmp_path / "new.npz", packed | {"format": np.array("open-head-9")}))
    del packed["weights"]
    with pytest.raises(UserError, match="no array 'weights'"):
        load_head_file(_save(tmp_path / "part.npz", packed))


def test_packing_round_trip():
    with np.load(OPEN_HEAD_FILE) as file:
        packed = dict(file)
    again = head_asset.pack(head_asset.unpack(packed, "open head"))
    assert set(again) == set(packed)
    for key, value in packed.items():
        if key == "weights":  # renormalised on loading
            assert np.abs(again[key].astype(int) - value.astype(int)).max() <= 2
        else:
            np.testing.assert_array_equal(again[key], value, err_msg=key)


def test_packing_refuses_what_it_cannot_hold():
    with np.load(OPEN_HEAD_FILE) as file:
        head = head_asset.unpack(dict(file), "open head")
    with pytest.raises(ValueError, match="does not fit int16"):
        head_asset.pack(head | {"expdirs": head["expdirs"] + 1})
    other = head["posedirs"].copy()
    other[0, 0, 0] = 1e-3
    with pytest.raises(ValueError, match="pose correctives other than the jaw's"):
        head_asset.pack(head | {"posedirs": other})


def _convert(*arguments):
    command = [sys.executable, "-m", "setup.convert_flame", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_converter(tmp_path):
    model = write_flame_pickle(tmp_path / "generic_model.pkl", tiny_flame())
    masks = tmp_path / "m.pkl"
    masks.write_bytes(python2_pickle({b"lips": np.array([3, 1])}))
    output = tmp_path / "flame.npz"
    done = _convert(model, "--masks", masks, "--landmark", "upper_inner_lip=4", "-o", output)
    assert done.returncode == 0, done.stderr
    one, two = load_head_file(model), load_head_file(output)
    for key in ("v_template", "shapedirs", "expdirs", "posedirs", "j_regressor", "weights", "faces", "parents"):
        np.testing.assert_array_equal(getattr(one, key), getattr(two, key))
    assert np.flatnonzero(two.mask("lips")).tolist() == [1, 3]
    assert two.landmarks == {"upper_inner_lip": 4}


def write_uv(folder, faces, kind):
    """Texture coordinates as FLAME's downloads have them; every face has corners of its own."""
    uv = np.random.default_rng(3).random((faces.size, 2)).astype(np.float32)
    corners = np.arange(faces.size).reshape(faces.shape)
    if kind == "npz":
        path = folder / "FLAME_texture.npz"
        np.savez(path, vt=uv, ft=corners.astype(np.uint32), mean=np.zeros((4, 4, 3)))
        return path, uv, corners
    lines = [f"v 0 0 {i}" for i in range(faces.max() + 1)] + [f"vt {u:.8f} {v:.8f}" for u, v in uv]
    lines += ["f " + " ".join(f"{v + 1}/{t + 1}" for v, t in zip(*pair)) for pair in zip(faces, corners)]
    path = folder / "head_template.obj"
    path.write_text("\n".join(lines))
    return path, uv, corners


@pytest.mark.parametrize("kind", ["npz", "obj"])
def test_texture_coordinates_of_flame(tmp_path, kind):
    """Beside the pickle they are found; the converter takes them along."""
    model = write_flame_pickle(tmp_path / "generic_model.pkl", tiny_flame())
    assert load_head_file(model).uv is None
    (tmp_path / "texture").mkdir()
    path, uv, corners = write_uv(tmp_path / "texture", load_head_file(model).faces, kind)
    done = _convert(model, "--uv", path, "-o", tmp_path / "flame.npz")
    assert done.returncode == 0 and f"{len(uv)} texture coordinates" in done.stderr
    path.rename(tmp_path / path.name)
    for head in (load_head_file(model), load_head_file(tmp_path / "flame.npz")):
        np.testing.assert_allclose(head.uv, uv, atol=1e-7)
        np.testing.assert_array_equal(head.ft, corners)


def test_texture_coordinates_of_another_mesh(tmp_path):
    model = write_flame_pickle(tmp_path / "generic_model.pkl", tiny_flame())
    faces = load_head_file(model).faces
    others = [write_uv(tmp_path, faces[:-1], "npz")[0], write_uv(tmp_path, faces[::-1].copy(), "obj")[0]]
    others += [tmp_path / "empty.npz", tmp_path / "text.obj", tmp_path / "none.npz"]
    others[2].write_bytes(b"PK")
    others[3].write_text("vt 0 0\nf 1/1 2")
    for path in others:
        with pytest.raises(UserError, match=path.name):
            with_uv(load_head_file(model_only(model)), path)


def model_only(model):
    """The pickle without its neighbours."""
    alone = model.parent / "alone" / model.name
    alone.parent.mkdir(exist_ok=True)
    alone.write_bytes(model.read_bytes())
    return alone


def test_converter_refuses_wrong_masks_without_leaving_a_file(tmp_path):
    model = write_flame_pickle(tmp_path / "generic_model.pkl", tiny_flame())
    masks = tmp_path / "m.pkl"
    masks.write_bytes(python2_pickle({b"lips": np.array([99])}))
    done = _convert(model, "--masks", masks, "-o", tmp_path / "flame.npz")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and "m.pkl: mask 'lips'" in done.stderr
    assert not (tmp_path / "flame.npz").exists()
