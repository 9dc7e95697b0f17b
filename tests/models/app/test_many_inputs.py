"""demo.py on folders and lists, and on recordings too long to be held in memory."""

import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

import demo
import models.app.recording
import models.app.speaking
from models.app.recording import Recording
from models.generation.animator import Animator
from tests.support.demo_workspace import STATS, speech
from tests.support.video_probe import probe
from utils.errors import UserError
from utils.media.audio import load_audio, standardise
from utils.media.input_list import read_inputs, unique
from utils.media.video import write_video
from utils.motion_file import load_motion
from utils.timebase import SAMPLE_RATE

ARGS = ["--exp_name", "head", "--coef_stats", str(STATS), "--device", "cpu", "--sampler", "ddim", "--steps", "2"]
FOLDER = "head/iter_0110000"


@pytest.fixture
def space(space):
    clips = space.root / "clips"
    clips.mkdir()
    for i, seconds in enumerate((0.2, 0.5, 0.3)):
        soundfile.write(clips / f"clip{i}.wav", speech(seconds, seed=i), SAMPLE_RATE)
    (clips / "readme.md").write_text("no recording")
    return space


def refused(capsys, argv) -> list[str]:
    """Lines on stderr of a command that ends with exit code 2."""
    with pytest.raises(SystemExit) as end:
        demo.main(argv)
    assert end.value.code == 2
    shown = capsys.readouterr().err.replace("\r", "\n").splitlines()
    return [line for line in shown if line.strip() and "window/s]" not in line and "frame/s]" not in line]


def test_a_folder_gives_what_each_file_gives(space):
    demo.main([*ARGS, "-a", "clips", "-o", "many", "--no_video"])
    assert sorted(p.name for p in Path("many").iterdir()) == [f"clip{i}.npz" for i in range(3)]
    for i in range(3):
        demo.main([*ARGS, "-a", f"clips/clip{i}.wav", "-o", f"one{i}.mp4", "--no_video"])
        one, many = (load_motion(x) for x in (f"one{i}.npz", f"many/clip{i}.npz"))
        np.testing.assert_allclose(many.exp, one.exp, atol=1e-4 * np.abs(one.exp).max())
        np.testing.assert_allclose(many.pose, one.pose, atol=1e-4)


def test_parts_of_a_folder(space, capsys):
    """Two parts write what one process writes; a bad file fails in its part and in the command that merges."""
    Path("clips/bad.wav").write_bytes(b"RIFF")
    words = [*ARGS, "-a", "clips", "--no_video"]
    assert "1 of 4 recordings failed: bad.wav" in refused(capsys, [*words, "-o", "one"])[-1]
    demo.main([*words, "-o", "two", "--shard", "1/2"])
    assert sorted(p.name for p in Path("two").glob("*.npz")) == ["clip0.npz", "clip2.npz"]
    assert "0-of-2: this part is missing" in refused(capsys, [*words, "-o", "two"])[-1]
    assert "1 of 2 recordings failed: bad.wav" in refused(capsys, [*words, "-o", "two", "--shard", "0/2"])[-1]
    assert "1 of 4 recordings failed: bad.wav" in refused(capsys, [*words, "-o", "two"])[-1]
    assert sorted(p.name for p in Path("two").iterdir() if p.is_file()) == [f"clip{i}.npz" for i in range(3)]
    assert Path("two/.shards").is_dir()  # until all recordings are done
    Path("two/bad.npz").write_bytes(b"old")  # what failed is not taken for finished
    assert "1 of 4 recordings failed: bad.wav" in refused(capsys, [*words, "-o", "two"])[-1]
    Path("clips/bad.wav").unlink()
    Path("two/bad.npz").unlink()
    for i in range(3):
        one, two = (load_motion(f"{folder}/clip{i}.npz") for folder in ("one", "two"))
        np.testing.assert_allclose(two.exp, one.exp, atol=1e-4 * np.abs(one.exp).max())  # other batches


def test_a_missing_export_is_made(space, capsys):
    demo.main([*ARGS, "-a", "clips", "--no_video"])
    demo.main([*ARGS, "-a", "clips", "--no_video", "--export", "npz"])
    assert len([name for name in space.written() if name.endswith("_coef.npz")]) == 3
    before = [path.stat().st_mtime_ns for path in sorted(space.output.rglob("*.npz"))]
    demo.main([*ARGS, "-a", "clips", "--no_video", "--export", "npz"])
    assert [path.stat().st_mtime_ns for path in sorted(space.output.rglob("*.npz"))] == before


def test_windows_of_clips_share_batches(space, monkeypatch):
    sizes = []
    batch = Animator.batch
    monkeypatch.setattr(
        Animator, "batch", lambda self, audios, *rest: sizes.append(len(audios)) or batch(self, audios, *rest)
    )
    monkeypatch.setattr(models.app.speaking, "TOGETHER", 4)
    demo.main([*ARGS, "-a", "clips", "--no_video", "-n", "2"])
    assert sizes == [2, 1]
    assert len(space.written()) == 6


