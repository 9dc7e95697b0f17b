"""benchmarks/exports/formats.py: timing on a short motion; its frames are the bundled motion's."""

import json

import numpy as np
import pytest

from benchmarks.exports import formats as exports
from benchmarks.exports import readers
from models.heads.flame import load_flame
from utils.exports.sequences import obj_encoder
from utils.exports.surface import make_surface
from utils.motion_file import load_motion


def test_times_and_sizes_are_reported(tmp_path, capsys):
    exports.main(["--seconds", "10", "--formats", "livelink,glb,csv", "-o", str(tmp_path / "e.json")])
    rows = json.loads((tmp_path / "e.json").read_text())["rows"]
    assert [(r["format"], r["look"]) for r in rows] == [
        ("livelink", "clay"), ("glb", "clay"), ("glb", "skin"), ("glb", "dressed"), ("csv", "clay")]  # fmt: skip
    assert all(r["seconds"] > 0 and r["files"] == 1 for r in rows)
    assert rows[1]["MB"] < rows[2]["MB"] < 3  # "a few MB for 10 s", with the texture in it
    assert rows[2]["MB"] < rows[3]["MB"] < 6
    assert "livelink" in capsys.readouterr().out


def test_long_motion_goes_to_and_fro():
    original, found = load_motion(exports.MOTION), exports.long_motion(40)
    assert len(found) == 1000
    np.testing.assert_array_equal(found.exp[: len(original)], original.exp)
    np.testing.assert_array_equal(found.exp[len(original)], original.exp[-1])


def test_trimesh_check_finds_an_error(tmp_path):
    """The comparison is alive: a file that is 1 mm off is seen."""
    flame, motion = load_flame(None), exports.long_motion(10)
    goal = exports.decoded(flame, motion)[1:2]
    encode = obj_encoder(make_surface(flame.head), flame.n_vertices)
    for shift in (0.0, 0.001):
        (tmp_path / "a.obj").write_bytes(encode(goal[0] + shift))
        off = np.linalg.norm(readers.trimesh_obj(tmp_path / "a.obj") - goal, axis=2).max()
        assert off == pytest.approx(shift * 3**0.5, abs=2e-6)


def test_too_short():
    with pytest.raises(SystemExit):
        exports.main(["--seconds", "1"])
