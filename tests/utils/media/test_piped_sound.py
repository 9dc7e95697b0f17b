"""Sound through pipes: containers are recognised, raw PCM stays raw PCM, addresses and devices get a message."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.films import CLICKS, Film, click_times, clicks, write_film
from utils.errors import UserError
from utils.media.audio import load_audio
from utils.media.live_audio import _Boxes, is_container, piped_blocks
from utils.media.sound_file import Track, check_sound_file
from utils.timebase import SAMPLE_RATE

PIPE = Track(Path("standard input"))


class Pipe(io.RawIOBase):
    """What a process writes: not seekable, a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, n: int = -1) -> bytes:
        n = min(700, n if n >= 0 else 700)
        data, self.rest = self.rest[:n], self.rest[n:]
        return data


def heard(data: bytes, rate: int = SAMPLE_RATE) -> np.ndarray:
    return np.concatenate(list(piped_blocks(Pipe(data), rate, PIPE)))


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("mp3", "libmp3lame"), ("opus", "libopus"), ("aac", "aac"), ("flac", "flac"), ("mka", "libopus"), ("ts", "aac"),
     ("wav", "pcm_s16le"), ("aiff", "pcm_s16be"), ("au", "pcm_s16be"), ("ac3", "ac3"), ("mp4", "aac")],
)  # fmt: skip
def test_a_piped_file_is_what_the_file_is(tmp_path, suffix, codec):
    path = write_film(tmp_path / f"a.{suffix}", Film(picture=None, codec=codec))
    data = path.read_bytes()
    if suffix == "mp4":  # its index is at its end
        with pytest.raises(UserError, match="cannot be piped: give the file"):
            heard(data)
        audio = np.concatenate(list(piped_blocks(io.BytesIO(data), SAMPLE_RATE, PIPE)))  # < a.mp4
    else:
        audio = heard(data)
    expected = load_audio(path)
    assert abs(len(audio) - len(expected)) <= (0 if suffix not in ("mp3", "flac") else 0.1 * SAMPLE_RATE)
    n = min(len(audio), len(expected)) - 100  # a piped mp3's padding at its end is not known
    np.testing.assert_allclose(audio[:n], expected[:n], atol=1e-6)
    assert (np.abs(click_times(audio) - CLICKS) < 0.08).all()


@pytest.mark.parametrize(
    "start", [b"\xff\xfb\x90\x64", b"\xff\xf1\x50\x80", b"G\0\0\0", b"\0\0\0\0", b"\xff\xff\xff\xff"]
)
def test_raw_pcm_is_raw_pcm(start):
    pcm = start + (clicks(SAMPLE_RATE) * 32767).astype("<i2").tobytes()
    audio = heard(pcm)
    np.testing.assert_array_equal(audio, np.frombuffer(pcm, "<i2") / np.float32(32768))


def test_noise_is_no_container():
    random = np.random.default_rng(0)
    heads = [random.integers(0, 256, 6000, np.uint8).tobytes() for _ in range(5000)]
    assert not any(is_container(head) for head in heads)


def test_only_a_wav_of_no_length_is_still_read(tmp_path):
    """As ffmpeg writes a wav into a pipe: the sizes are all ones."""
    buffer = io.BytesIO()
    soundfile.write(buffer, clicks(48_000), 48_000, format="WAV")
    data = bytearray(buffer.getvalue())
    data[4:8] = data[40:44] = b"\xff" * 4
    np.testing.assert_allclose(click_times(heard(bytes(data))), CLICKS, atol=0.001)


@pytest.mark.parametrize("name", ["https://example.org/a.wav", "rtsp://camera/1"])
def test_addresses_get_a_message(name):
    with pytest.raises(UserError, match="is an address, not a file; download it first"):
        check_sound_file(Path(name))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-a", "-"], "read with --stream"),
        (["-a", "/dev/stdin"], "is a device or pipe"),
        (["-a", "https://example.org/a.wav"], "is an address"),
        (["-a", "/dev/zero"], "is a device or pipe"),
    ],
)
def test_a_program_says_what_to_do(arguments, message):
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "demo.py", *arguments, "--no_video"], cwd=root, input=b"x" * 99,
                          capture_output=True, timeout=100, check=False)  # fmt: skip
    (line,) = done.stderr.decode().splitlines()
    assert done.returncode == 2 and line.startswith("error: ") and message in line


@pytest.mark.parametrize("kind", [b"ftyp", b"moov", b"udta"])
def test_a_box_in_a_pipe_that_declares_gigabytes_is_refused(tmp_path, kind, capfd):
    """FFmpeg would reserve them. Sound (mdat) may be of any size, and a header may arrive byte by byte."""
    data = write_film(tmp_path / "a.mp4", Film(picture=None)).read_bytes()
    head = b"" if kind == b"ftyp" else data[: int.from_bytes(data[:4])]
    with pytest.raises(UserError, match="standard input: declares a part of 2147 MB, so it is damaged; copy it again$"):
        heard(head + b"\x7f\xff\xff\xff" + kind + bytes(4000))
    assert not capfd.readouterr().err
    boxes = _Boxes()
    large = head + (1).to_bytes(4) + b"mdat" + (2**40).to_bytes(8) + b"\x7f\xff\xff\xffmoov"
    assert b"".join(boxes.push(bytes([byte])) for byte in large) == large and not boxes.problem
    boxes = _Boxes()
    bad = (1).to_bytes(4) + b"uuid" + (2**40).to_bytes(8)
    assert b"".join(boxes.push(bytes([byte])) for byte in bad) == bad[:-1] and "1099512 MB" in boxes.problem
