"""Reading audio of every kind; wrong files give one-line errors."""

import io
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import soundfile

from utils.errors import UserError
from utils.media.audio import decode_flac_part, encode_flac, load_audio, standardise
from utils.media.sound_file import _full_scale

SECONDS = 1.3
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
# suffix, codec, sample rates it takes, channel counts
CONTAINERS = [
    ("wav", "pcm_s16le", (8000, 44100, 48000), (1, 2, 6)),
    ("flac", "flac", (8000, 44100, 48000), (1, 2, 6)),
    ("mp3", "libmp3lame", (8000, 44100, 48000), (1, 2)),
    ("m4a", "aac", (8000, 44100, 48000), (1, 2, 6)),
    ("mp4", "aac", (44100,), (2,)),
    ("ogg", "libopus", (8000, 48000), (1, 2)),
    ("webm", "libopus", (48000,), (1, 2, 6)),
    ("opus", "libopus", (8000, 48000), (1, 2)),
]
CASES = [(s, c, r, n) for s, c, rates, counts in CONTAINERS for r in rates for n in counts]


def tone(rate: int, seconds: float = SECONDS) -> np.ndarray:
    """440 Hz at amplitude 0.5 with soft ends, (n,) float32."""
    t = np.arange(round(rate * seconds)) / rate
    fade = np.minimum(1, np.minimum(t, seconds - t) / 0.05)
    return (0.5 * fade * np.sin(2 * np.pi * 440 * t)).astype(np.float32)


