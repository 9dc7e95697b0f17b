"""Sound on the picture's clock, damaged, of several tracks and channels: right times and right values."""

import numpy as np
import pytest
import soundfile

from tests.support.films import CLICKS, Film, click_times, clicks, write_film
from tests.utils.media.test_piped_sound import heard
from utils.errors import UserError
from utils.media.audio import SoundPart, load_audio, own_sound
from utils.media.video import write_video

MS = 0.001
SINE = (0.4 * np.sin(2 * np.pi * 220 * np.arange(48_000 * 2) / 48_000)).astype(np.float32)


def read(path, **part):
    notes = []
    return load_audio(path, part=SoundPart(**part), notes=notes), notes


@pytest.mark.parametrize("late", [0.146, 0.4, 0.02])
@pytest.mark.parametrize(
    ("suffix", "film"),
    [
        ("mp4", {}),
        ("mov", {}),
        ("mkv", {}),
        ("mkv", {"codec": "libmp3lame"}),
        ("webm", {"codec": "libopus", "video": "libvpx"}),
        ("ts", {"video": "mpeg2video"}),
        ("flv", {"video": "flv", "rate": 44_100}),
    ],
)
def test_sound_that_begins_late_lies_where_the_picture_says(tmp_path, suffix, film, late):
    path = write_film(tmp_path / f"a.{suffix}", Film(sound=late, **film))
    audio, notes = read(path)
    np.testing.assert_allclose(click_times(audio), np.add(CLICKS, late), atol=MS)
    assert len(notes) == (late > 0.025) and all("after the picture" in note for note in notes)
    own = np.concatenate(list(own_sound(path).pieces), axis=1)[0]
    np.testing.assert_allclose(click_times(own, film.get("rate", 48_000)), np.add(CLICKS, late), atol=MS)
    early, _ = read(path, clock="sound")
    # AAC and mp3 in some containers begin with the encoder's delay; time stamps count it
    assert (np.abs(click_times(early) - CLICKS) < 24 * MS).all()


def test_sound_that_begins_early_is_cut(tmp_path):
    audio, notes = read(write_film(tmp_path / "a.mp4", Film(picture=0.4)))
    np.testing.assert_allclose(click_times(audio), np.subtract(CLICKS, 0.4), atol=MS)
    assert notes == ["the sound begins 400 ms before the picture: what came before is left out"]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "mov"])
def test_lost_packets_leave_what_follows_in_its_place(tmp_path, suffix):
    video = "mpeg2video" if suffix == "ts" else "libx264"
    path = write_film(tmp_path / f"a.{suffix}", Film(lost=tuple(range(30, 42)), video=video))
    audio, (note,) = read(path)
    lost = 12 * 1024 / 48_000
    assert lost * 16_000 * 0.8 < (np.abs(audio[8000:16000]) < 1e-6).sum() < lost * 16_000 * 1.2
    np.testing.assert_allclose(click_times(audio), CLICKS, atol=MS)
    assert "256 ms are missing in 1 places" in note or "255" in note or "257" in note


def test_too_much_lost_is_refused(tmp_path):
    with pytest.raises(UserError, match="% of the sound is damaged or missing"):
        read(write_film(tmp_path / "a.mkv", Film(lost=tuple(range(30, 100)))))


def damage(path, begin: float, end: float, seed: int = 0):
    """Random bytes between two shares of a file."""
    data = bytearray(path.read_bytes())
    a, b = round(begin * len(data)), round(end * len(data))
    data[a:b] = np.random.default_rng(seed).integers(0, 256, b - a, np.uint8).tobytes()
    path.write_bytes(bytes(data))


def recording(path, codec):
    """4 s of clicks in noise, so that bytes are spread evenly over time."""
    sound = clicks(seconds=4) + 0.05 * np.random.default_rng(5).standard_normal(4 * 48_000).astype(np.float32)
    if codec == "vorbis":
        soundfile.write(path, sound, 48_000, format="OGG", subtype="VORBIS")
    else:
        write_film(path, Film(picture=None, codec=codec, seconds=4), [sound.astype(np.float32)[None]])
    return path


FORMATS = {"mp3": "libmp3lame", "ogg": "vorbis", "opus": "libopus", "flac": "flac", "m4a": "aac"}


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_damaged_stretch_is_silence_and_said(tmp_path, suffix):
    """7 % in the middle: what comes after it stays in its place; 70 % are refused."""
    path = recording(tmp_path / f"a.{suffix}", FORMATS[suffix])
    whole, intact = load_audio(path), path.read_bytes()
    np.testing.assert_allclose(click_times(whole), CLICKS, atol=MS)
    damage(path, 0.38, 0.45)
    audio, (note,) = read(path)
    assert "ms are missing in" in note
    assert abs(len(audio) - len(whole)) < 0.01 * 16_000
    found = click_times(audio)  # a page of ogg holds up to a second: clicks in it are lost
    assert len(found) >= 2 and all(np.abs(np.subtract(CLICKS, time)).min() < MS for time in found)
    path.write_bytes(intact)
    damage(path, 0.15, 0.8)
    with pytest.raises(UserError, match="damaged or missing|not readable"):
        read(path)


