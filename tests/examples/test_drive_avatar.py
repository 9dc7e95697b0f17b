"""examples/drive_avatar.py on our own head as the avatar."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from examples.drive_avatar import main, read_glb
from models.exports.motion_export import export
from models.heads.decode import decode
from models.heads.flame import load_flame
from tests.support.arkit_files import make_recording, write_degrees_and_percent, write_live_link
from tests.support.glb_reader import Glb
from utils.exports.arkit import BLEND_SHAPES, arkit_name
from utils.exports.gltf import GltfWriter
from utils.heads.joints import JAW_OPEN_RADIANS
from utils.motion_file import Motion, load_motion
from utils.runs.run_dir import ROOT
from utils.trackers.arkit import read_track


@pytest.fixture
def files(tmp_path):
    smile, normal = (load_motion(ROOT / f"demo/input/motion/{name}.npz") for name in ("smile", "large_head_movements"))
    (avatar,) = export(smile, load_flame(None), ("glb",), tmp_path / "avatar")
    (csv,) = export(normal, load_flame(None), ("livelink",), tmp_path / "take")
    return avatar, csv


def test_the_avatar_takes_the_motion(tmp_path, files, capsys, caplog):
    avatar, csv = files
    with caplog.at_level("INFO"):
        main([str(avatar), str(csv), "-o", str(tmp_path / "out.glb"), "--head_node", "root"])
    assert "51 of 52" in caplog.text and "not on the avatar" not in caplog.text
    glb, track = Glb(tmp_path / "out.glb"), read_track(csv)
    (animation,) = glb.document["animations"]
    outputs = {
        c["target"]["path"]: glb.array(animation["samplers"][c["sampler"]]["output"]) for c in animation["channels"]
    }
    names = glb.document["meshes"][0]["extras"]["targetNames"]
    weights = outputs["weights"].reshape(len(track), len(names))
    np.testing.assert_allclose(weights[:, names.index("mouthSmileLeft")], track.column("mouthSmileLeft"), atol=1e-6)
    assert not weights[:, names.index("jawCorrectiveSin")].any()
    turned = Rotation.from_quat(outputs["rotation"]) * Rotation.from_euler("YXZ", track.angles[:, :3]).inv()
    assert turned.magnitude().max() < 1e-5
    assert np.abs(glb.vertices(100) - glb.vertices(0)).max() > 0.002


def test_jaw_open_is_what_the_joint_does(files):
    """The morph target at 1 is the decoder's open mouth, up to the arc on the way there."""
    flame = load_flame(None)
    names = (glb := Glb(files[0])).document["meshes"][0]["extras"]["targetNames"]
    offsets = glb.array(glb.primitive()["targets"][names.index("jawOpen")]["POSITION"])[: flame.n_vertices]
    still = load_motion(ROOT / "demo/input/motion/smile.npz").cut(1)
    for share, tolerance in ((1.0, 5e-5), (0.5, 3e-3)):
        pose = np.zeros((1, 6), np.float32)
        pose[0, 3] = share * JAW_OPEN_RADIANS
        opened = decode(flame, Motion(np.zeros((1, 50), np.float32), pose), still.shape)[0].numpy()
        shut = decode(flame, Motion(np.zeros((1, 50), np.float32), 0 * pose), still.shape)[0].numpy()
        assert np.abs(opened - shut - share * offsets).max() < tolerance
    assert np.abs(offsets).max() > 0.03


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mouthSmileLeft", "mouthSmileLeft"),
        ("MouthSmile_L", "mouthSmileLeft"),
        ("eyeBlink_R", "eyeBlinkRight"),
        ("Face.JawOpen", "jawOpen"),
        ("cheekPuff", "cheekPuff"),
        ("viseme_aa", None),
        ("mouthSmile", None),
    ],
)
def test_names(name, expected):
    assert arkit_name(name) == expected


def avatar_of(tmp_path, names, extensions=None, n_targets=None):
    """A triangle with morph targets."""
    targets = [{}] * (len(names) if n_targets is None else n_targets)
    mesh = {"primitives": [{"attributes": {}, "targets": targets}], "extras": {"targetNames": names}}
    document = {"asset": {"version": "2.0"}, "buffers": [{"byteLength": 4}], "bufferViews": [], "accessors": [],
                "meshes": [mesh], "nodes": [{"name": "Head"}, {"mesh": 0, "name": "Face"}],
                "extensions": extensions or {}}  # fmt: skip
    (tmp_path / "avatar.glb").write_bytes(GltfWriter(document, bytes(4)).to_bytes())
    return tmp_path / "avatar.glb"


