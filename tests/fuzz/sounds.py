"""Audio and video files of every kind, short, as PyAV and soundfile write them, and some with lying headers by hand."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np

from tests.fuzz.seeds import Seed, seed

RATE = 16_000
CONTAINERS = {"aac": "aac", "mp3": "libmp3lame", "opus": "libopus", "m4a": "aac", "mkv": "flac", "mov": "pcm_s16le",
              "webm": "libopus"}  # fmt: skip


def tone(n: int = 3200) -> np.ndarray:
    return (0.3 * np.sin(np.arange(n) * 0.1)).astype(np.float32)


def sounds(folder: Path) -> list[Seed]:
    """A fifth of a second in every container that the README names."""
    import soundfile

    for name, subtype in (
        ("a.wav", "PCM_16"),
        ("f.wav", "FLOAT"),
        ("u.wav", "PCM_U8"),
        ("a.flac", "PCM_16"),
        ("a.aiff", "PCM_16"),
    ):
        soundfile.write(folder / name, tone(), RATE, subtype=subtype)
    soundfile.write(folder / "v.ogg", tone(), RATE, format="OGG", subtype="VORBIS")
    soundfile.write(folder / "two.wav", np.stack([tone(), -tone()], axis=1), 44_100)
    for suffix, codec in CONTAINERS.items():
        encode(folder / f"c.{suffix}", codec)
    encode(folder / "v.mp4", "aac", pictures=True)
    return [seed(path) for path in sorted(folder.iterdir())] + liars()


def encode(path: Path, codec: str, pictures: bool = False) -> None:
    import av

    rate = 48_000 if codec == "libopus" else RATE
    with av.open(str(path), "w") as container:
        voice = container.add_stream(codec, rate=rate, layout="mono")
        video = container.add_stream("libx264", rate=25) if pictures else None
        if video is not None:
            video.width, video.height, video.pix_fmt = 32, 16, "yuv420p"
            for _ in range(5):
                container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((16, 32, 3), np.uint8), "rgb24")))
            container.mux(video.encode(None))
        resampler = av.AudioResampler(
            format=voice.format.name, layout="mono", rate=rate, frame_size=voice.frame_size or None
        )
        frame = av.AudioFrame.from_ndarray(tone()[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(voice.encode(part))
        container.mux(voice.encode(None))


def wav(
    rate: int = RATE, channels: int = 1, bits: int = 16, data: bytes = b"\1\2" * 1600, said: int | None = None
) -> bytes:
    """A wav with any header; `said` is the length that it claims."""
    block = channels * bits // 8
    fmt = struct.pack("<HHIIHH", 1, channels % 65536, rate, rate * block % 2**32, block % 65536, bits)
    size = len(data) if said is None else said
    body = b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", size % 2**32) + data
    return b"RIFF" + struct.pack("<I", (4 + len(body)) % 2**32) + b"WAVE" + body


def liars() -> list[Seed]:
    """Wavs with rates, channels and lengths that nobody has, and playlists in a sound's clothes."""
    import soundfile

    lies = [wav(rate=1), wav(rate=0), wav(rate=2**31 - 1), wav(rate=2**32 - 1), wav(channels=0), wav(channels=2000),
            wav(channels=65535), wav(bits=0), wav(bits=64), wav(data=b""), wav(said=2**32 - 1), wav(said=0),
            wav(channels=64, bits=32, data=bytes(64 * 4 * 100))]  # fmt: skip
    found = [Seed(".wav", data) for data in lies]
    texts = (
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.wav\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile a.wav\n",
    )
    found += [Seed(".wav", text.encode()) for text in texts]
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(400_000, np.int16), RATE, format="FLAC")
    found.append(Seed(".flac", buffer.getvalue()))  # silence: few bytes, many samples
    return found


def flacs(folder: Path) -> list[Seed]:
    """The audio of a data set's segment."""
    return [s for s in sounds(folder) if s.suffix in (".flac", ".wav")]
