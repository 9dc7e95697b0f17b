"""ARKit's curves from Live Link Face and MediaPipe."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scripts_for_dataset.synthetic import arkit as synthetic_arkit
from tests.support.tracker_files import import_motion, timecodes, write_csv
from tests.utils.trackers.test_trackers import same_rotation
from utils.errors import UserError
from utils.heads.head_file import load_head_file
from utils.trackers import arkit
from utils.trackers.to_motion import ImportOptions


def arkit_columns(n_frames, names=None):
    random = np.random.default_rng(3)
    head = load_head_file().exp_names
    columns = {name[0].upper() + name[1:]: random.uniform(0, 1, n_frames).round(4) for name in names or head}
    return columns | {"JawOpen": random.uniform(0, 1, n_frames).round(4), "TongueOut": np.zeros(n_frames)}


def test_units_are_the_corpus_ones():
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
    assert "cheekpuff" in notes and "1 row repeats a time and is" in notes and "1 lost frame (NaN) is" in notes
    assert same_rotation(imported.motion.pose[50:, :3], head[50:])
    assert not imported.motion.exp[:, list(arkit.unit_names()).index("cheekpuff")].any()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("a,b\n1,2\n", "Found: a"),
        ("a,a\n1,2\n", "header"),
        ("a,b\n1\n", "row 2 has 1 cells"),
        ("a,b\n1,x\n", "column b"),
        ("Timecode,b\nnoon,1\n", "timecode 'noon'"),
        ("Timecode,b\n0:0:0:999,1\n", "frames per second"),
    ],
)
def test_bad_tables(tmp_path, text, match):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=match):
        import_motion(tmp_path / "t.csv")
