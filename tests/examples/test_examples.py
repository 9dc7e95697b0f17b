"""examples/: the programs that show what styles are good for, on short speech and with few steps."""

import av
import numpy as np
import pytest
import soundfile

from examples import my_style_on_another_voice as my_style
from examples import one_speech_in_eight_styles as eight_styles
from models.exports.motion_export import export
from models.generation.animator import Animator
from models.heads.flame import load_flame
from utils.devices import pick_device
from utils.motion_file import load_motion
from utils.runs.run_dir import DEFAULT_EXPERIMENT, ROOT, find_checkpoint

FAST = ["--steps", "1", "--size", "96"]


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    samples, rate = soundfile.read(ROOT / "demo/input/audio/librivox_austen_0890.flac", dtype="float32")
    path = tmp_path_factory.mktemp("speech") / "half.wav"
    soundfile.write(path, samples[: rate // 2], rate)
    return path


def frames(path) -> np.ndarray:
    with av.open(str(path)) as file:
        assert file.streams.audio
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]).astype(int)


def test_eight_styles(tmp_path, speech):
    out = tmp_path / "styles.mp4"
    eight_styles.main([str(speech), "-o", str(out), *FAST])
    found = frames(out)
    assert found.shape == (12, 192, 384, 3)
    cells = [found[-1, 96 * r + 14 : 96 * r + 78, 96 * c : 96 * c + 96] for r in range(2) for c in range(4)]
    different = [np.abs(a - b).mean() for k, a in enumerate(cells) for b in cells[:k]]
    assert min(different) > 0.1
    assert all(found[0, 96 * r : 96 * r + 12, 96 * c : 96 * c + 40].min() < 150 for r in range(2) for c in range(4))


def test_the_eighth_may_be_ones_own(tmp_path):
    """The label is the file's name; the style is most like the bundled one that was taken from the same motion."""
    mine = tmp_path / "mine.npz"
    mine.write_bytes((ROOT / "demo/input/motion/serious.npz").read_bytes())
    animator = Animator.load(find_checkpoint("DPT", DEFAULT_EXPERIMENT, None), None, pick_device("cpu"))
    assert len(eight_styles.styles_of(animator, None)) == 8
    styles = eight_styles.styles_of(animator, mine)
    assert len(styles) == 8 and "natural" not in styles
    own = styles.pop("mine")
    distance = {name: np.linalg.norm(own - style) for name, style in styles.items()}
    assert min(distance, key=distance.get) == "serious"


def test_my_style_from_a_phones_csv_with_exports(tmp_path, speech):
    motion = load_motion(ROOT / "demo/input/motion/smile.npz")
    (csv,) = export(motion, load_flame(None), ("livelink",), tmp_path / "me")
    out = tmp_path / "mine.mp4"
    my_style.main([str(csv), str(speech), "-o", str(out), "--export", "glb,csv", *FAST])
    assert frames(out).shape == (12, 96, 96, 3)
    assert {path.name for path in tmp_path.glob("mine*")} == {"mine.mp4", "mine.glb", "mine.csv", "mine.wav"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["none.npz"], "no such file"),
        (["FLAME"], "FLAME's coefficients"),
        (["SHORT"], "too few"),
        (["-o", "a.avi"], "must end in .mp4"),
        (["--steps", "0"], "--steps 0"),
        (["--size", "97"], "--size 97"),
        (["--export", "fbx"], "not a format"),
    ],
)
def test_mistakes(tmp_path, monkeypatch, capsys, flags, message):
    monkeypatch.chdir(tmp_path)
    motion = load_motion(ROOT / "demo/input/motion/smile.npz")
    np.savez("FLAME", exp=motion.exp, pose=motion.pose, head_model="FLAME 2020")
    np.savez("SHORT", exp=motion.exp[:50], pose=motion.pose[:50])
    flags = [flag + ".npz" if flag in ("FLAME", "SHORT") else flag for flag in flags]
    with pytest.raises(SystemExit) as ended:
        my_style.main(["-o", "a.mp4", *flags])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert ended.value.code == 2 and error.startswith("error: ") and message in error
    assert not list(tmp_path.glob("a.*"))
