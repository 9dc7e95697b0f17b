"""Trackers' files: each format round trip, rotations, frame rates, gaps; unknown, damaged and hostile files."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import export_motion
from scripts_for_dataset import import_coefs
from scripts_for_dataset.synthetic import arkit as synthetic_arkit
from tests.tracker_files import (
    FLAME_FILES,
    make_truth,
    pose_of,
    six,
    timecodes,
    vhap_arrays,
    write_csv,
    write_emoca,
    write_matrices,
    write_pixel3dmm,
    write_smirk,
    write_spectre,
)
from utils.errors import UserError
from utils.head_file import load_head_file
from utils.motion_file import load_motion, load_shape
from utils.run_dir import ROOT
from utils.trackers import arkit
from utils.trackers.content import load_content
from utils.trackers.formats import FORMATS
from utils.trackers.pickles import load_torch_zip, load_tree
from utils.trackers.to_motion import ImportOptions, import_motion, import_shape


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
    if write.__name__ not in ("write_matrices", "write_artalk"):  # these store no shape
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
        (np.zeros((9, 6)), "auto", "no rotation can be made"),
        (np.ones((9, 9)), "auto", "no rotations"),
        (np.tile(np.diag([1.0, 1, -1]).ravel(), (9, 1)), "matrix", "no rotations"),
        (np.zeros((9, 4)), "auto", "length 0"),
        (np.zeros((9, 3)), "6d", "do not fit"),
        (np.tile([0, 0, 0, -1, 0, 1.0], (9, 1)), "6d", "no rotation can be made"),
        (np.tile([1, 0, 0, 2, 0, 0.0], (9, 1)), "6d_columns", "no rotation can be made"),
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


# ARKit


def arkit_columns(n_frames, names=None):
    random = np.random.default_rng(3)
    head = load_head_file().exp_names
    columns = {name[0].upper() + name[1:]: random.uniform(0, 1, n_frames).round(4) for name in names or head}
    return columns | {"JawOpen": random.uniform(0, 1, n_frames).round(4), "TongueOut": np.zeros(n_frames)}


def test_jaw_constant_is_the_corpus_one():
    assert arkit.JAW_OPEN_RADIANS == synthetic_arkit.JAW_OPEN_RADIANS
    assert arkit.unit_names() == tuple(name.lower() for name in synthetic_arkit.EXP_NAMES)


def test_live_link_face(tmp_path):
    """60 fps with timecodes over a full hour; every 12th row is on the grid of 25 fps."""
    n = 121
    columns = arkit_columns(n)
    angles = np.random.default_rng(1).uniform(-0.3, 0.3, (n, 3)).round(4)
    heads = dict(zip(("HeadYaw", "HeadPitch", "HeadRoll"), angles.T))
    first = {"Timecode": timecodes(np.arange(n) / 60), "BlendShapeCount": [61] * n}
    imported = import_motion(write_csv(tmp_path / "take.csv", first | columns | heads))
    assert imported.format == "livelink" and imported.motion.head_model == "open head"
    assert len(imported.motion) == 51
    names = load_head_file().exp_names
    for frame in (0, 5, 40):
        row = frame * 60 // 25
        expected = [columns[name[0].upper() + name[1:]][row] for name in names]
        np.testing.assert_allclose(imported.motion.exp[frame], expected, atol=1e-5)
        assert imported.motion.pose[frame, 3] == pytest.approx(0.4193 * columns["JawOpen"][row], abs=1e-5)
    assert same_rotation(imported.motion.pose[[0], :3], Rotation.from_euler("YXZ", angles[[0]]))
    flipped = import_motion(tmp_path / "take.csv", ImportOptions(flip=(0,))).motion
    assert same_rotation(flipped.pose[[0], :3], Rotation.from_euler("YXZ", angles[[0]] * [-1, 1, 1]))


def test_mediapipe(tmp_path):
    """Camel case, milliseconds, a matrix, a missing unit, empty cells where no face was found, a repeated row."""
    n = 60
    columns = {name[0].lower() + name[1:]: list(values) for name, values in arkit_columns(n).items()}
    del columns["cheekPuff"], columns["tongueOut"]
    columns["jawOpen"][7] = ""
    head = Rotation.from_rotvec(np.random.default_rng(0).uniform(-0.3, 0.3, (n, 3)))
    matrix = {f"m{r}{c}": head.as_matrix()[:, r, c] for r in range(3) for c in range(3)}
    times = np.arange(n) * 40.0
    times[21] = times[20]
    path = write_csv(tmp_path / "mp.csv", {"timestamp_ms": times, "_neutral": np.zeros(n)} | columns | matrix)
    imported = import_motion(path)
    assert imported.format == "mediapipe" and len(imported.motion) == n
    notes = " | ".join(imported.notes)
    assert "cheekpuff" in notes and "repeat a time" in notes and "1 lost frames" in notes
    assert same_rotation(imported.motion.pose[50:, :3], head[50:])
    assert not imported.motion.exp[:, list(arkit.unit_names()).index("cheekpuff")].any()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a,b\n1,2\n", "Found: a"),
        ("a,a\n1,2\n", "heading"),
        ("a,b\n1\n", "row 2 has 1 cells"),
        ("a,b\n1,x\n", "column b"),
        ("Timecode,b\nnoon,1\n", "timecode 'noon'"),
        ("Timecode,b\n0:0:0:99,1\n", "frames a second"),
    ],
)
def test_bad_tables(tmp_path, text, match):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=match):
        import_motion(tmp_path / "t.csv")


# Shapes


def test_mica_is_a_shape(tmp_path):
    shape = np.random.default_rng(0).standard_normal(300).astype(np.float32)
    np.save(tmp_path / "identity.npy", shape)
    np.testing.assert_array_equal(import_shape(tmp_path / "identity.npy"), shape[:100])
    import_coefs.main([str(tmp_path / "identity.npy"), str(tmp_path / "shape.npy")])
    np.testing.assert_array_equal(load_shape(tmp_path / "shape.npy"), shape[:100])
    np.savez(tmp_path / "mica.npz", shape=shape[None])
    np.testing.assert_array_equal(import_shape(tmp_path / "mica.npz"), shape[:100])
    with pytest.raises(UserError, match="head shape only"):
        import_motion(tmp_path / "identity.npy")
    path = write_matrices(tmp_path, make_truth())
    import_coefs.main([str(path), str(tmp_path / "m.npz"), "--shape", str(tmp_path / "mica.npz")])
    np.testing.assert_array_equal(load_motion(tmp_path / "m.npz").shape, shape[:100])


# Nothing trusted


def test_an_unknown_file_lists_what_was_found_and_needed(tmp_path):
    np.savez(tmp_path / "x.npz", translation=np.zeros((5, 3)), betas=np.zeros(10))
    with pytest.raises(UserError, match=r"translation \(5, 3\), betas \(10,\)") as caught:
        import_motion(tmp_path / "x.npz")
    assert all(fmt.name in str(caught.value) for fmt in FORMATS)


def test_a_wrong_format_flag_says_what_is_missing(tmp_path):
    path = write_spectre(tmp_path, make_truth())
    with pytest.raises(UserError, match="is not vhap .*rotation.*found: exp"):
        import_motion(path, ImportOptions(format="vhap"))
    with pytest.raises(UserError, match="--format nonsense: not known"):
        import_motion(path, ImportOptions(format="nonsense"))


class Bomb:
    def __reduce__(self):
        return print, ("code ran",)


def hostile_files():
    buffer = io.BytesIO()
    np.save(buffer, np.array([Bomb()], dtype=object), allow_pickle=True)
    yield "objects.npy", buffer.getvalue()
    buffer = io.BytesIO()
    np.savez(buffer, exp=np.array([Bomb()], dtype=object), pose=np.zeros((5, 6)))
    yield "objects.npz", buffer.getvalue()
    yield "code.pkl", pickle.dumps({"exp": Bomb()})
    buffer = io.BytesIO()
    torch.save({"flame": {"exp": Bomb()}}, buffer)
    yield "code.frame", buffer.getvalue()
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118)
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 50), }"
    yield "huge.npy", header + text.ljust(117) + b"\n" + bytes(64)
    yield "memo.pkl", b"\x80\x04r\xff\xff\xff\x7f."
    yield "long.pkl", b"\x80\x05\x96\x00\x00\x00\x00\x00\x01\x00\x00."
    yield "legacy.pt", pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    nested = []
    for _ in range(60):
        nested = [nested, nested]
    yield "echo.pkl", pickle.dumps({"exp": nested})
    yield "empty.npz", b""
    yield "text.npz", b"hello " * 50


HOSTILE = dict(hostile_files())


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(tmp_path, name, capsys):
    (tmp_path / name).write_bytes(HOSTILE[name])
    with pytest.raises(UserError, match=name):
        import_motion(tmp_path / name)
    assert "code ran" not in capsys.readouterr().out


def test_zip_bombs_are_refused_before_they_unpack(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("exp.npy", bytes(50_000_000))
    monkeypatch.setattr("utils.array_file.MAX_BYTES", 10_000_000)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(UserError, match="unpacks to 1 entries of 50 MB"):
        load_content(tmp_path / "bomb.npz")


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("write", [write_spectre, write_smirk])
def test_truncated_files(tmp_path, write, cut):
    path = write(tmp_path, make_truth())
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(UserError, match=path.name):
        import_motion(path)


def test_tensors_are_read_as_torch_does(tmp_path):
    random = torch.Generator().manual_seed(0)
    base = torch.randn(6, 8, generator=random)
    content = {"a": base[1:4, ::2], "t": base.T, "p": torch.nn.Parameter(base), "h": base.half(), "i": base.long()}
    content |= {"zero": torch.zeros(0, 3), "scalar": torch.tensor(3.5), "n": {"array": np.arange(4)}, "list": [1, 2]}
    torch.save(content, tmp_path / "x.pt")
    tree = load_torch_zip((tmp_path / "x.pt").read_bytes(), "x.pt")
    for name in ("a", "t", "p", "h", "i", "zero", "scalar"):
        np.testing.assert_array_equal(tree[name], content[name].detach().numpy())
    np.testing.assert_array_equal(tree["n"]["array"], np.arange(4))
    assert tree["list"] == [1, 2]


def test_a_tensor_cannot_reach_beyond_its_storage(tmp_path):
    torch.save({"a": torch.arange(6.0).reshape(2, 3)}, tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    key = next(name for name in members if name.endswith("data.pkl"))
    for old, new in ((b"K\x02K\x03", b"K\x02K\x09"), (b"K\x03K\x01", b"K\x09K\x01")):
        assert old in members[key]
        with zipfile.ZipFile(tmp_path / "y.pt", "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data.replace(old, new) if name == key else data)
        with pytest.raises(UserError, match="damaged tensor"):
            load_torch_zip((tmp_path / "y.pt").read_bytes(), "y.pt")


def test_plain_pickles_of_arrays_are_read():
    tree = load_tree(pickle.dumps({"exp": np.ones((3, 2)), "n": np.float32(4), "names": ["a"]}), "p")
    assert tree["exp"].shape == (3, 2) and tree["n"] == 4


def test_folders_without_frames(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UserError, match=r"no tracked frames.*\.txt"):
        import_motion(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        import_motion(tmp_path / "missing.npz")


def test_a_frame_of_another_kind_is_named(tmp_path):
    folder = write_emoca(tmp_path, make_truth(5))
    np.save(folder / "000003_000" / "exp.npy", np.zeros(49, np.float32))
    with pytest.raises(UserError, match="000003_000: has no 'exp' of 50"):
        import_motion(folder)


def test_errors_of_the_command(tmp_path, capsys):
    path = str(write_spectre(tmp_path, make_truth()))
    out = str(tmp_path / "o.npz")
    for argv, match in (
        ([path, str(tmp_path / "o.txt")], "must end in .npz"),
        ([path, out, "--fps", "0"], "--fps"),
        ([path, out, "--flip", "7"], "--flip"),
        ([path, out, "--format", "what"], "not known"),
        ([str(tmp_path), out], "no such"),
    ):
        with pytest.raises(SystemExit) as end:
            import_coefs.main(argv)
        error = capsys.readouterr().err
        assert end.value.code == 2 and error.count("\n") == 1
        assert match in error or "no tracked frames" in error
    assert not (tmp_path / "o.npz").exists()


def test_the_projects_own_csv_comes_back(tmp_path):
    """export_motion writes it for Live Link Face's readers: units, jaw and all three head angles return."""
    source = ROOT / "demo" / "input" / "motion" / "big_mouth.npz"
    export_motion.main([str(source), "-f", "livelink", "-o", str(tmp_path / "x")])
    there, back = load_motion(source), import_motion(next(tmp_path.glob("*.csv"))).motion
    np.testing.assert_allclose(back.exp, there.exp, atol=1e-5)
    np.testing.assert_allclose(back.pose, there.pose, atol=1e-5)
