"""demo.py --side_by_side and --caption: samples in one video, names of files on videos."""

import av
import numpy as np
import pytest
import soundfile

import demo
import models.app.recording
from models.app.head_film import HeadFilm
from tests.support.demo_workspace import STATS, speech
from utils.timebase import SAMPLE_RATE

ARGS = ["--exp_name", "head", "--coef_stats", str(STATS), "--device", "cpu", "--sampler", "ddim", "--steps", "2"]
ARGS += ["--size", "64"]
FOLDER = "head/iter_0110000"


@pytest.fixture
def drawn(monkeypatch):
    """What is asked for of each video: [path's name, labels, caption]."""
    seen = []

    def one(self, path, motions, n_frames, audio, caption=""):
        seen.append([path.name, [], caption])
        list(motions)

    def together(self, path, takes, audio, columns=None, caption=""):
        seen.append([path.name, [label for label, _ in takes], caption])

    monkeypatch.setattr(HeadFilm, "write", one)
    monkeypatch.setattr(HeadFilm, "write_together", together)
    return seen


def test_samples_in_one_video_with_the_files_name(space):
    flags = ["-a", "speech.wav", "-n", "4", "--side_by_side", "--save_coef", "--export", "csv", "-o", "four.mp4"]
    demo.main([*ARGS, *flags, "--caption"])
    numbered = [f"four_00{i}{ending}" for i in range(4) for ending in (".csv", ".npz")]
    assert space.made() == ["four.mp4", *numbered]
    with av.open("four.mp4") as file:
        assert file.streams.audio
        frames = np.stack([f.to_ndarray(format="rgb24") for f in file.decode(video=0)])
    assert frames.shape == (7, 128, 128, 3)
    assert frames[0, :14, :14].min() < 160 and frames[0, 64:78, 64:78].min() < 160  # labels
    demo.main([*ARGS, *flags, "--overwrite"])
    with av.open("four.mp4") as file:
        bare = next(file.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    changed = np.abs(frames[0] - bare).max(2) > 60
    assert changed[110:].any() and not changed[:105].any()  # the caption is at the bottom


def test_each_of_a_folder_has_its_own_name(space, drawn):
    clips = space.root / "clips"
    clips.mkdir()
    for name in ("anna", "ben"):
        soundfile.write(clips / f"{name}.wav", speech(0.2), SAMPLE_RATE)
    flags = [*ARGS, "-a", "clips", "-s", "smile.npy", "--caption", "{audio} / {style}"]
    demo.main(flags)
    assert drawn == [["anna.mp4", [], "anna.wav / smile"], ["ben.mp4", [], "ben.wav / smile"]]
    drawn.clear()
    demo.main([*flags, "--side_by_side", "-n", "2", "--seed", "5"])
    assert drawn[0] == ["anna.mp4", ["seed 5", "seed 6"], "anna.wav / smile"]


def test_a_finished_folder_is_known(space, caplog):
    clips = space.root / "clips"
    clips.mkdir()
    soundfile.write(clips / "a.wav", speech(0.2), SAMPLE_RATE)
    flags = [*ARGS, "-a", "clips", "--side_by_side", "-n", "2", "--export", "csv"]
    demo.main(flags)
    assert space.written() == [f"{FOLDER}/a.mp4", f"{FOLDER}/a_000.csv", f"{FOLDER}/a_001.csv"]
    with caplog.at_level("INFO"):
        demo.main(flags)
    assert "1 of 1 recordings are finished already" in caplog.text


def test_long_recordings_too(space, drawn, monkeypatch):
    monkeypatch.setattr(models.app.recording, "LONG", 1000)
    demo.main([*ARGS, "-a", "speech.wav", "-n", "2", "--side_by_side", "--caption", "{audio}", "--save_coef"])
    assert drawn == [["speech.mp4", ["seed 0", "seed 1"], "speech.wav"]]
    demo.main([*ARGS, "-a", "speech.wav", "-o", "one.mp4", "--caption", "me"])
    assert drawn[1] == ["one.mp4", [], "me"]
    assert space.written() == [f"{FOLDER}/speech_000.npz", f"{FOLDER}/speech_001.npz"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--side_by_side", "-n", "2", "--no_video"], "--side_by_side"),
        (["--stream", "--side_by_side"], "--side_by_side: not with --stream"),
        (["--stream", "--caption"], "--caption: not with --stream"),
    ],
)
def test_mistakes(space, capsys, flags, message):
    with pytest.raises(SystemExit) as ended:
        demo.main([*ARGS, "-a", "speech.wav", *flags])
    assert ended.value.code == 2 and message in capsys.readouterr().err
