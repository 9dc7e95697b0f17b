"""Live speech: frames whatever the block size, in time, joined smoothly; sources, outputs and mistakes."""

import io
import json
import os
import sys
import threading

import numpy as np
import pytest
import soundfile
import torch
from torch.profiler import ProfilerActivity, profile

import demo
import utils.media.live_audio
from models.app.live_session import FileAtTheEnd, open_output, run_live
from models.audio import whisper
from models.diffusion.solvers import SamplerConfig
from models.fast.engine import Engine
from models.generation.animator import Animator
from models.generation.continuation import faded
from models.generation.live import LiveConfig, LiveTalker, next_pieces
from models.generation.windows import GenerationConfig
from models.networks.person import Person
from tests.models.generation.test_audio_stream import tiny_hubert, whisper_talker
from tests.support.demo_workspace import STATS, speech
from tests.support.tiny_talker import make_talker
from tests.support.video_probe import probe
from utils.coefs import CoefStats, MotionCodec
from utils.errors import UserError
from utils.media.frame_writers import LineWriter, csv_header
from utils.media.live_audio import live_blocks, pcm_blocks
from utils.motion_file import Motion, joined, load_motion
from utils.timebase import SAMPLE_RATE

CONFIG = GenerationConfig(sampler=SamplerConfig("ddim", 2), fresh_noise=True)
PERSON = Person(np.zeros(100, np.float32))


def animator(model) -> Animator:
    return Animator(model, MotionCodec(model.config.layout, CoefStats.load(STATS)), published=False)


def talk(model, audio: np.ndarray, size: int, **live) -> list[Motion]:
    talker = LiveTalker(animator(model), PERSON, CONFIG, LiveConfig(**live))
    return list(talker.talk(audio[i : i + size] for i in range(0, len(audio), size)))


@pytest.fixture(scope="module")
def model():
    return whisper_talker()


@pytest.mark.parametrize("seconds", [0.04, 0.1, 0.5, 0.61, 3.0, 6.33])
def test_all_frames_come(model, seconds):
    made = talk(model, speech(seconds), 1000)
    whole = joined(made)
    assert len(whole) == int(round(seconds * SAMPLE_RATE)) // 640
    assert np.isfinite(whole.exp).all() and whole.pose.shape == (len(whole), 6)


@pytest.mark.parametrize("make", [whisper_talker, tiny_hubert, make_talker], ids=["whisper", "hubert", "stub"])
def test_blocks_of_any_size_give_the_same(make):
    model, audio = make(), speech(2.5)
    expected = joined(talk(model, audio, 320))
    for size in (160, 2222, len(audio)):
        np.testing.assert_array_equal(joined(talk(model, audio, size)).exp, expected.exp)


def test_pieces_come_as_soon_as_their_audio(model):
    """First 0.4 s + 0.2 s ahead, then every 0.6 s."""
    talker = LiveTalker(animator(model), PERSON, CONFIG)
    audio, came = speech(3), []
    for frame in range(75):
        came += [(frame + 1, len(m)) for m in talker.push(audio[frame * 640 : (frame + 1) * 640])]
    assert came == [(15, 10), (30, 15), (45, 15), (60, 15), (75, 15)]
    assert [len(m) for m in talker.finish()] == [5]
    assert talker.finish() == []


def test_memory_is_bounded(model):
    talker = LiveTalker(animator(model), PERSON, CONFIG, LiveConfig(hop=4.0, first_hop=4.0))
    audio = speech(1)
    for _ in range(30):
        talker.push(audio)
    assert talker.done == 700
    assert len(talker._audio) < 11 * SAMPLE_RATE


def test_waiting_audio_is_made_at_once(model):
    audio = speech(4)
    assert [len(m) for m in talk(model, audio, len(audio), catch_up=True)][:1] == [90]
    assert [len(m) for m in talk(model, audio, len(audio))][:3] == [10, 15, 15]


