"""`export` and export_motion.py: every format, names, rates, audio, mistakes."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile

import export_motion
from models.app.bundled import bundled_shapes
from models.exports.formats import FORMATS, ExportOptions
from models.exports.motion_export import Exporter, export, export_path, parse_formats
from models.heads.flame import Flame, load_flame
from setup.convert_flame import flame_arrays
from tests.support.flame_like_head import flame_like, in_its_terms
from tests.support.glb_reader import Glb
from utils.errors import UserError
from utils.motion_file import Motion, load_motion
from utils.runs.run_dir import ROOT

MOTION = ROOT / "demo/input/motion/normal.npz"


@pytest.fixture(scope="module")
def motion() -> Motion:
    found = load_motion(MOTION)
    return found.cut(6)


def test_every_format_is_written(tmp_path, motion):
    formats = parse_formats("all")
    audio = np.zeros(16000 * 6 // 25, np.float32)
    written = export(motion, load_flame(None), formats, tmp_path / "take.1", ExportOptions(audio=audio))
    assert {p.name for p in written} == {p.name for p in tmp_path.iterdir()}
    assert {p.name for p in written} == {
        "take.1_livelink.csv", "take.1.glb", "take.1.usda", "take.1_coef.npz", "take.1.csv", "take.1_obj",
        "take.1_ply", "take.1.wav"}  # fmt: skip
    assert len(list((tmp_path / "take.1_obj").iterdir())) == 6
    sound, rate = soundfile.read(tmp_path / "take.1.wav")
    assert (rate, len(sound)) == (16000, len(audio))


def test_flame_formats(tmp_path, motion):
    head, _ = flame_like()
    written = export(in_its_terms(motion), Flame(head), ("vhap", "smplx", "livelink"), tmp_path / "a")
    assert [p.name for p in written] == ["a_vhap.npz", "a_smplx.npz", "a_livelink.csv"]
    with np.load(written[0]) as file:
        assert file["expr"].shape == (6, 100)
        assert all(file[key].dtype == np.float32 for key in file.files)


@pytest.mark.parametrize("name", ["vhap", "smplx"])
def test_open_heads_coefficients_are_not_flames(tmp_path, motion, name):
    with pytest.raises(UserError, match="not FLAME's"):
        export(motion, load_flame(None), ("csv", name), tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_table():
    suffixes = {row.suffix for row in FORMATS.values()}
    assert suffixes == {".csv", ".glb", ".usda", ".npz", ".obj", ".ply"}
    assert len({row.ending for row in FORMATS.values()}) == len(FORMATS)


def test_rate(tmp_path, motion):
    (path,) = export(motion, load_flame(None), ("glb",), tmp_path / "a", ExportOptions(fps=50))
    glb = Glb(path)
    times = glb.array(glb.document["animations"][0]["samplers"][0]["input"]).ravel()
    np.testing.assert_allclose(times, np.arange(11) / 50, atol=1e-6)


def test_exporter_takes_speech_in_pieces(tmp_path, motion, caplog):
    pieces = [np.full(100, 0.5, np.float32), np.full(50, -0.5, np.float32)]
    with caplog.at_level("INFO"):
        written = Exporter(load_flame(None), ("glb",)).write(motion, tmp_path / "a", iter(pieces))
    assert [p.name for p in written] == ["a.glb", "a.wav"]
    sound, _ = soundfile.read(tmp_path / "a.wav")
    np.testing.assert_allclose(sound, np.concatenate(pieces), atol=1e-4)
    assert "a.glb" in caplog.text and "a.wav" in caplog.text


def test_own_npz_stays_at_25_fps(tmp_path, motion):
    (path,) = export(motion, load_flame(None), ("npz",), tmp_path / "a", ExportOptions(fps=60))
    np.testing.assert_array_equal(load_motion(path).exp, motion.exp)


def test_a_motion_of_another_head_is_told(tmp_path, motion, caplog):
    export(replace(motion, head_model="FLAME 2020"), load_flame(None), ("csv",), tmp_path / "a")
    assert "FLAME 2020" in caplog.text and "--head" in caplog.text
    caplog.clear()
    export(replace(motion, head_model="open head"), load_flame(None), ("csv",), tmp_path / "a")
    assert not caplog.text


def test_parse_formats():
    assert parse_formats("GLB, livelink,glb") == ("glb", "livelink")
    assert set(parse_formats("all")) == set(FORMATS) - {"vhap", "smplx"}
    for bad in ("", "fbx", "glb,fbx", "glb all"):
        with pytest.raises(UserError, match="--format"):
            parse_formats(bad)
    assert export_path("x/a.b", "glb").name == "a.b.glb"


def run(monkeypatch, *flags) -> int:
    monkeypatch.setattr(sys, "argv", ["export_motion.py", *map(str, flags)])
    with pytest.raises(SystemExit) as ended:
        export_motion.main()
        raise SystemExit(0)
    return ended.value.code


def test_command(tmp_path, monkeypatch, motion):
    motion.save(tmp_path / "m.npz")
    assert run(monkeypatch, tmp_path / "m.npz", "-f", "glb,csv", "-o", tmp_path / "deep" / "x.glb", "--no_head") == 0
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["x.csv", "x.glb"]
    channels = Glb(tmp_path / "deep" / "x.glb").document["animations"][0]["channels"]
    assert {c["target"]["node"] for c in channels if c["target"]["path"] == "rotation"} == {2}  # the jaw only
    assert run(monkeypatch, tmp_path / "m.npz") == 0
    assert (tmp_path / "m.glb").is_file() and (tmp_path / "m_livelink.csv").is_file()


def test_skin_look(tmp_path, monkeypatch, motion):
    motion.save(tmp_path / "m.npz")
    assert run(monkeypatch, tmp_path / "m.npz", "-f", "glb,usd", "--look", "skin") == 0
    glb = Glb(tmp_path / "m.glb")
    assert glb.document["images"][0]["mimeType"] == "image/jpeg"
    dressed = load_flame(None).n_vertices < len(glb.array(glb.primitive()["attributes"]["POSITION"]))
    assert dressed and [m.get("alphaMode") for m in glb.document["materials"]] == [None, None, None, "BLEND", "BLEND"]
    assert glb.array(glb.primitive()["attributes"]["COLOR_0"])[:, 3].min() == 0
    assert (tmp_path / "m_skin.jpg").is_file() and "@./m_skin.jpg@" in (tmp_path / "m.usda").read_text()


def test_hair_goes_with_the_shape_in_the_file(tmp_path, monkeypatch, motion):
    """A take of demo.py --save_coef keeps the look of its video, whatever the file is called; --hair overrides."""

    def parts(*flags) -> int:
        assert run(monkeypatch, tmp_path / "m.npz", "-f", "glb", *flags) == 0
        document = Glb(tmp_path / "m.glb").document
        indices = [part["indices"] for part in document["meshes"][0]["primitives"]]
        return sum(document["accessors"][k]["count"] for k in indices)

    short = replace(motion, shape=bundled_shapes()["male_young"])
    short.save(tmp_path / "m.npz")
    counts = {flags: parts(*flags) for flags in ((), ("--hair", "short"), ("--hair", "bob"))}
    replace(motion, shape=bundled_shapes()["female_young"]).save(tmp_path / "m.npz")
    assert counts[()] == counts["--hair", "short"] != counts["--hair", "bob"]
    assert parts() == counts["--hair", "bob"]


def test_command_on_flame(tmp_path, monkeypatch, motion, caplog):
    head, _ = flame_like()
    np.savez(tmp_path / "flame.npz", **flame_arrays(head, {}, {}))
    in_its_terms(motion).save(tmp_path / "m.npz")
    with caplog.at_level("INFO"):
        assert run(monkeypatch, tmp_path / "m.npz", "--head", tmp_path / "flame.npz", "-f", "livelink") == 0
    assert "mm rms over" in caplog.text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["none.npz"], "no such file"),
        ([MOTION, "-f", "fbx"], "is not a format"),
        ([MOTION, "-f", "vhap", "-o", "a"], "not FLAME's"),
        ([MOTION, "-o", "."], "is a folder"),
        ([MOTION, "--fps", "0", "-o", "a"], "--fps"),
        ([MOTION, "-t", "none.png", "-o", "a"], "no such image"),
        ([MOTION, "--hair", "mohawk"], "--hair"),
        ([MOTION, "--skin", "green"], "--skin"),
        ([MOTION, "-c", "none.npy"], "no such file"),
        ([MOTION, "-a", "none.wav", "-o", "a"], "none.wav"),
    ],
)
def test_mistakes_end_with_a_line(tmp_path, monkeypatch, capsys, flags, message):
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *flags) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and message in error and "\n" not in error
    assert not list(tmp_path.iterdir())
