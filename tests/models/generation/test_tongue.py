"""The tongue is heard: in real speech, in files, long recordings and streams alike, beside unchanged coefficients."""

import json

import numpy as np
import pytest
import torch

from models.app.bundled import INPUT
from models.audio.whisper import WhisperEncoder
from models.generation import tongue
from models.generation.live import LiveTalker
from models.generation.tongue import SOUND_OF, TONGUE_WEIGHTS, TongueReader
from models.heads.flame import load_flame
from models.mixing.config import MixerConfig
from models.mixing.mixer import Mixer
from scripts_for_dataset.train_tongue import real_frames, recalls, sound_shares
from tests.models.generation.test_audio_stream import pieces, scale_of, tiny_hubert, whisper_talker
from tests.models.generation.test_live import CONFIG, PERSON, animator
from utils.errors import UserError
from utils.exports.arkit import arkit_of_open_head
from utils.media.audio import load_audio
from utils.media.frame_writers import LineWriter
from utils.motion_file import joined
from utils.speech import Phone
from utils.timebase import SAMPLE_RATE

SPOKEN = ("arctic_a0009", "librivox_austen_0870", "arctic_a0007")


def spoken(seconds: int) -> np.ndarray:
    return load_audio(INPUT / "audio" / f"{SPOKEN[1]}.flac")[: seconds * SAMPLE_RATE]


@pytest.fixture(scope="module")
def talking():
    found = animator(whisper_talker())
    found.know_head(load_flame().head, carried=False)
    return found


def test_real_speech_is_read():
    rows = {name: row for name, *row in recalls(TongueReader.load(), real_frames(WhisperEncoder.load(), SPOKEN))}
    assert TONGUE_WEIGHTS.stat().st_size < 200e3
    for sound in ("th", "l", "t d n"):
        n, found, rightly = rows[sound]
        assert n >= 4 and found > 0.85 and rightly > 0.7, sound


def test_shares_of_sounds():
    shares = sound_shares([Phone("sil", 0, 0.08), Phone("th", 0.08, 0.16), Phone("ah", 0.16, 0.24)], 6)
    np.testing.assert_allclose(shares[:, SOUND_OF["th"]], [0, 0.25, 0.75, 0.75, 0.25, 0])
    np.testing.assert_allclose(shares.sum(1), 1)


def test_files_long_recordings_and_streams_have_it(talking):
    audio = spoken(7)
    (whole,) = talking(audio, PERSON, CONFIG, [0])
    assert whole.tongue.shape == (len(whole), 2) and whole.tongue.dtype == np.float32
    assert whole.tongue[:, 1].max() > 0.5 and whole.tongue.min() >= 0
    long = joined(list(talking.long(pieces(audio, 7001), scale_of(audio), PERSON, CONFIG, 0)))
    np.testing.assert_allclose(long.tongue, whole.tongue, atol=2e-3)
    live = joined(list(LiveTalker(talking, PERSON, CONFIG).talk(pieces(audio, 4000))))
    assert len(live.tongue) == len(whole)
    assert np.corrcoef(live.tongue[:, 1], whole.tongue[:, 1])[0, 1] > 0.9


def test_coefficients_do_not_depend_on_it(talking):
    audio = spoken(3)
    (found,) = talking(audio, PERSON, CONFIG, [0])
    (plain,) = animator(talking.model)(audio, PERSON, CONFIG, [0])
    assert plain.tongue is None
    np.testing.assert_array_equal(found.exp, plain.exp)
    np.testing.assert_array_equal(found.pose, plain.pose)


def test_other_encoders_have_none():
    found = animator(tiny_hubert())
    found.know_head(load_flame().head, carried=False)
    assert found.tongue is None


def test_the_mixer_switches_it_off(talking):
    (motion,) = talking(spoken(3), PERSON, CONFIG, [0])
    off = Mixer(MixerConfig(gain=("tongue=0",))).push(motion)
    assert not off.tongue.any() and motion.tongue.any()
    np.testing.assert_array_equal(off.exp, motion.exp)
    slow, whole = Mixer(MixerConfig(smooth=("tongue=0.2",))), Mixer(MixerConfig(smooth=("tongue=0.2",))).push(motion)
    parts = joined([slow.push(motion.cut(slice(i, i + 7))) for i in range(0, len(motion), 7)])
    np.testing.assert_array_equal(parts.tongue, whole.tongue)
    assert np.abs(np.diff(whole.tongue, axis=0)).max() < np.abs(np.diff(motion.tongue, axis=0)).max()


def test_outputs_have_it(talking, tmp_path):
    (motion,) = talking(spoken(3), PERSON, CONFIG, [0])
    writer = LineWriter(tmp_path / "a.ndjson")
    writer.write(motion)
    writer.close()
    lines = [json.loads(line)["tongue"] for line in (tmp_path / "a.ndjson").read_text().splitlines()]
    np.testing.assert_allclose(lines, motion.tongue, atol=1e-5)
    track = arkit_of_open_head(load_flame().head, motion)
    np.testing.assert_allclose(track.column("tongueOut"), motion.tongue[:, 0], atol=1e-6)


def test_damaged_weights_are_one_line(tmp_path, monkeypatch):
    from safetensors.torch import save_file

    monkeypatch.setattr(tongue, "TONGUE_WEIGHTS", tmp_path / "t.safetensors")
    for make in (lambda: None, lambda: save_file({"hidden.weight": torch.zeros(3, 4)}, tmp_path / "t.safetensors")):
        make()
        with pytest.raises(UserError, match="not usable") as error:
            TongueReader.load()
        assert "\n" not in str(error.value)