def test_videos_of_a_list(space):
    (space.root / "mine.txt").write_text("# two\nclips/clip2.wav\n\nclips/clip0.wav\n")
    demo.main([*ARGS, "-a", "mine.txt"])
    assert space.written() == [f"{FOLDER}/clip0.mp4", f"{FOLDER}/clip2.mp4"]
    assert probe(space.output / FOLDER / "clip2.mp4").n_frames == 7


def test_existing_outputs_are_left_alone(space, monkeypatch, caplog):
    seen = []
    batch = Animator.batch
    monkeypatch.setattr(
        Animator, "batch", lambda self, audios, *rest: seen.append(len(audios)) or batch(self, audios, *rest)
    )
    demo.main([*ARGS, "-a", "clips", "--no_video"])
    (space.output / FOLDER / "clip1.npz").unlink()
    demo.main([*ARGS, "-a", "clips", "--no_video"])
    assert "2 of 3 recordings are finished already" in caplog.text
    demo.main([*ARGS, "-a", "clips", "--no_video"])
    demo.main([*ARGS, "-a", "clips", "--no_video", "--overwrite"])
    assert seen == [3, 1, 3]


def test_bad_files_are_named_and_the_others_made(space, capsys, caplog):
    (space.root / "clips" / "bad.wav").write_bytes(b"no audio at all " * 50)
    (space.root / "clips" / "empty.mp3").write_bytes(b"")
    assert "2 of 5 recordings failed: bad.wav, empty.mp3" in refused(capsys, [*ARGS, "-a", "clips", "--no_video"])[-1]
    lines = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert len(lines) == 2
    assert "bad.wav" in lines[0] and "not readable" in lines[0]
    assert "empty.mp3" in lines[1]
    assert space.written() == [f"{FOLDER}/clip{i}.npz" for i in range(3)]


@pytest.mark.parametrize(
    "content,expected",
    [("", "empty"), ("# nothing\n", "empty"), (b"\xff\xfe\x00", "not text in UTF-8"), ("nosuch.wav", "1 of 1")],
)
def test_bad_lists(space, capsys, content, expected):
    path = space.root / "list.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert expected in refused(capsys, [*ARGS, "-a", "list.txt", "--no_video"])[-1]
    assert space.written() == []


def test_one_video_for_many_inputs(space, capsys):
    assert "give a folder" in refused(capsys, [*ARGS, "-a", "clips", "-o", "x.mp4"])[-1]
    assert "no recordings" in refused(capsys, [*ARGS, "-a", "."])[-1]


def test_names_of_outputs():
    paths = [Path(p) for p in ("a/x.wav", "a/x.mp3", "b/x.wav", "a/Y.wav", "a/Y.wav")]
    names = [one.name for one in unique((path, Path(path.name)) for path in paths)]
    assert names == ["x", "x.mp3", "b_x", "Y", "a_Y"]
    names = [
        one.name for one in unique((p, Path(p.name)) for p in map(Path, ("x/one.wav", "x/two.v1.wav", "y/ONE.wav")))
    ]
    assert names == ["one", "two.v1", "y_ONE"]
    names = [
        one.name for one in unique([(Path("b/x.wav"), Path("x.wav"))] * 3 + [(Path("b/b_x.wav"), Path("b_x.wav"))])
    ]
    assert names == ["x", "b_x", "x_2", "b_b_x"]


def test_folders_are_not_searched(space):
    shutil.copytree(space.root / "clips", space.root / "clips" / "more")
    assert [one.path.name for one in read_inputs(space.root / "clips")] == ["clip0.wav", "clip1.wav", "clip2.wav"]
    assert [one.name for one in read_inputs(space.root / "clips", recursive=True)] == [
        *("clip0", "clip1", "clip2", "more/clip0", "more/clip1", "more/clip2")
    ]


def test_names_do_not_change_when_files_are_added(space):
    """Three files of one stem are three results; later files leave them as they are."""
    clips = space.root / "talk"
    clips.mkdir()
    sound = (space.root / "clips" / "clip0.wav").read_bytes()
    known = {}
    for name in ("talk.mp3.wav", "talk.mp3", "talk.wav", "Talk.flac", "talk", "talk.mp4.wav", "talk.amr"):
        (clips / name).write_bytes(sound)  # read by content, whatever the ending says
        demo.main([*ARGS, "-a", "talk", "-o", "out", "--no_video", "--export", "csv"])
        now = {path.name: path.stat().st_mtime_ns for path in Path("out").iterdir()}
        assert known.items() <= now.items() and len(now) == len(known) + 2
        known = now
    assert {"talk.npz", "talk.mp3.npz", "talk.mp3.wav.npz", "Talk.flac.npz"} <= known.keys()


