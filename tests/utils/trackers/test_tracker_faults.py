"""Trackers' files: unknown, damaged and hostile ones."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch

import export_motion
from scripts_for_dataset import import_coefs
from tests.support.hostile import Calls
from tests.support.tracker_files import import_motion, make_truth, write_emoca, write_smirk, write_spectre
from utils.errors import UserError
from utils.motion_file import load_motion
from utils.runs.run_dir import ROOT
from utils.trackers.content import load_content
from utils.trackers.formats import TRACKERS
from utils.trackers.pickles import load_torch_zip, load_tree
from utils.trackers.to_motion import ImportOptions

TABLE = (ROOT / "docs" / "data.md").read_text()


def test_an_unknown_file_lists_what_was_found_in_a_short_line(tmp_path):
    np.savez(tmp_path / "x.npz", translation=np.zeros((5, 3)), betas=np.zeros(10))
    with pytest.raises(UserError, match=r"translation \(5, 3\), betas \(10,\)") as caught:
        import_motion(tmp_path / "x.npz")
    assert "docs/data.md" in str(caught.value) and len(str(caught.value)) < 300
    assert all(f"`{fmt.name}`" in TABLE for fmt in TRACKERS)


def test_a_wrong_format_flag_says_what_is_missing(tmp_path):
    path = write_spectre(tmp_path, make_truth())
    with pytest.raises(UserError, match="is not vhap .*rotation.*found: exp"):
        import_motion(path, ImportOptions(format="vhap"))
    with pytest.raises(UserError, match="--format nonsense: not known"):
        import_motion(path, ImportOptions(format="nonsense"))


def hostile_files():
    buffer = io.BytesIO()
    np.save(buffer, np.array([Calls(print, "code ran")], dtype=object), allow_pickle=True)
    yield "objects.npy", buffer.getvalue()
    buffer = io.BytesIO()
    np.savez(buffer, exp=np.array([Calls(print, "code ran")], dtype=object), pose=np.zeros((5, 6)))
    yield "objects.npz", buffer.getvalue()
    yield "code.pkl", pickle.dumps({"exp": Calls(print, "code ran")})
    buffer = io.BytesIO()
    torch.save({"flame": {"exp": Calls(print, "code ran")}}, buffer)
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
    yield (
        "tensor.pkl",
        pickle.dumps({"exp": Calls(torch.storage._load_from_bytes, pickle.dumps(Calls(print, "code ran")))}),
    )
    buffer = io.BytesIO()
    torch.save({"exp": Calls(print, "code ran")}, buffer, _use_new_zipfile_serialization=False)
    yield "old_code.pt", buffer.getvalue()
    buffer = io.BytesIO()
    torch.save({"exp": torch.ones(3, 50)}, buffer, _use_new_zipfile_serialization=False)
    yield "old_cut.pt", buffer.getvalue()[:-1]
    yield "old_lies.pt", buffer.getvalue().replace(struct.pack("<q", 150), struct.pack("<q", 2**40))
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
    monkeypatch.setattr("utils.reading.array_file.MAX_BYTES", 10_000_000)
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


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_tensors_of_plain_pickles_and_old_files(tmp_path, protocol):
    base = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    content = {"a": base[1:4, ::2], "t": base.T, "b": base.bfloat16(), "i": base.long(), "zero": torch.zeros(0, 3),
               "scalar": torch.tensor(3.5), "array": np.arange(4), "list": [base[0]], "text": "x"}  # fmt: skip
    buffer = io.BytesIO()
    torch.save(content, buffer, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    for data in (pickle.dumps(content, protocol), buffer.getvalue()):
        tree = load_tree(data, "x")
        for name in ("a", "t", "b", "i", "zero", "scalar"):
            np.testing.assert_array_equal(tree[name], content[name].float().numpy())
        np.testing.assert_array_equal(tree["list"][0], base[0].numpy())
        np.testing.assert_array_equal(tree["array"], np.arange(4))


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
    export_motion.main([str(source), "-f", "livelink,csv", "-o", str(tmp_path / "x")])
    there = load_motion(source)
    for path in (tmp_path / "x_livelink.csv", tmp_path / "x.csv"):
        back = import_motion(path).motion
        np.testing.assert_allclose(back.exp, there.exp, atol=1e-5)
        np.testing.assert_allclose(back.pose, there.pose, atol=1e-5)