def write(path: Path, codec: str, rate: int, channels: np.ndarray) -> None:
    """channels (c, n) float32 -> file."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=LAYOUTS[len(channels)])
        formats = [f.name for f in stream.codec_context.codec.audio_formats]
        resampler = av.AudioResampler(format=formats[0], layout=LAYOUTS[len(channels)], rate=rate)
        for start in range(0, channels.shape[1], 960):
            piece = np.ascontiguousarray(channels[:, start : start + 960])
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=LAYOUTS[len(channels)])
            frame.sample_rate, frame.pts = rate, start
            for out in resampler.resample(frame):
                container.mux(stream.encode(out))
        for out in resampler.resample(None):
            container.mux(stream.encode(out))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(("suffix", "codec", "rate", "n_channels"), CASES)
def test_every_container_gives_the_same_mono_tone(tmp_path, suffix, codec, rate, n_channels):
    path = tmp_path / f"a.{suffix}"
    write(path, codec, rate, np.tile(tone(rate), (n_channels, 1)))
    audio = load_audio(path)
    assert audio.dtype == np.float32
    assert audio.ndim == 1
    assert abs(len(audio) - SECONDS * 16000) <= 640, "longer or shorter than the recording by over a frame"
    middle = audio[4000:16000]
    peak = (
        0.5 * 5 / 6 if (codec, n_channels) == ("aac", 6) else 0.5
    )  # AAC keeps only the lows of the sixth, bass channel
    assert np.abs(middle).max() == pytest.approx(peak, abs=0.03)  # identical channels average to themselves
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert abs(spectrum.argmax() * 16000 / len(middle) - 440) < 3


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
def test_lossless_length_and_alignment_are_exact(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", tone(rate), rate, subtype="FLOAT")
    audio = load_audio(tmp_path / "a.wav")
    assert abs(len(audio) - round(SECONDS * 16000)) <= 1
    n = min(len(audio), round(SECONDS * 16000))
    np.testing.assert_allclose(audio[:n], tone(16000)[:n], atol=2e-3)


def test_frames_of_many_planes_are_read_to_their_last_channel():
    """PyAV counts planes up to a null pointer, which is not there for more than 8 channels: a crash."""
    values = np.random.default_rng(0).uniform(-1, 1, (16, 1024)).astype(np.float32)
    planes = [np.pad(channel, (0, 1024)).tobytes() for channel in values] + [b"beyond the last one"]
    layout, form = SimpleNamespace(nb_channels=16), SimpleNamespace(name="fltp", is_planar=True)
    frame = SimpleNamespace(planes=tuple(planes), layout=layout, format=form, samples=1024)
    np.testing.assert_array_equal(_full_scale(frame), values)


def test_channels_are_averaged_not_scaled(tmp_path):
    x = tone(16000)
    soundfile.write(tmp_path / "a.wav", np.stack([x, 0 * x], axis=1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav"), x / 2, atol=1e-6)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_sample_formats_have_full_scale_one(tmp_path, subtype):
    soundfile.write(tmp_path / "a.wav", tone(16000), 16000, subtype=subtype)
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav"), tone(16000), atol=1 / 120 if "U8" in subtype else 1e-4)


def test_sound_of_a_video(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width = video.height = 16
        video.pix_fmt = "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        container.mux(video.encode(picture))
        container.mux(video.encode(None))
    with pytest.raises(UserError, match="no audio stream"):
        load_audio(path)


def test_a_colon_in_the_name_is_no_protocol(tmp_path):
    path = tmp_path / "http:clip.wav"
    soundfile.write(path, tone(16000), 16000)
    assert len(load_audio(path)) == len(tone(16000))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "no such audio file"),
        (lambda p: p.mkdir(), "is a folder"),
        (lambda p: p.write_bytes(b""), "empty"),
        (lambda p: p.write_bytes(b"this is no sound at all, only words" * 99), "not readable as audio"),
        (lambda p: soundfile.write(p, np.zeros(0, np.float32), 16000), "empty"),
        (lambda p: soundfile.write(p, np.zeros(16000), 16000), "silent"),
        (lambda p: soundfile.write(p, np.full(16000, 5e-5), 16000, subtype="FLOAT"), "silent"),
        (lambda p: soundfile.write(p, np.array([0.1, np.nan] * 800), 16000, subtype="FLOAT"), "NaN"),
        (lambda p: soundfile.write(p, np.array([0.1, np.inf] * 800), 16000, subtype="FLOAT"), "infinite"),
    ],
)
def test_mistakes_are_named_in_one_line(tmp_path, make, message):
    path = tmp_path / "clip.wav"
    make(path)
    with pytest.raises(UserError, match=message) as caught:
        load_audio(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def decode_flac(data: bytes) -> np.ndarray:
    return decode_flac_part(data, 0, None)[0]


def test_flac_round_trip_is_exact_to_half_a_step():
    x = np.linspace(-1, 0.9999, 5000).astype(np.float32)
    assert np.abs(decode_flac(encode_flac(x)) - x).max() <= 0.5 / 32768 + 1e-7
    np.testing.assert_array_equal(decode_flac(encode_flac(decode_flac(encode_flac(x)))), decode_flac(encode_flac(x)))
    assert np.abs(decode_flac(encode_flac(np.array([-3.0, 3.0])))).max() <= 1  # clipped, not wrapped


@pytest.mark.parametrize("seconds", [0.04, 4, 600])
def test_flac_of_silence_is_read_but_no_header_is_believed(seconds):
    """Silence is what FLAC makes smallest; a header that promises hours must not take their memory."""
    flac = bytearray(encode_flac(np.zeros(round(seconds * 16000))))
    assert decode_flac(bytes(flac)).shape == (round(seconds * 16000),)
    flac[22:26] = (1000 * len(flac) + 1).to_bytes(4, "big")  # the lower bits of STREAMINFO's sample count
    with pytest.raises(UserError, match="samples are too many for"):
        decode_flac(bytes(flac))


def test_flac_refuses_what_is_not_mono_sound():
    with pytest.raises(ValueError, match="one-dimensional"):
        encode_flac(np.zeros((2, 5)))
    with pytest.raises(ValueError, match="finite"):
        encode_flac(np.array([0.0, np.nan]))
    with pytest.raises(UserError, match="damaged"):
        decode_flac(b"fLaC nonsense")
    with pytest.raises(UserError, match="8000 Hz"):
        decode_flac(encode_flac(np.zeros(100), 8000))


@pytest.mark.parametrize(("start", "stop"), [(0, 100), (5000, 9000), (12000, None), (15990, 17000), (20000, 21000)])
def test_a_part_of_flac_is_that_part_of_the_whole(start, stop):
    data = encode_flac(np.random.default_rng(0).uniform(-0.5, 0.5, 16000))
    part, total = decode_flac_part(data, start, stop)
    assert total == 16000
    np.testing.assert_array_equal(part, decode_flac(data)[start:stop])


@pytest.mark.parametrize("dtype", ["float32", "int16"])
@pytest.mark.parametrize(("start", "stop"), [(0, None), (5000, 9100), (15990, 17000)])
def test_flac_holds_the_exact_16_bit_samples(start, stop, dtype):
    sound = np.random.default_rng(0).uniform(-1.1, 1.1, 16000)
    stored = np.clip(np.round(sound * 32768), -32768, 32767).astype(np.int16)
    part, total = decode_flac_part(encode_flac(sound), start, stop, dtype=dtype)
    assert (total, part.dtype) == (16000, dtype)
    np.testing.assert_array_equal(part, (stored if dtype == "int16" else stored / np.float32(32768))[start:stop])


@pytest.mark.parametrize(
    ("samples", "subtype", "channels"), [(9000, "PCM_16", 1), (100, "PCM_24", 1), (100, "PCM_16", 2)]
)
def test_flac_of_other_widths_and_channels_is_read(samples, subtype, channels):
    buffer = io.BytesIO()
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (samples, channels))
    soundfile.write(buffer, sound, 16000, format="FLAC", subtype=subtype)
    data = buffer.getvalue()
    expected = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0].mean(axis=1)
    np.testing.assert_allclose(decode_flac_part(data, 0, 100)[0], expected[:100], atol=1e-7)
    with pytest.raises(UserError, match="16000 Hz, not 8000"):
        decode_flac_part(data, 0, 100, 8000)


def test_flac_is_not_decoded_beyond_what_it_says_it_has():
    """Frames repeated three hundred times, as by `tests.fuzz`: 100 MB from a file of some kB."""
    data = encode_flac(np.zeros(160000))
    longer = data + 300 * data[-300:]
    assert len(decode_flac(longer)) == 160000


def test_damaged_flac_is_refused():
    data = bytearray(encode_flac(np.random.default_rng(0).uniform(-0.5, 0.5, 16000)))
    data[9000:9100] = bytes(100)
    for damaged in (data, data[:50], data[:9000]):
        with pytest.raises(UserError, match="damaged FLAC"):
            decode_flac(bytes(damaged))


def test_standardise_matches_the_published_formula():
    x = np.random.default_rng(0).normal(0.2, 0.05, 1000).astype(np.float32)
    expected = (x.astype(np.float64) - x.mean(dtype=np.float64)) / (x.std(ddof=1, dtype=np.float64) + 1e-5)
    np.testing.assert_allclose(standardise(x), expected, atol=1e-6)
    assert np.isfinite(standardise(np.zeros(10))).all()
    assert np.isfinite(standardise(np.ones(1))).all()