@pytest.fixture
def windows(monkeypatch):
    """What the network is given, window by window."""
    seen, run = [], Engine.run
    monkeypatch.setattr(Engine, "run", lambda self, given, *rest: seen.append(given) or run(self, given, *rest))
    return seen


def test_the_network_is_told_what_is_padding(model, windows):
    talk(model, speech(1.4), 640)
    assert [given.indicator.sum().item() for given in windows] == [
        15,
        20,
        10,
    ]  # hops of 10 and 15 frames with 5 ahead, then the 10 that are left


def test_short_windows(model, windows):
    """The network sees 25 frames of a hop, and more if more are waiting; all frames come."""
    audio = speech(4)
    made = joined(talk(model, audio, 640, short=25))
    assert {given.audio.shape[1] for given in windows} == {25} and len(made) == 100 and np.isfinite(made.exp).all()
    windows.clear()
    assert len(joined(talk(model, audio, len(audio), short=25, catch_up=True))) == 100
    assert [given.audio.shape[1] for given in windows] == [100, 25]
    whole = joined(talk(model, audio, 640))
    assert not np.array_equal(whole.exp, made.exp)
    np.testing.assert_array_equal(joined(talk(model, audio, 640, short=100)).exp, whole.exp)


def test_the_encoder_hears_less(model, monkeypatch):
    """50 frames and what surrounds them, whole windows if a piece needs more; the features stay close."""
    seen, audio = [], speech(4)
    mel_power = whisper.mel_power
    monkeypatch.setattr(whisper, "mel_power", lambda x, n: seen.append(x.shape[1]) or mel_power(x, n))
    made = joined(talk(model, audio, 640, hop=0.2, look_ahead=0.04, heard=50))
    assert set(seen) == {50 * 640 + 2 * whisper.SURROUNDINGS} and len(made) == 100
    seen.clear()
    assert len(joined(talk(model, audio, len(audio), heard=50, catch_up=True))) == 100
    assert seen[0] == 100 * 640 + 2 * whisper.SURROUNDINGS > seen[-1]
    whole = joined(talk(model, audio, 640, hop=0.2, look_ahead=0.04))
    assert 0 < np.abs(whole.exp - made.exp).max() < 0.5 * np.abs(whole.exp).max()
    with pytest.raises(UserError, match="--heard 10: must be more"):
        LiveConfig(heard=10)


def test_pieces_of_many_talkers_cost_few_calls_each(model):
    """Talkers in different places share a batch, and get what they get alone; each costs a dozen operators at most."""
    calls = {}
    for n in (3, 9):
        alone, together = ([LiveTalker(animator(model), PERSON, CONFIG, LiveConfig(hop=0.2, catch_up=True), i)
                            for i in range(n)] for _ in range(2))  # fmt: skip
        for shared in together:
            shared.animator, shared.sample.generator = together[0].animator, together[0].sample.generator
        for k in range(3):
            for i, pair in enumerate(zip(alone, together)):
                for talker in pair:
                    talker.hear(speech(1.0)[: 640 * (20 + 5 * (i % 3) * k)])
            expected = [next_pieces([talker])[0] for talker in alone]
            with profile(activities=[ProfilerActivity.CPU]) as seen:
                found = next_pieces(together)
            for a, b in zip(expected, found, strict=True):
                np.testing.assert_allclose(a.exp, b.exp, atol=2e-5)
        calls[n] = sum(event.count for event in seen.key_averages())
    assert calls[9] - calls[3] < 6 * 15


def test_fading():
    old, new = torch.ones(2, 6, 2), torch.zeros(2, 6, 2)
    out, unfaded = faded(old, new, torch.tensor([4, 0]))
    assert out.shape == (6, 2)
    assert (out[:4, 0].diff() < 0).all() and 0.85 < out[0, 0] < 1 and 0 < out[3, 0] < 0.15
    assert (out[4:] == 0).all()
    assert torch.equal(unfaded, new[1])
    assert torch.equal(faded(old, old, torch.tensor([4, 6])), old)