@pytest.mark.parametrize("seed", range(4))
def test_what_follows_damage_in_raw_aac_stays_in_its_place(tmp_path, seed):
    """ADTS has no time stamps: lost bytes count as so many whole packets, and tags between packets as none."""
    path = recording(tmp_path / "a.aac", "aac")
    whole = load_audio(path)
    times = click_times(whole)
    np.testing.assert_allclose(np.diff(times), np.diff(CLICKS), atol=MS)
    data = path.read_bytes()
    headers = [i for i in range(len(data)) if data[i : i + 4] == data[:4]]
    tag = b"ID3\4\0\0\0\0\3\0" + bytes(3 * 128)
    path.write_bytes(
        b"".join(data[a:b] + tag for a, b in zip([0, headers[50]], [headers[50], headers[120]])) + data[headers[120] :]
    )
    np.testing.assert_allclose(click_times(load_audio(path)), times, atol=MS)
    path.write_bytes(data)
    damage(path, 0.38, 0.45, seed)
    audio, (note,) = read(path)
    assert "ms are missing in" in note and abs(len(audio) - len(whole)) < 16_000 * MS
    np.testing.assert_allclose(click_times(audio), times, atol=MS)
    np.testing.assert_allclose(heard(path.read_bytes()), audio, atol=1e-6)


def test_a_lost_page_of_ogg_is_a_second_of_silence(tmp_path):
    """libopus makes pages of a second: without the third one today's length would be 3 s."""
    path = recording(tmp_path / "a.opus", "libopus")
    data = path.read_bytes()
    pages = [i for i in range(len(data)) if data[i : i + 4] == b"OggS"]
    path.write_bytes(data[: pages[3]] + data[pages[4] :])
    audio, (note,) = read(path)
    assert abs(len(audio) / 16_000 - 4) < 0.01 and "1000 ms are missing in 1 places" in note
    assert (np.abs(audio[16_500:31_500]) < 0.02).all()
    np.testing.assert_allclose(click_times(audio)[0], 0.5, atol=MS)


