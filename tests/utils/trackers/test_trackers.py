"""Trackers' files: each format round trip, rotations, frame rates, gaps, shapes."""

import pickle

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scripts_for_dataset import import_coefs
from tests.support.tracker_files import (
    FLAME_FILES,
    import_motion,
    make_truth,
    pose_of,
    six,
    vhap_arrays,
    write_csv,
    write_emoca,
    write_matrices,
    write_pixel3dmm,
    write_smirk,
    write_smplx,
    write_spectre,
    write_talkshow,
)
from utils.errors import UserError
from utils.heads.head_file import load_head_file
from utils.media.frame_writers import LineWriter
from utils.motion_file import load_motion, load_shape
from utils.runs.run_dir import ROOT
from utils.trackers import openface
from utils.trackers.formats import NAMES
from utils.trackers.to_motion import ImportOptions, import_shape


def same_rotation(a, b, degrees=0.01):
    return np.degrees((Rotation.from_rotvec(a).inv() * b).magnitude()).max() < degrees


@pytest.mark.parametrize("write", FLAME_FILES, ids=lambda write: write.__name__.removeprefix("write_"))
def test_every_format_gives_back_the_motion(tmp_path, write):
    truth = make_truth()
    imported = import_motion(write(tmp_path, truth))
    motion = imported.motion
    assert (imported.format, motion.head_model) == FLAME_FILES[write]
    np.testing.assert_allclose(motion.exp, truth.exp[:, :50], atol=1e-6)
    assert same_rotation(motion.pose[:, :3], truth.whole_head)
    assert same_rotation(motion.pose[:, 3:], truth.jaw)
    if write.__name__ in ("write_smplx", "write_talkshow", "write_matrices", "write_artalk"):  # these store no shape
        assert motion.shape is None
    else:
        np.testing.assert_allclose(motion.shape, truth.shape[:100], atol=1e-6)


@pytest.mark.parametrize("write", [write_spectre, write_emoca, write_pixel3dmm])
def test_the_command_writes_what_training_reads(tmp_path, write, capsys):
    truth = make_truth()
    import_coefs.main([str(write(tmp_path, truth)), str(tmp_path / "out é x.npz")])
    motion = load_motion(tmp_path / "out é x.npz")
    np.testing.assert_allclose(motion.exp, truth.exp[:, :50], atol=1e-6)
    assert motion.head_model == "FLAME 2020"
    with np.load(tmp_path / "out é x.npz") as file:
        assert file["fps"] == 25 and str(file["source"])
    again = import_motion(tmp_path / "out é x.npz")
    np.testing.assert_array_equal(again.motion.pose, motion.pose)
    assert again.format == "npz" and again.motion.head_model == "FLAME 2020"


def test_the_neck_is_composed_not_added(tmp_path):
    truth = make_truth()
    motion = import_motion(write_matrices(tmp_path, truth)).motion
    added = truth.head.as_rotvec() + truth.neck.as_rotvec()
    assert np.degrees((Rotation.from_rotvec(added).inv() * truth.whole_head).magnitude()).max() > 0.3
    assert same_rotation(motion.pose[:, :3], truth.whole_head, 1e-3)


NOTATIONS = {
    "axis_angle": lambda r: r.as_rotvec(),
    "axis_angle_degrees": lambda r: r.as_rotvec(degrees=True),
    "matrix": lambda r: r.as_matrix(),
    "6d": six,
    "6d_columns": lambda r: r.as_matrix()[:, :, :2].transpose(0, 2, 1).reshape(-1, 6),
    "quaternion": lambda r: r.as_quat(),
    "quaternion_wxyz": lambda r: np.roll(r.as_quat(), 1, axis=1),
    "euler_XYZ": lambda r: r.as_euler("XYZ"),
    "euler_zyx_degrees": lambda r: r.as_euler("zyx", degrees=True),
}