def test_an_offset_and_the_loudness_do_not_matter(model):
    audio = speech(2)
    quiet, loud = (joined(talk(model, a, 640)) for a in (audio, 3 * audio + np.float32(0.1)))
    assert np.abs(quiet.exp - loud.exp).max() < 0.02 * np.abs(quiet.exp).max()


def test_noise_before_the_voice_is_not_taken_for_speech(model):
    """Level with the floor: samples 60 dB below speech stay far below the level of speech."""
    talker = LiveTalker(animator(model), PERSON, CONFIG)
    talker.push(1e-4 * speech(1))
    scaled = talker._encoder.scaled(talker._audio.samples, talker.scale, 0.005)
    assert np.abs(scaled).max() < 0.01


def test_wrong_settings():
    for flags in ({"hop": 0.03}, {"hop": 5.0}, {"hop": float("nan")}, {"look_ahead": -1.0}, {"short": 0}):
        with pytest.raises(UserError, match=r"^--(hop|look_ahead|short) "):
            LiveConfig(**flags)


def test_nan_is_refused(model):
    with pytest.raises(UserError, match="NaN"):
        LiveTalker(animator(model), PERSON, CONFIG).push(np.full(10, np.nan, np.float32))


# Sources and outputs


class Trickle(io.RawIOBase):
    """Bytes in pieces of odd size, as pipes give them."""

    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)

    def read(self, n: int = -1) -> bytes:
        return self.data.read(min(n, 333))


@pytest.mark.parametrize("rate", [16000, 48000])
def test_raw_pcm(rate):
    tone = 0.5 * np.sin(2 * np.pi * 200 * np.arange(rate) / rate)
    blocks = list(pcm_blocks(Trickle((tone * 32767).astype("<i2").tobytes() + b"\x01"), rate))
    heard = np.concatenate(blocks)
    assert heard.dtype == np.float32 and abs(len(heard) - 16000) <= 2
    expected = 0.5 * np.sin(2 * np.pi * 200 * np.arange(len(heard)) / 16000)
    assert np.abs(heard - expected)[200:-200].max() < 2e-3


def test_named_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    data = (np.arange(5000) % 100).astype("<i2").tobytes()
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(data))
    writer.start()
    heard = np.concatenate(list(live_blocks(str(tmp_path / "pipe"))))
    writer.join()
    np.testing.assert_allclose(heard * 32768, np.arange(5000) % 100)


def test_sources_that_are_none(monkeypatch):
    with pytest.raises(UserError, match="--pcm_rate 5"):
        live_blocks("-", 5)
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    with pytest.raises(UserError, match="terminal"):
        live_blocks("-")
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(UserError, match="pip install sounddevice"):
        live_blocks("mic")


def test_a_microphone(monkeypatch):
    """A stand-in for sounddevice that calls back with two blocks."""

    class Stream:
        def __init__(self, rate, size, channels, callback):
            assert (rate, size, channels) == (16000, 640, 1)
            self.callback = callback

        def __enter__(self):
            for value in (0.1, 0.2):
                self.callback(np.full((640, 1), value, np.float32), 640, None, None)

        def __exit__(self, *_):
            pass

    fake = type(sys)("sounddevice")
    fake.InputStream, fake.PortAudioError = Stream, RuntimeError
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    blocks = utils.media.live_audio.microphone()
    assert [next(blocks)[0] for _ in range(2)] == [np.float32(0.1), np.float32(0.2)]


def motion(n: int, first: float = 0.0) -> Motion:
    exp = first + np.arange(n * 50, dtype=np.float32).reshape(n, 50) / 1000
    return Motion(exp, np.full((n, 6), 0.5, np.float32), np.zeros(100, np.float32))