def test_a_folder_onto_itself(space, caplog):
    """Results are no recordings the second time, and a source video is neither finished nor replaced."""
    clips = space.root / "clips"
    video = space.root / "video.mp4"
    write_video(video, [np.full((32, 32, 3), 99, np.uint8)] * 10, 10, 25, speech(0.4))
    with av.open(str(video)) as read, av.open(str(clips / "talk.mp4"), "w") as made:  # as another program writes it
        streams = {stream.index: made.add_stream_from_template(stream) for stream in read.streams}
        for packet in read.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                made.mux(packet)
    source = (clips / "talk.mp4").read_bytes()
    flags = [*ARGS, "-a", "clips", "-o", "clips", "--size", "32", "--recursive", "--overwrite"]
    for _ in range(2):
        demo.main(flags)
        made = sorted(path.name for path in clips.glob("*.mp4"))
        assert made == ["clip0.mp4", "clip1.mp4", "clip2.mp4", "talk.mp4", "talk.mp4.mp4"]
        assert (clips / "talk.mp4").read_bytes() == source
    with pytest.raises(SystemExit):
        shutil.copy(clips / "talk.mp4", clips / "clip1.mp4")
        demo.main(flags)
    assert (clips / "clip1.mp4").read_bytes() == source


def test_exports_that_would_meet(space, capsys):
    for name in ("a.wav", "a_livelink.wav"):
        shutil.copy(space.root / "clips" / "clip0.wav", space.root / name)
    Path("list.txt").write_text("a.wav\na_livelink.wav\n")
    argv = [*ARGS, "-a", "list.txt", "-o", "out", "--no_video", "--export", "livelink,csv"]
    assert "a.wav and a_livelink.wav: both would write out/a_livelink.csv" in refused(capsys, argv)[-1]


def test_unlisted_kinds_are_taken_or_named(space, caplog):
    clips = space.root / "clips"
    shutil.copy(clips / "clip0.wav", clips / "phone.rec")
    (clips / "notes.doc").write_text("no sound " * 300)
    with caplog.at_level("INFO"):
        demo.main([*ARGS, "-a", "clips", "-o", "out", "--no_video"])
    assert (Path("out") / "phone.rec.npz").is_file()
    assert "without sound that can be read: notes.doc" in caplog.text


# Long recordings


@pytest.fixture
def short_memory(monkeypatch):
    monkeypatch.setattr(models.app.recording, "LONG", 2000)


@pytest.mark.parametrize("extra", [[], ["--no_context_audio_feat"]], ids=["whole", "window by window"])
def test_a_long_recording_gives_the_same_motion(space, monkeypatch, extra):
    soundfile.write("long.wav", speech(9.3), SAMPLE_RATE)
    demo.main([*ARGS, *extra, "-a", "long.wav", "-o", "a.mp4", "--no_video", "--seed", "3"])
    monkeypatch.setattr(models.app.recording, "LONG", 2000)
    monkeypatch.setattr(Animator, "batch", lambda *_: pytest.fail("held in memory"))
    demo.main([*ARGS, *extra, "-a", "long.wav", "-o", "b.mp4", "--no_video", "--seed", "3"])
    held, streamed = (load_motion(x) for x in ("a.npz", "b.npz"))
    assert len(streamed) == 232
    np.testing.assert_allclose(streamed.exp, held.exp, atol=1e-3 * np.abs(held.exp).max())
    np.testing.assert_allclose(streamed.pose, held.pose, atol=1e-3)


def test_long_videos_are_drawn_as_they_are_made(space, short_memory):
    demo.main([*ARGS, "-a", "clips/clip1.wav", "-o", "v.mp4", "--save_coef", "--no_head", "-n", "2"])
    assert space.made() == [f"v_00{i}.{kind}" for i in (0, 1) for kind in ("mp4", "npz")]
    info = probe("v_001.mp4")
    assert (info.n_frames, info.audio_codec) == (12, "aac")
    assert abs(info.audio_seconds - 0.48) < 0.04
    motion = load_motion("v_001.npz")
    assert (motion.pose[:, :3] == 0).all() and motion.shape.shape == (100,)


def test_many_with_a_long_one_among_them(space, monkeypatch):
    monkeypatch.setattr(models.app.recording, "LONG", 5000)
    demo.main([*ARGS, "-a", "clips", "--no_video"])
    assert [len(load_motion(space.output / FOLDER / f"clip{i}.npz")) for i in range(3)] == [5, 12, 7]


def test_recordings_are_heard_once_or_twice(space, short_memory):
    long, expected = Recording.read(Path("clips/clip1.wav")), load_audio("clips/clip1.wav")
    assert long.audio is None
    np.testing.assert_array_equal(np.concatenate(list(long.blocks())), expected)
    scaled = (expected - long.scale.mean) / (long.scale.std + 1e-5)
    np.testing.assert_allclose(scaled, standardise(expected), atol=1e-5)
    soundfile.write("tiny.wav", speech(0.02), SAMPLE_RATE)
    with pytest.raises(UserError, match="less than one frame"):
        Recording.read(Path("tiny.wav"))