VRM1 = {"VRMC_vrm": {"expressions": {
    "preset": {"aa": {"morphTargetBinds": [{"node": 1, "index": 0, "weight": 1.0}]},
               "blinkLeft": {"morphTargetBinds": [{"node": 1, "index": 1, "weight": 0.5}]}, "neutral": {}},
    "custom": {"tongueOut": {"morphTargetBinds": [{"node": 1, "index": 2, "weight": 1.0}]}}}}}  # fmt: skip
VRM0 = {"VRM": {"blendShapeMaster": {"blendShapeGroups": [
    {"name": "A", "presetName": "a", "binds": [{"mesh": 0, "index": 0, "weight": 100}]},
    {"name": "Blink_L", "presetName": "blink_l", "binds": [{"mesh": 0, "index": 1, "weight": 50}]},
    {"name": "TongueOut", "presetName": "unknown", "binds": [{"mesh": 0, "index": 2, "weight": 100}]}]}}}  # fmt: skip


@pytest.mark.parametrize(
    ("names", "extensions", "expected"),
    [
        (["mouthOpen", "mouthSmile", "viseme_aa", "eyesClosed"], None,
         [("jawOpen",), ("mouthSmileLeft", "mouthSmileRight"), (), ("eyeBlinkLeft", "eyeBlinkRight")]),
        (["jawOpen", "mouthOpen", "browInnerUp"], None, [("jawOpen",), (), ("browInnerUp",)]),
        ([], VRM1, [("jawOpen",), ("eyeBlinkLeft",), ("tongueOut",)]),
        ([], VRM0, [("jawOpen",), ("eyeBlinkLeft",), ("tongueOut",)]),
        ([*BLEND_SHAPES[:20], "mouthOpen"], None, [*((name,) for name in BLEND_SHAPES[:20]), ()]),
    ],
)  # fmt: skip
def test_avatars_of_other_kinds(tmp_path, names, extensions, expected):
    """Each morph target moves as the mean of these shapes does; VRM's binds may ask for half."""
    take = make_recording(61)
    write_live_link(tmp_path, take)
    avatar = avatar_of(tmp_path, names, extensions, len(expected))
    main([str(avatar), str(tmp_path / "take.csv"), "-o", str(tmp_path / "out.glb")])
    glb = Glb(tmp_path / "out.glb")
    (sampler,) = glb.document["animations"][0]["samplers"]
    weights = glb.array(sampler["output"]).reshape(61, len(expected))
    np.testing.assert_allclose(glb.array(sampler["input"]).ravel(), take.times, atol=1e-3)
    for column, shapes in zip(weights.T, expected):
        wanted = sum(take.weights[:, BLEND_SHAPES.index(shape)] for shape in shapes) / max(len(shapes), 1)
        half = 0.5 if extensions and shapes == ("eyeBlinkLeft",) else 1.0
        np.testing.assert_allclose(column, half * wanted * np.ones(61), atol=1e-5)


def test_a_rate_overrides_the_times_and_vrm_0_faces_backwards(tmp_path, caplog):
    take = make_recording(61)
    caplog.set_level("INFO")
    write_degrees_and_percent(tmp_path, take)
    avatar = avatar_of(tmp_path, [], VRM0, 3)
    main(
        [str(avatar), str(tmp_path / "take.csv"), "-o", str(tmp_path / "out.glb"), "--head_node", "Head", "--fps", "30"]
    )
    assert "percent" in caplog.text and "degrees" in caplog.text
    glb = Glb(tmp_path / "out.glb")
    sampler = glb.document["animations"][0]["samplers"][1]
    np.testing.assert_allclose(glb.array(sampler["input"]).ravel(), np.arange(61) / 30, atol=1e-5)
    angles = Rotation.from_quat(glb.array(sampler["output"])).as_euler("YXZ")
    np.testing.assert_allclose(angles, take.angles * [1, -1, -1], atol=1e-5)


def test_mistakes(tmp_path, files, capsys):
    avatar, csv = files
    document, _ = read_glb(avatar)
    assert document["asset"]["version"] == "2.0"
    bad = tmp_path / "bad.glb"
    bad.write_bytes(b"glTF" + bytes(40))
    for flags, message in (
        ([avatar, csv, "--head_node", "Nose"], "no such node"),
        ([bad, csv], "not a glTF"),
        ([tmp_path / "none.glb", csv], "no such file"),
        ([avatar, avatar], "is not an npz, npy, csv, json"),
    ):
        with pytest.raises(SystemExit):
            main([*map(str, flags), "-o", str(tmp_path / "o.glb")])
        assert message in capsys.readouterr().err
    assert not (tmp_path / "o.glb").exists()
