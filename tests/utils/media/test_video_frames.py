"""Videos as they come from phones and screens: turned, of any rate and size, silent, damaged, or no videos at all."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from utils.errors import UserError
from utils.media.video import write_video
from utils.media.video_frames import read_frames

RED, BLUE = (230, 20, 20), (20, 20, 230)


def pictures(n, height=48, width=96):
    """Red above, blue below; a white column that moves right."""
    for i in range(n):
        picture = np.empty((height, width, 3), np.uint8)
        picture[: height // 2], picture[height // 2 :] = RED, BLUE
        picture[:, i * 2 : i * 2 + 4] = 255
        yield picture


def near(pixel, colour):
    return np.abs(pixel.astype(int) - colour).max() < 60


def turn_in_header(path, matrix):
    """Write a display matrix into the mp4's track header, as phones do."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    data[place : place + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)


def test_pictures_and_times(tmp_path):
    write_video(tmp_path / "a.mp4", pictures(10), 10, 25, None)
    frames = list(read_frames(tmp_path / "a.mp4"))
    np.testing.assert_allclose([f.time for f in frames], np.arange(10) / 25, atol=1e-6)
    assert frames[0].picture.shape == (48, 96, 3) and frames[0].picture.dtype == np.uint8
    assert near(frames[3].picture[10, 80], RED) and near(frames[3].picture[40, 80], BLUE)


@pytest.mark.parametrize(
    ("quarters", "matrix"),
    [
        (1, [0, 1, 0, -1, 0, 0, 48, 0, 1]),  # stored turned to the left, to be shown turned to the right
        (3, [0, -1, 0, 1, 0, 0, 0, 96, 1]),
        (2, [-1, 0, 0, 0, -1, 0, 96, 48, 1]),
    ],
)
def test_phones_turn_videos_in_the_header(tmp_path, quarters, matrix):
    path = tmp_path / "phone.mp4"
    write_video(path, (np.ascontiguousarray(np.rot90(p, quarters)) for p in pictures(4)), 4, 25, None)
    units = [1 << 16, 1 << 16, 1 << 30] * 3
    turn_in_header(path, [value * unit for value, unit in zip(matrix, units)])
    frame = list(read_frames(path))[1].picture
    assert frame.shape == (48, 96, 3)
    assert near(frame[10, 80], RED) and near(frame[40, 80], BLUE) and near(frame[10, 3], (255, 255, 255))


def test_large_pictures_are_scaled(tmp_path):
    write_video(tmp_path / "a.mp4", pictures(2, 200, 400), 2, 25, None)
    assert next(read_frames(tmp_path / "a.mp4", max_side=100)).picture.shape == (50, 100, 3)


def write_with_times(path, milliseconds, stretch=None, late_sound=None):
    """A matroska with these times of pictures, and silence-free sound that may begin late."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=1000)
        stream.width, stream.height, stream.pix_fmt = 96, 48, "yuv420p"
        if stretch:
            stream.codec_context.sample_aspect_ratio = stretch
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono") if late_sound is not None else None
        for time, picture in zip(milliseconds, pictures(len(milliseconds))):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = time
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            noise = (np.random.default_rng(0).normal(0, 3000, (1, 8000))).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(noise, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 8000, late_sound * 8
            container.mux(sound.encode(frame))


def test_variable_rate_keeps_its_times(tmp_path):
    times = [0, 33, 67, 140, 141, 200, 400]
    write_with_times(tmp_path / "v.mkv", times)
    np.testing.assert_allclose([1000 * f.time for f in read_frames(tmp_path / "v.mkv")], times, atol=1)


def test_times_count_from_the_sound(tmp_path):
    write_with_times(tmp_path / "v.mkv", [0, 40, 80, 120], late_sound=80)
    np.testing.assert_allclose([1000 * f.time for f in read_frames(tmp_path / "v.mkv")], [-80, -40, 0, 40], atol=1)


def test_pixels_that_are_not_square(tmp_path):
    write_with_times(tmp_path / "v.mkv", [0, 40], stretch=Fraction(1, 2))
    assert next(read_frames(tmp_path / "v.mkv")).picture.shape == (48, 48, 3)


def test_what_is_no_video(tmp_path):
    with av.open(str(tmp_path / "s.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.ones((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    write_video(tmp_path / "cut.mp4", pictures(30), 30, 25, None)
    data = (tmp_path / "cut.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 3])
    (tmp_path / "text.mp4").write_text("no video at all")
    (tmp_path / "empty.mp4").touch()
    wrong = {"s.wav": "no moving picture", "cut.mp4": "breaks off|damaged", "text.mp4": "damaged, or not a video",
             "empty.mp4": "0 bytes", "none.mp4": "no such file", ".": "is a folder"}  # fmt: skip
    for name, message in wrong.items():
        with pytest.raises(UserError, match=message):
            list(read_frames(tmp_path / name))
