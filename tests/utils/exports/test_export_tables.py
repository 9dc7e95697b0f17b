"""npz layouts, csv, OBJ and PLY sequences, read back by numpy, csv and trimesh."""

import csv

import numpy as np
import pytest
import trimesh

from utils.errors import UserError
from utils.exports import tables
from utils.exports.sequences import obj_encoder, ply_encoder, vertex_lines, write_sequence
from utils.exports.surface import make_surface
from utils.heads.head_file import load_head_file
from utils.motion_file import Motion, load_motion


@pytest.fixture
def motion() -> Motion:
    rng = np.random.default_rng(0)
    exp, pose, shape = (rng.normal(size=size).astype(np.float32) for size in ((7, 50), (7, 6), 100))
    return Motion(exp, pose, shape)


def test_own_layout_reads_back(tmp_path, motion):
    head = load_head_file(None)
    tables.write_coefficients(tmp_path / "a.npz", motion, head)
    back = load_motion(tmp_path / "a.npz")
    for key in ("exp", "pose", "shape"):
        np.testing.assert_array_equal(getattr(back, key), getattr(motion, key))
    assert back.head_model == "open head"


def test_vhap_layout(motion):
    arrays = tables.vhap_arrays(motion)
    sizes = {"shape": (300,), "expr": (7, 100), "rotation": (7, 3), "neck_pose": (7, 3), "jaw_pose": (7, 3),
             "eyes_pose": (7, 6), "translation": (7, 3)}  # fmt: skip
    assert {key: value.shape for key, value in arrays.items()} == sizes
    np.testing.assert_array_equal(arrays["expr"][:, :50], motion.exp)
    np.testing.assert_array_equal(arrays["rotation"], motion.pose[:, :3])
    np.testing.assert_array_equal(arrays["jaw_pose"], motion.pose[:, 3:])
    assert not arrays["expr"][:, 50:].any() and not arrays["shape"][100:].any()


def test_smplx_layout(motion):
    arrays = tables.smplx_arrays(motion, 25)
    assert arrays["betas"].shape == (7, 100) and arrays["expression"].shape == (7, 50)
    np.testing.assert_array_equal(arrays["global_orient"], motion.pose[:, :3])
    assert all(arrays[key].shape == (7, 3) for key in ("neck_pose", "leye_pose", "reye_pose", "transl"))


def test_csv_table(tmp_path, motion):
    tables.write_table(tmp_path / "a.csv", motion, load_head_file(None), 50)
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    assert float(rows[3]["seconds"]) == pytest.approx(3 / 50)
    assert float(rows[3]["browDownLeft"]) == pytest.approx(motion.exp[3, 0], rel=1e-5)
    assert float(rows[3]["jaw_rx"]) == pytest.approx(motion.pose[3, 3], rel=1e-5)


def test_vertex_lines_equal_formatting():
    rng = np.random.default_rng(0)
    values = np.concatenate(
        [rng.normal(size=(200, 3)), [[0, -0.0, 9.999998], [-9.5, 1e-7, -1e-6], [0.999999, 5e-7, 2]]]
    )
    lines = vertex_lines(values).decode().splitlines()
    expected = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in values]
    np.testing.assert_allclose(
        [[float(n) for n in line.split()[1:]] for line in lines],
        [[float(n) for n in line.split()[1:]] for line in expected],
        atol=1.01e-6,
    )
    with pytest.raises(ValueError, match="below 10 m"):
        vertex_lines(np.full((1, 3), 12.0))
    with pytest.raises(ValueError, match="below 10 m"):
        vertex_lines(np.full((1, 3), np.nan))


@pytest.mark.parametrize("kind", ["obj", "ply"])
def test_sequence_reads_back(tmp_path, kind):
    head = load_head_file(None)
    frames = head.v_template + np.arange(3)[:, None, None].astype(np.float32) * 0.01
    encode = obj_encoder(make_surface(head), head.n_vertices) if kind == "obj" else ply_encoder(head)
    assert write_sequence(tmp_path / f"take_{kind}", [frames[:2], frames[2:]], encode) == 3
    assert sorted(p.name for p in (tmp_path / f"take_{kind}").iterdir()) == [f"00000{i}.{kind}" for i in range(3)]
    mesh = trimesh.load(tmp_path / f"take_{kind}" / f"000002.{kind}", process=False, maintain_order=True)
    assert len(mesh.faces) == len(head.faces)
    corners = np.asarray(mesh.vertices)[mesh.faces]
    np.testing.assert_allclose(corners, frames[2][head.faces], atol=1e-6)
    if kind == "ply":
        np.testing.assert_array_equal(mesh.visual.vertex_colors[:, :3], np.round(head.vertex_colours * 255))
    else:
        assert len(mesh.visual.uv) == len(mesh.vertices)


def test_folders_of_others_are_safe(tmp_path):
    head = load_head_file(None)
    folder = tmp_path / "take_ply"
    for n in (3, 1):  # a shorter take replaces a longer one
        write_sequence(folder, [np.repeat(head.v_template[None], n, 0)], ply_encoder(head))
        assert len(list(folder.iterdir())) == n
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="notes.txt"):
        write_sequence(folder, [head.v_template[None]], ply_encoder(head))
    assert (folder / "notes.txt").exists()
    assert not list(tmp_path.glob(".take*"))


def test_nothing_is_left_after_a_failure(tmp_path):
    def broken(vertices):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        write_sequence(tmp_path / "take_obj", [np.zeros((1, 3, 3))], broken)
    assert not list(tmp_path.iterdir())