def test_lines_of_json_and_csv(tmp_path):
    for name in ("f.ndjson", "f.csv"):
        writer = LineWriter(tmp_path / "new" / name)
        writer.write(motion(3))
        assert len((tmp_path / "new" / name).read_text().splitlines()) == 3 + (name == "f.csv")  # already there
        writer.write(motion(2, 1.0))
        writer.close()
    lines = [json.loads(line) for line in (tmp_path / "new" / "f.ndjson").read_text().splitlines()]
    assert [(x["frame"], x["time"]) for x in lines] == [(i, i / 25) for i in range(5)]
    assert len(lines[0]["exp"]) == 50 and lines[4]["pose"] == [0.5] * 6
    rows = (tmp_path / "new" / "f.csv").read_text().splitlines()
    assert rows[0] == csv_header() and all(row.count(",") == 57 for row in rows)
    assert [float(x) for x in rows[4].split(",")[:3]] == [3.0, 0.12, 1.0]


def test_outputs_that_are_none(tmp_path):
    with pytest.raises(UserError, match=r"must end in \.ndjson"):
        open_output("x.avi", None)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        open_output(tmp_path / "file" / "x.csv", None)


def test_a_session_ends_with_an_interrupt_and_keeps_everything(model, tmp_path):
    def microphone():
        yield speech(1.5)
        raise KeyboardInterrupt

    output = FileAtTheEnd(tmp_path / "m.npz", None)
    report = run_live(LiveTalker(animator(model), PERSON, CONFIG), microphone(), output)
    assert len(load_motion(tmp_path / "m.npz")) == report.n_frames == 37
    assert report.audio_seconds == 1.5 and report.busy_seconds > 0
    with pytest.raises(UserError, match="less than one frame"):
        run_live(
            LiveTalker(animator(model), PERSON, CONFIG), [np.zeros(5, np.float32)], FileAtTheEnd(tmp_path / "n", None)
        )


# demo.py --stream

ARGS = ["--exp_name", "head", "--coef_stats", str(STATS), "--device", "cpu", "--sampler", "ddim", "--steps", "2"]


@pytest.fixture
def space(space):
    soundfile.write(space.input / "audio" / "longer.wav", speech(1.3), SAMPLE_RATE)
    return space


def test_stream_to_standard_output(space, capsys):
    demo.main([*ARGS, "--stream", "-a", "longer.wav", "--no_head"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["frame"] for line in lines] == list(range(32))
    assert all(line["pose"][:3] == [0, 0, 0] for line in lines)


def test_stream_of_standard_input(space, monkeypatch):
    pcm = io.BytesIO((speech(0.9) * 32767).astype("<i2").tobytes())
    monkeypatch.setattr(sys, "stdin", type("Pipe", (), {"isatty": lambda self: False, "buffer": pcm})())
    demo.main([*ARGS, "--stream", "-a", "-", "-o", "x.ndjson", "--hop", "0.2"])
    assert len((space.root / "x.ndjson").read_text().splitlines()) == 22


def test_stream_into_a_video(space):
    demo.main([*ARGS, "--stream", "-a", "speech.wav", "-o", "x.mp4"])
    info = probe("x.mp4")
    assert (info.n_frames, info.audio_codec) == (7, "aac")


@pytest.mark.parametrize(
    "flags,expected",
    [
        (["--hop", "9"], "--hop 9"),
        (["-o", "x.avi"], "must end in .ndjson"),
        (["-n", "2"], "--n_repetitions 2"),
        (["-a", "nosuch.wav"], "nosuch.wav"),
        (["-a", "text.wav", "-o", "x.csv"], "not readable as audio"),
        (["--look_ahead", "3"], "--look_ahead 3"),
    ],
)
def test_stream_mistakes(space, capsys, flags, expected):
    (space.input / "audio" / "text.wav").write_bytes(b"no audio " * 99)
    with pytest.raises(SystemExit) as end:
        demo.main([*ARGS, "--stream", "-a", "speech.wav", *flags])
    assert end.value.code == 2
    assert expected in capsys.readouterr().err
    assert space.written() == []