@pytest.mark.parametrize("notation", NOTATIONS)
def test_notations_of_rotations(tmp_path, notation):
    truth, write = make_truth(), NOTATIONS[notation]
    arrays = {"rotation": truth.head, "neck_pose": truth.neck, "jaw_pose": truth.jaw}
    np.savez(tmp_path / "a.npz", expr_=0, expression=truth.exp, **{k: write(v) for k, v in arrays.items()})
    motion = import_motion(tmp_path / "a.npz", ImportOptions(notation=notation)).motion
    assert same_rotation(motion.pose[:, :3], truth.whole_head)
    if notation in ("axis_angle", "matrix", "6d", "quaternion"):
        assert same_rotation(import_motion(tmp_path / "a.npz").motion.pose[:, :3], truth.whole_head)


@pytest.mark.parametrize(
    ("values", "notation", "match"),
    [
        (np.zeros((9, 6)), "auto", "do not define rotations"),
        (np.ones((9, 9)), "auto", "not rotations"),
        (np.tile(np.diag([1.0, 1, -1]).ravel(), (9, 1)), "matrix", "not rotations"),
        (np.zeros((9, 4)), "auto", "length 0"),
        (np.zeros((9, 3)), "6d", "do not fit"),
        (np.tile([0, 0, 0, -1, 0, 1.0], (9, 1)), "6d", "do not define rotations"),
        (np.tile([1, 0, 0, 2, 0, 0.0], (9, 1)), "6d_columns", "do not define rotations"),
        (np.zeros((9, 3)), "euler_XXY", "order of axes"),
        (np.zeros((9, 3)), "eulerish", "do not fit"),
    ],
)
def test_numbers_that_are_no_rotations(tmp_path, values, notation, match):
    np.savez(tmp_path / "a.npz", exp=np.ones((9, 50)), rotation=values, jaw=np.zeros((9, 3)))
    with pytest.raises(UserError, match=match):
        import_motion(tmp_path / "a.npz", ImportOptions(notation=notation))


def test_axis_angles_do_not_jump(tmp_path):
    """A head that turns on past half a turn."""
    turned = Rotation.from_rotvec(np.linspace(2, 4.5, 60)[:, None] * [0, 1, 0])
    np.savez(tmp_path / "a.npz", exp=np.ones((60, 50)), rotation=turned.as_matrix(), jaw=np.zeros((60, 3)))
    imported = import_motion(tmp_path / "a.npz")
    assert np.abs(np.diff(imported.motion.pose[:, 1])).max() < 0.05
    assert imported.motion.pose[-1, 1] == pytest.approx(4.5, abs=1e-4)
    assert any("turned by" in note for note in imported.notes)


@pytest.mark.parametrize(("fps", "n_frames", "n_out"), [(50, 101, 51), (30, 61, 51), (60, 120, 50), (12.5, 10, 19)])
def test_frame_rates(tmp_path, fps, n_frames, n_out):
    """A turn at constant speed stays one; values on the grid are hit exactly."""
    angles = np.arange(n_frames) / fps
    head = Rotation.from_rotvec([0.4, 0.2, -0.1]) * Rotation.from_rotvec(angles[:, None] * [0.3, -0.5, 0.2])
    exp = np.tile(angles[:, None], (1, 50))
    np.savez(tmp_path / "a.npz", exp=exp, rotation=head.as_matrix(), jaw=np.zeros((n_frames, 3)), fps=fps)
    motion = import_motion(tmp_path / "a.npz").motion
    assert len(motion) == n_out
    expected = np.arange(n_out) / 25
    np.testing.assert_allclose(motion.exp[:, 7], expected, atol=1e-6)
    truth = Rotation.from_rotvec([0.4, 0.2, -0.1]) * Rotation.from_rotvec(expected[:, None] * [0.3, -0.5, 0.2])
    assert same_rotation(motion.pose[:, :3], truth, 1e-3)


def test_an_unknown_frame_rate_is_said(tmp_path):
    path = write_spectre(tmp_path, make_truth())
    assert any("frame rate" in note for note in import_motion(path).notes)
    faster = import_motion(path, ImportOptions(fps=50))
    assert len(faster.motion) == 20 and not any("frame rate" in note for note in faster.notes)