def test_a_file_that_breaks_off_is_said_or_refused(tmp_path):
    path = recording(tmp_path / "a.flac", "flac")
    data = path.read_bytes()
    path.write_bytes(data[: round(0.85 * len(data))])
    audio, (note,) = read(path)
    assert 3.2 < len(audio) / 16_000 < 3.5 and "missing" in note
    path.write_bytes(data[: round(0.5 * len(data))])
    with pytest.raises(UserError, match="damaged or missing"):
        read(path)


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_wav_that_breaks_off_is_said(tmp_path, subtype):
    path = tmp_path / "a.wav"
    soundfile.write(path, SINE, 48_000, subtype=subtype)
    data = path.read_bytes()
    assert read(path)[1] == []
    path.write_bytes(data[: len(data) // 2])
    audio, notes = read(path)
    assert len(audio) == pytest.approx(16_000, abs=50)
    assert notes == ["it breaks off: its header promises 2.0 s, 1.0 s are there"]


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_promises_nothing(tmp_path, size):
    path = tmp_path / "a.wav"
    soundfile.write(path, SINE, 48_000, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    at = data.find(b"data") + 4
    data[at : at + 4] = size.to_bytes(4, "little")
    path.write_bytes(data)
    audio, notes = read(path)
    assert (len(audio), notes) == (32_000, [])


def test_two_joined_mp3_are_one(tmp_path):
    one = write_film(tmp_path / "a.mp3", Film(picture=None, codec="libmp3lame"))
    (tmp_path / "two.mp3").write_bytes(one.read_bytes() * 2)
    audio, _ = read(tmp_path / "two.mp3")
    assert abs(len(audio) / 16_000 - 6) < 0.15
    assert len(click_times(audio)) == 6


@pytest.mark.parametrize("right", [-1.0, -0.9])
def test_opposite_phase_is_heard(tmp_path, right):
    soundfile.write(tmp_path / "a.wav", np.stack([SINE, right * SINE], 1), 48_000)
    audio, (note,) = read(tmp_path / "a.wav")
    expected = 0.4 * np.sin(2 * np.pi * 220 * np.arange(32_000) / 16_000)
    np.testing.assert_allclose(audio[100:-100], expected[100:-100], atol=2e-3)
    assert "channel 1, the loudest" in note


@pytest.mark.parametrize("first", ["silence", "music"])
def test_the_track_that_is_heard(tmp_path, first):
    music = np.zeros_like(SINE) if first == "silence" else SINE
    path = write_film(tmp_path / "a.mkv", Film(seconds=2), [np.stack([music, music]), clicks(seconds=2)[None]])
    audio, (note,) = read(path)
    assert "has 2 audio tracks" in note and "--audio_track" in note
    assert (len(click_times(audio)) == 2) == (first == "silence")
    np.testing.assert_allclose(click_times(read(path, track=2)[0]), CLICKS[:2], atol=MS)
    with pytest.raises(UserError, match="--audio_track 3: .* has 2 audio tracks"):
        read(path, track=3)
    if first == "silence":
        with pytest.raises(UserError, match="silent"):
            read(path, track=1)


@pytest.mark.parametrize(("bits", "subtype"), [(15, "FLOAT"), (23, "DOUBLE"), (31, "DOUBLE")])
def test_float_files_with_whole_numbers_are_scaled(tmp_path, bits, subtype):
    soundfile.write(tmp_path / "a.wav", np.round(SINE.astype(np.float64) * 2**bits), 48_000, subtype=subtype)
    audio, (note,) = read(tmp_path / "a.wav")
    assert np.abs(audio).max() == pytest.approx(0.4, abs=2e-3) and f"{bits + 1} bits" in note
    own = np.concatenate(list(own_sound(tmp_path / "a.wav").pieces), axis=1)
    np.testing.assert_allclose(own[0], SINE, atol=1e-4)


def test_float_files_beyond_whole_numbers_are_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", SINE * np.float32(1e30), 48_000, subtype="FLOAT")
    with pytest.raises(UserError, match=r"a.wav: its float samples go up to 4e\+29.*export it again"):
        read(tmp_path / "a.wav")


def test_own_sound_is_the_files(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (44_100, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", noise, 44_100, subtype="FLOAT")
    sound = own_sound(tmp_path / "a.wav")
    assert sound.sample_rate == 44_100 and sound.layout in ("stereo", "2 channels")
    np.testing.assert_array_equal(np.concatenate(list(sound.pieces), axis=1).T, noise)


@pytest.mark.parametrize(
    ("rate", "channels"), [(8000, 1), (44_100, 1), (44_100, 2), (48_000, 2), (96_000, 2), (48_000, 6), (22_050, 3)]
)
def test_a_video_has_the_files_own_sound(tmp_path, rate, channels):
    """AAC at 48 kHz with the source's channels, level and times; the highs that 16 kHz cannot hold stay."""
    tones = [np.sin(2 * np.pi * (300 + 50 * k) * np.arange(3 * rate) / rate) for k in range(channels)]
    source = 0.2 * np.stack(tones) + 0.5 * clicks(rate)[None]
    soundfile.write(tmp_path / "a.wav", source.T, rate, subtype="FLOAT")
    write_video(tmp_path / "a.mp4", [np.zeros((16, 16, 3), np.uint8)] * 75, 75, 25, own_sound(tmp_path / "a.wav"))
    made = own_sound(tmp_path / "a.mp4")
    sound = np.concatenate(list(made.pieces), axis=1)
    kept = 1 if channels == 3 else channels  # three without names are averaged
    assert made.sample_rate == 48_000 and len(sound) == kept and abs(sound.shape[1] - 3 * 48_000) < 10
    np.testing.assert_allclose(click_times(sound[0], 48_000), CLICKS, atol=MS)
    expected = source.mean(axis=0)[None] if channels == 3 else source
    middle = slice(round(2.2 * 48_000), round(2.8 * 48_000))
    for k in range(kept):
        if k != 3:  # AAC keeps only the lows of the bass channel
            wanted = np.interp(np.arange(3 * 48_000) / 48_000, np.arange(3 * rate) / rate, expected[k])
            assert np.corrcoef(sound[k, middle], wanted[middle])[0, 1] > 0.999
            assert np.std(sound[k, middle]) == pytest.approx(np.std(wanted[middle]), rel=0.02)


def test_highs_stay_in_the_video(tmp_path):
    high = 0.3 * np.sin(2 * np.pi * 12_000 * np.arange(48_000) / 48_000)
    soundfile.write(tmp_path / "a.wav", high, 48_000)
    write_video(tmp_path / "a.mp4", [np.zeros((16, 16, 3), np.uint8)] * 25, 25, 25, own_sound(tmp_path / "a.wav"))
    sound = np.concatenate(list(own_sound(tmp_path / "a.mp4").pieces), axis=1)[0]
    assert np.std(sound[10_000:40_000]) == pytest.approx(0.3 / np.sqrt(2), rel=0.03)
