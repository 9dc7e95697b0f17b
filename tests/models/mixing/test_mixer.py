"""The mixer: streams give a file's frames, lips that touch still touch, names and values are checked."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import export_motion
import render_motion
from models.heads.flame import load_flame
from models.heads.mouth import opening_mm
from models.mixing.config import MixerConfig
from models.mixing.mixer import GLIDE, Mixer
from models.mixing.recipes import EMOTIONS
from tests.support.flame_fixtures import tiny_flame
from utils.errors import UserError
from utils.motion_file import FLAME_2020, Motion, joined, load_motion
from utils.runs.run_dir import ROOT
from utils.timebase import FPS

SPOKEN = ROOT / "demo/input/motion/normal.npz"


@pytest.fixture(scope="module")
def flame():
    return load_flame()


@pytest.fixture(scope="module")
def motion():
    return replace(load_motion(SPOKEN).cut(100), shape=None)


def mixed(motion: Motion, **values: float) -> Motion:
    return Mixer(MixerConfig.of({name.replace("__", "."): value for name, value in values.items()})).push(motion)


def unit(flame, motion: Motion, name: str) -> np.ndarray:
    return motion.exp[:, flame.head.exp_names.index(name)]


def test_a_mixer_rests_until_it_is_told_something():
    mixer = Mixer()
    assert mixer.rests
    mixer.change(MixerConfig.of({"happy": 1}))
    assert not mixer.rests
    mixer.change(MixerConfig())
    assert not mixer.rests  # it glides back
    assert not any(Mixer(MixerConfig(**one)).rests for one in ({"smooth": ("head=0.2",)}, {"mirror": ("head",)}))


def test_without_changes_the_motion_is_the_same(motion):
    assert Mixer().push(motion) is motion
    assert mixed(motion, gain__brows=1, happy=0) is motion


@pytest.mark.parametrize("size", [1, 7, 64])
def test_a_stream_gives_the_frames_of_a_file(motion, size, tmp_path):
    schedule = tmp_path / "a.csv"
    schedule.write_text("seconds,sad,gain.head,offset.gaze_left\n0,0.1,1,\n1,1,0.3,-0.2\n3,0,2,0.5\n")
    config = MixerConfig(
        emotion=("happy", "angry=0.3"),
        gain=("brows=1.5", "mouth=1.2"),
        offset=("smile=-0.2", "head_pitch=-6", "mouth=0.1"),
        smooth=("head=0.3", "mouth=0.08"),
        mirror=("gaze", "head", "mouth"),
        eye_contact=0.5,
        mix_schedule=schedule,
    )
    whole, mixer = Mixer(config).push(motion), Mixer(config)
    pieces = joined([mixer.push(motion.cut(slice(i, i + size))) for i in range(0, len(motion), size)])
    assert not np.array_equal(whole.exp, motion.exp)
    np.testing.assert_array_equal(pieces.exp, whole.exp)
    np.testing.assert_array_equal(pieces.pose, whole.pose)
    np.testing.assert_array_equal(mixer.fresh().push(motion).pose, whole.pose)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_emotions_leave_the_lips_as_far_apart_as_they_were(flame, motion, emotion):
    changed = mixed(motion, **{emotion: 1})
    assert np.abs(changed.exp - motion.exp).max() > 0.05
    np.testing.assert_array_equal(changed.pose, motion.pose)
    np.testing.assert_allclose(opening_mm(flame, changed), opening_mm(flame, motion), atol=0.25)


def test_a_louder_mouth_keeps_its_closures(flame, motion):
    opening = opening_mm(flame, motion)
    np.testing.assert_allclose(opening_mm(flame, mixed(motion, gain__mouth=1.5)), 1.5 * opening, atol=0.5)


def test_eyes_still_shut(flame, motion):
    shut = motion.exp.copy()
    shut[:, [flame.head.exp_names.index(f"eyeBlink{side}") for side in ("Left", "Right")]] = 1
    changed = mixed(replace(motion, exp=shut), surprised=1)
    np.testing.assert_allclose(unit(flame, changed, "eyeWideLeft"), unit(flame, motion, "eyeWideLeft"), atol=1e-6)
    assert unit(flame, changed, "browOuterUpLeft").min() > 0.5


def test_gain_mirror_and_smoothing(flame, motion):
    changed = Mixer(MixerConfig(gain=("head=0.5",), mirror=("gaze", "head"), smooth=("brows=0.2",))).push(motion)
    np.testing.assert_allclose(changed.pose[:, :3], 0.5 * motion.pose[:, :3] * (1, -1, -1), atol=1e-6)
    np.testing.assert_array_equal(unit(flame, changed, "eyeLookInLeft"), unit(flame, motion, "eyeLookInRight"))
    brows = [unit(flame, one, "browInnerUp") for one in (changed, motion)]
    assert np.abs(np.diff(brows[0])).mean() < 0.7 * np.abs(np.diff(brows[1])).mean()
    assert brows[0][0] == brows[1][0]


def test_eye_contact_holds_the_eyes_on_the_camera(flame):
    pose = np.zeros((1, 6), np.float32)
    pose[0, :3] = Rotation.from_euler("YX", [8, 4], degrees=True).as_rotvec()  # to the person's left, down
    changed = mixed(Motion(np.zeros((1, 50), np.float32), pose), eye_contact=1)
    got = {name: float(unit(flame, changed, name)[0]) for name in flame.head.exp_names if name.startswith("eyeLook")}
    assert got["eyeLookOutRight"] == pytest.approx(8 / 13.4, abs=0.03)  # to the person's right
    assert got["eyeLookInLeft"] == pytest.approx(8 / 13.8, abs=0.03)
    assert got["eyeLookUpLeft"] == pytest.approx(4 / 9.05, abs=0.03)
    assert got["eyeLookOutLeft"] == got["eyeLookDownLeft"] == 0


def test_change_glides(motion):
    still = motion.cut(1)
    still = joined([still] * 40)
    mixer = Mixer()
    mixer.push(still.cut(10))
    mixer.change(MixerConfig.of({"surprised": 1}))
    exp = mixer.push(still).exp
    assert np.abs(np.diff(exp, axis=0)).max() < 1.05 / (GLIDE * FPS)
    np.testing.assert_array_equal(exp[-1], mixed(still, surprised=1).exp[-1])
    with pytest.raises(UserError):
        mixer.change(MixerConfig(gain=("head=9",)))
    np.testing.assert_array_equal(mixer.push(still).exp[-1], exp[-1])


def test_schedules(flame, motion, tmp_path):
    (tmp_path / "a.csv").write_text("seconds, happy, gain.head\n1,0,\n2,1,0.5\n")
    (tmp_path / "a.json").write_text('[{"seconds": 1, "happy": 0}, {"seconds": 2, "happy": 1, "gain": {"head": 0.5}}]')
    made = [Mixer(MixerConfig(mix_schedule=tmp_path / name)).push(motion) for name in ("a.csv", "a.json")]
    np.testing.assert_array_equal(made[0].exp, made[1].exp)
    np.testing.assert_allclose(made[0].pose[:, :3], 0.5 * motion.pose[:, :3], atol=1e-7)
    np.testing.assert_array_equal(made[0].exp[:26], motion.exp[:26])
    np.testing.assert_array_equal(made[0].exp[50:], mixed(motion, happy=1).exp[50:])
    half = mixed(motion, happy=0.48)
    np.testing.assert_allclose(made[0].exp[37], half.exp[37], atol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seconds,hapy\n0,1\n", "'hapy' is not a choice"),
        ("seconds,happy\n0,2\n", "between 0 and 1, got 2"),
        ("seconds,happy\n1,0\n0,1\n", "do not increase"),
        ("seconds,happy\n0,much\n", "row 1: happy is 'much'"),
        ("seconds,happy\n0,1,2\n", "more cells"),
        ("time,happy\n0,1\n", "row 1 has no 'seconds'"),
        ("seconds,happy\n0,\n", "holds no values"),
        ("seconds,smooth.head\n0,1\n", "'smooth.head' is not a choice"),
    ],
)
def test_bad_schedules(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=rf"a\.csv.*{message}") as error:
        MixerConfig(mix_schedule=tmp_path / "a.csv").check()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--emotion", "hapy"], "--emotion hapy"),
        (["--emotion", "happy=very"], "must be a name and a number"),
        (["--gain", "brows"], "must be a name and a number"),
        (["--gain", "brows=4"], "between 0 and 3"),
        (["--offset", "head_yaw=90"], "between -45 and 45"),
        (["--mirror", "ears"], "--mirror"),
        (["--eye_contact", "nan"], "--eye_contact"),
    ],
)
def test_bad_flags(tmp_path, flags, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        render_motion.main([str(SPOKEN), "-o", str(tmp_path / "a.mp4"), *flags])
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_flame_heads_have_only_a_rotation(tmp_path, motion, capsys):
    np.savez(tmp_path / "flame.npz", **tiny_flame())
    replace(motion, head_model=FLAME_2020).save(tmp_path / "a.npz")
    common = [str(tmp_path / "a.npz"), "--head", str(tmp_path / "flame.npz"), "-f", "npz", "-o", str(tmp_path / "b")]
    export_motion.main([*common, "--gain", "head=0.5", "--offset", "head_yaw=1", "--smooth", "head=0.1"])
    turned = np.load(tmp_path / "b_coef.npz")
    assert np.abs(turned["pose"][:, :3] - motion.pose[:, :3]).max() > 0.005
    np.testing.assert_array_equal(turned["exp"], motion.exp)
    with pytest.raises(SystemExit, match="2"):
        export_motion.main([*common, "--emotion", "happy"])
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("error: happy: the expressions of")
    with pytest.raises(UserError, match="FLAME's"):
        mixed(replace(motion, head_model=FLAME_2020), gain__brows=2)


def test_exports_are_mixed(flame, tmp_path, motion):
    motion.save(tmp_path / "a.npz")
    export_motion.main([str(tmp_path / "a.npz"), "-f", "livelink", "--emotion", "happy=0.8"])
    table = (tmp_path / "a_livelink.csv").read_text().splitlines()
    smile = [float(row.split(",")[table[0].split(",").index("MouthSmileLeft")]) for row in table[1:]]
    np.testing.assert_allclose(smile, np.clip(unit(flame, mixed(motion, happy=0.8), "mouthSmileLeft"), 0, 1), atol=1e-5)