def test_25_frames_a_second_are_not_touched(tmp_path):
    truth = make_truth()
    motion = import_motion(write_spectre(tmp_path, truth)).motion
    np.testing.assert_array_equal(motion.exp, truth.exp[:, :50].astype(np.float32))
    np.testing.assert_allclose(motion.pose, pose_of(truth), atol=2e-6)


def test_missing_and_lost_frames_are_interpolated(tmp_path):
    truth = make_truth(60)
    folder = write_emoca(tmp_path, truth)
    for number in (11, 12, 40):
        for file in (folder / f"{number:06d}_000").iterdir():
            file.unlink()
        (folder / f"{number:06d}_000").rmdir()
    imported = import_motion(folder)
    assert len(imported.motion) == 60
    assert any("3 frames are missing" in note for note in imported.notes)
    middle = (truth.exp[9, :50] * 2 + truth.exp[12, :50]) / 3
    np.testing.assert_allclose(imported.motion.exp[10], middle, atol=1e-5)
    arrays = vhap_arrays(truth)
    arrays["expr"][5:8] = np.nan
    np.savez(tmp_path / "nan.npz", **arrays)
    imported = import_motion(tmp_path / "nan.npz")
    assert np.isfinite(imported.motion.exp).all() and any("3 lost" in note for note in imported.notes)
    arrays["expr"][:30] = np.nan
    np.savez(tmp_path / "nan.npz", **arrays)
    with pytest.raises(UserError, match="30 of 60 frames are lost"):
        import_motion(tmp_path / "nan.npz")


def test_a_long_gap_and_a_second_face_are_said(tmp_path):
    folder = write_emoca(tmp_path, make_truth(60))
    for number in range(20, 45):
        (folder / f"{number:06d}_000").rename(tmp_path / f"away{number}")
    (folder / "000003_000").rename(folder / "000003_001")
    other = folder / "000004_001"
    other.mkdir()
    for name in ("exp", "pose", "shape", "detail"):
        np.save(other / f"{name}.npy", np.full({"exp": 50, "pose": 6, "shape": 100, "detail": 128}[name], 9.0))
    imported = import_motion(folder)
    assert any("longest gap is 1.0 s" in note for note in imported.notes)
    assert any("several faces" in note for note in imported.notes)
    assert imported.motion.exp[3].max() < 2  # the second face does not count


def test_the_jaw_is_reduced_and_the_rest_reported(tmp_path):
    truth = make_truth(sideways=0.1)
    path = write_smirk(tmp_path, truth)
    imported = import_motion(path)
    np.testing.assert_allclose(imported.motion.pose[:, 3], truth.jaw.as_euler("XYZ")[:, 0], atol=1e-5)
    assert not imported.motion.pose[:, 4:].any()
    assert any("jaw reduced" in note and "degrees" in note for note in imported.notes)
    full = import_motion(path, ImportOptions(full_jaw=True))
    assert same_rotation(full.motion.pose[:, 3:], truth.jaw)


def test_what_is_left_out_is_said(tmp_path):
    np.savez(tmp_path / "v.npz", **vhap_arrays(make_truth()))
    notes = " | ".join(import_motion(tmp_path / "v.npz").notes)
    assert "50 of 100 expressions left out" in notes and "eyes_pose" in notes and "FLAME 2023" in notes
    few = make_truth()
    np.savez(tmp_path / "few.npz", exp=few.exp[:, :30], pose=pose_of(few))
    imported = import_motion(tmp_path / "few.npz")
    assert imported.motion.exp.shape == (40, 50) and any("filled up" in note for note in imported.notes)


