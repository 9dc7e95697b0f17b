"""Videos: what a player finds in them, and what happens when writing fails."""

import av
import numpy as np
import pytest

from tests.support.video_probe import probe
from utils.errors import UserError
from utils.media.video import write_animation, write_video

FPS, RATE = 25, 16000


def pictures(n: int, size: int = 64):
    """A square moving over a flat colour."""
    for i in range(n):
        frame = np.full((size, size, 3), (200, 150, 100), np.uint8)
        frame[8:24, i % 32 : i % 32 + 16] = (30, 60, 200)
        yield frame


def tone(seconds: float) -> np.ndarray:
    return (0.4 * np.sin(2 * np.pi * 300 * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


@pytest.mark.parametrize("n", [1, 2, 25, 61])
@pytest.mark.parametrize("seconds", [0.0, 0.5, 4.0])
def test_sound_is_as_long_as_the_picture(tmp_path, n, seconds):
    path = tmp_path / "new" / "v.mp4"
    write_video(path, pictures(n), n, FPS, tone(seconds), RATE)
    info = probe(path)
    assert (info.width, info.height, info.fps, info.n_frames) == (64, 64, 25, n)
    assert (info.codec, info.pixel_format, info.colour_space, info.audio_codec) == ("h264", "yuv420p", 1, "aac")
    assert abs(info.audio_seconds - info.seconds) < 1 / FPS


def test_without_sound_there_is_no_audio_stream(tmp_path):
    write_video(tmp_path / "v.mp4", pictures(5), 5, FPS, None)
    assert probe(tmp_path / "v.mp4").audio_codec is None


def test_colours_and_sound_survive(tmp_path):
    path = tmp_path / "v.mp4"
    click = np.zeros(2 * RATE, np.float32)
    click[RATE : RATE + 160] = 0.8
    write_video(path, pictures(50), 50, FPS, click, RATE)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    assert np.abs(frame[40:, 40:] - (200, 150, 100)).max() <= 4  # BT.709 both ways; BT.601 would be off by 10
    with av.open(str(path)) as container:
        heard = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    centre = (np.arange(len(heard)) * heard**2).sum() / (heard**2).sum() / 48000
    assert abs(centre - 1.005) < 1 / FPS


def test_packets_are_interleaved(tmp_path):
    path = tmp_path / "v.mp4"
    write_video(path, pictures(250), 250, FPS, tone(10), RATE)
    latest, gap = {"audio": 0.0, "video": 0.0}, 0.0
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.dts is not None:
                latest[packet.stream.type] = float(packet.dts * packet.time_base)
                gap = max(gap, abs(latest["audio"] - latest["video"]))
    assert gap < 2.5  # the encoder looks 40 frames ahead; written one after the other it would be 10


@pytest.mark.parametrize(
    ("frames", "n", "error"),
    [
        (lambda: pictures(3), 4, ValueError),
        (lambda: pictures(5), 4, ValueError),
        (lambda: iter(()), 1, ValueError),
        (lambda: pictures(3), 0, ValueError),
        (lambda: pictures(2, size=33), 2, ValueError),
        (lambda: (f.astype(float) for f in pictures(2)), 2, ValueError),
        (lambda: (f[:, : 64 - 2 * i] for i, f in enumerate(pictures(2))), 2, ValueError),
        (lambda: (1 // (1 - i) * f for i, f in enumerate(pictures(3))), 3, ZeroDivisionError),
    ],
)
def test_a_failure_leaves_nothing_behind(tmp_path, frames, n, error):
    with pytest.raises(error):
        write_video(tmp_path / "v.mp4", frames(), n, FPS, tone(1), RATE)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_the_old_video(tmp_path):
    path = tmp_path / "v.mp4"
    write_video(path, pictures(4), 4, FPS, None)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="n_frames said 9"):
        write_video(path, pictures(4), 9, FPS, None)
    assert path.read_bytes() == before


def test_wrong_outputs_are_user_errors(tmp_path):
    with pytest.raises(UserError, match=r"\.mp4"):
        write_video(tmp_path / "v.avi", pictures(1), 1, FPS, None)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot write"):
        write_video(tmp_path / "file" / "v.mp4", pictures(1), 1, FPS, None)


@pytest.mark.parametrize("suffix", ["webp", "gif"])
def test_animation(tmp_path, suffix):
    from PIL import Image

    write_animation(tmp_path / f"a.{suffix}", pictures(5), FPS)
    with Image.open(tmp_path / f"a.{suffix}") as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (5, (64, 64), 0)