def test_a_body_is_no_head_shape(tmp_path):
    """SMPL-X's betas are not FLAME's shape, and a body without a face is said to be one."""
    betas = np.random.default_rng(0).standard_normal(300)
    np.savez(tmp_path / "body.npz", betas=betas, poses=np.zeros((9, 165)), trans=np.zeros((9, 3)))
    for read in (import_shape, import_motion):
        with pytest.raises(UserError, match="body without facial expressions"):
            read(tmp_path / "body.npz")
    with pytest.raises(UserError, match="holds no head shape"):
        import_shape(write_smplx(tmp_path, make_truth(5)))
    truth = make_truth(5)
    separate = {"global_orient": truth.jaw, "jaw_pose": truth.jaw}
    body = np.zeros((5, 63))
    body[:, 33:36], body[:, 42:45] = truth.head.as_rotvec(), truth.neck.as_rotvec()
    np.savez(tmp_path / "fit.npz", **{k: v.as_rotvec() for k, v in separate.items()}, body_pose=body, betas=betas[:10],
             expression=truth.exp[:, :10])  # fmt: skip
    motion = import_motion(tmp_path / "fit.npz").motion
    assert same_rotation(motion.pose[:, :3], truth.whole_head) and motion.shape is None


def test_talkshow_has_30_frames_a_second(tmp_path):
    with np.load(write_talkshow(tmp_path, make_truth(60))) as file:
        np.save(tmp_path / "x.npy", file["arr_0"])
    imported = import_motion(tmp_path / "x.npy")
    assert len(imported.motion) == 50 and any("taken as 30" in note for note in imported.notes)


def test_openface_moves_the_open_head(tmp_path):
    """Intensities of 5 are full; its y points down and its z away from the camera; frames without success are lost."""
    n, random = 60, np.random.default_rng(0)
    units = {f"{unit.upper().removesuffix('_R')}_r": random.uniform(0, 5, n) for unit in (*openface.UNITS, "au26_r")}
    head = make_truth(n).head
    flip = np.diag([1.0, -1, -1])
    angles = Rotation.from_matrix(flip @ head.as_matrix() @ flip).as_euler("XYZ")
    turns = {f"pose_R{axis}": values for axis, values in zip("xyz", angles.T)}
    success = np.ones(n)
    success[7] = 0
    first = {"frame": np.arange(n) + 1, " face_id": np.zeros(n), " timestamp": np.arange(n) / 25, " success": success}
    path = write_csv(tmp_path / "o.csv", first | {f" {name}": value for name, value in (units | turns).items()})
    imported = import_motion(path)
    assert imported.format == "openface" and imported.motion.head_model == "open head"
    kept = np.arange(n) != 7
    assert same_rotation(imported.motion.pose[kept, :3], head[kept])
    np.testing.assert_allclose(imported.motion.pose[kept, 3], 0.4193 * units["AU26_r"][kept] / 5, atol=1e-5)
    names = load_head_file().exp_names
    for unit, shape in (("AU12_r", "mouthSmileLeft"), ("AU45_r", "eyeBlinkRight"), ("AU01_r", "browInnerUp")):
        np.testing.assert_allclose(imported.motion.exp[kept, names.index(shape)], units[unit][kept] / 5, atol=1e-5)


@pytest.mark.parametrize("fps", [24, 30, 60])
def test_openface_keeps_its_times(tmp_path, fps):
    """A quarter of the rows is lost; what is left stays at its time stamp, within a frame."""
    times = np.arange(6 * fps) / fps
    kept = np.random.default_rng(fps).random(len(times)) > 0.25
    kept[[0, -1]] = True
    curve = 2.5 + 2.4 * np.sin(2 * np.pi * 0.6 * times)
    columns = {"frame": np.arange(len(times)) + 1, "timestamp": times, "success": np.ones(len(times)), "AU26_r": curve}
    columns |= {f"{unit.upper().removesuffix('_R')}_r": curve for unit in openface.UNITS}
    columns |= {f"pose_R{axis}": 0 * times for axis in "xyz"}
    path = write_csv(tmp_path / "o.csv", {name: values[kept] for name, values in columns.items()})
    jaw = import_motion(path).motion.pose[:, 3]
    assert abs(len(jaw) - 150) <= 1
    there = np.interp(np.arange(len(jaw)) / 25, times, curve)
    assert np.corrcoef(jaw, there)[0, 1] >= 0.999
    np.testing.assert_allclose(jaw, 0.4193 / 5 * there, atol=0.01)


def test_deca_and_our_own_npz(tmp_path):
    truth = make_truth(20)
    path = write_spectre(tmp_path, truth)
    np.savez(tmp_path / "own.npz", exp=truth.exp[:, :50], pose=pose_of(truth), fps=25)
    for file, name in ((path, "deca"), (tmp_path / "own.npz", "npz")):
        motion = import_motion(file, ImportOptions(format=name)).motion
        np.testing.assert_allclose(motion.exp, truth.exp[:, :50], atol=1e-6)
        assert same_rotation(motion.pose[:, :3], truth.whole_head) and same_rotation(motion.pose[:, 3:], truth.jaw)


def test_every_format_is_tried():
    """Those of FLAME above; ARKit's in test_arkit_dialects.py; our own csv in test_tracker_faults.py."""
    tried = {name for name, _ in FLAME_FILES.values()} | {"livelink", "mediapipe", "arkit", "openface", "deca", "npz"}
    assert set(NAMES) == tried | {"csv"}


@pytest.mark.parametrize("name", ["a.ndjson", "a.csv"])
def test_the_lines_of_a_stream_come_back(tmp_path, name):
    there = load_motion(ROOT / "demo/input/motion/smile.npz").cut(60)
    writer = LineWriter(tmp_path / name)
    writer.write(there)
    writer.close()
    back = import_motion(tmp_path / name).motion
    np.testing.assert_allclose(back.exp, there.exp, atol=1e-5)
    np.testing.assert_allclose(back.pose, there.pose, atol=1e-5)


def test_dicts_in_an_npz_and_old_pickles(tmp_path):
    truth = make_truth(20)
    content = {"exp": truth.exp[:, :50], "pose": pose_of(truth)}
    np.savez(tmp_path / "dict.npz", params=np.array(content, dtype=object), fps=25)
    for protocol in (0, 1, 2):
        (tmp_path / f"{protocol}.pkl").write_bytes(pickle.dumps(content, protocol))
    np.savez(tmp_path / "flat.npz", **content)
    wanted = import_motion(tmp_path / "flat.npz").motion
    for protocol in (0, 1, 2):
        np.testing.assert_array_equal(import_motion(tmp_path / f"{protocol}.pkl").motion.exp, wanted.exp)
    np.testing.assert_array_equal(import_motion(tmp_path / "dict.npz").motion.exp, wanted.exp)


def test_mica_is_a_shape(tmp_path):
    shape = np.random.default_rng(0).standard_normal(300).astype(np.float32)
    np.save(tmp_path / "identity.npy", shape)
    np.testing.assert_array_equal(import_shape(tmp_path / "identity.npy"), shape[:100])
    import_coefs.main([str(tmp_path / "identity.npy"), str(tmp_path / "shape.npy")])
    np.testing.assert_array_equal(load_shape(tmp_path / "shape.npy"), shape[:100])
    np.savez(tmp_path / "mica.npz", shape=shape[None])
    np.testing.assert_array_equal(import_shape(tmp_path / "mica.npz"), shape[:100])
    with pytest.raises(UserError, match="only a head shape"):
        import_motion(tmp_path / "identity.npy")
    path = write_matrices(tmp_path, make_truth())
    import_coefs.main([str(path), str(tmp_path / "m.npz"), "--shape", str(tmp_path / "mica.npz")])
    np.testing.assert_array_equal(load_motion(tmp_path / "m.npz").shape, shape[:100])


def test_an_npz_is_never_taken_for_a_table(tmp_path):
    path = tmp_path / "lost.npz"
    np.savez(path, exp=np.full((200, 50), np.nan), pose=np.zeros((200, 6)))  # its bytes pass as UTF-16
    with pytest.raises(UserError, match="NaN"):
        import_motion(path)
