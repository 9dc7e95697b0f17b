"""The benchmarks of streaming and rendering: their figures mean what they say."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.speed import demo, live
from models.generation.live import LiveTalker
from tests.models.generation.test_live import CONFIG, PERSON, animator, whisper_talker
from tests.support.demo_workspace import STATS, speech
from utils.coefs import CoefStats, MotionCodec
from utils.media.audio import load_audio
from utils.motion_file import Motion
from utils.rendering.renderer import RenderStyle
from utils.timebase import SAMPLE_RATE


def subject():
    talker = whisper_talker()
    codec = MotionCodec(talker.config.layout, CoefStats.load(STATS))
    return SimpleNamespace(animator=SimpleNamespace(codec=codec))


def smooth(n: int) -> Motion:
    wave = np.sin(np.arange(n) / 7)[:, None].astype(np.float32)
    return Motion(np.tile(wave, 50), 0.1 * np.tile(wave, 6))


def ratios(motion: Motion, seams: list[int]) -> tuple[float, float]:
    parts = live.seam_ratios(subject(), live.Take(motion, np.array(seams), [1.0]))
    return parts[0].mean() / parts[1].mean(), parts[2].mean() / parts[3].mean()


def test_a_seam_that_is_none():
    speed, acceleration = ratios(smooth(1000), list(range(15, 990, 15)))
    assert speed == pytest.approx(1, abs=0.05)
    assert acceleration == pytest.approx(1, abs=0.05)


def test_a_jump_is_found_at_its_seam_only():
    motion = smooth(1000)
    motion.exp[500:] += 1.0
    speed, acceleration = ratios(motion, [500])
    assert speed > 4 and acceleration > 10
    speed, acceleration = ratios(motion, [400])
    assert speed < 2 and acceleration < 2


def test_pieces_and_their_times():
    talker = LiveTalker(animator(whisper_talker()), PERSON, CONFIG)
    take = live.streamed(talker, speech(2.0))
    assert len(take.motion) == 50
    assert take.seams.tolist() == [10, 25, 40]
    assert len(take.seconds) == 4 and min(take.seconds) > 0


def test_rendering_is_measured():
    found = demo.stages(RenderStyle(64), 3, 1)
    assert [stage.name for stage in found] == ["drawing", "encoding", "both"]
    assert all(stage.fps > 0 and stage.cpu_ms > 0 for stage in found)
    with pytest.raises(SystemExit):
        demo.main(["--repeats", "0"])


def test_long_speech_is_as_long_as_said(tmp_path):
    demo.write_speech(tmp_path / "s.flac", 0.5)
    assert len(load_audio(tmp_path / "s.flac")) == 30 * SAMPLE_RATE
    with pytest.raises(SystemExit):
        demo.main(["--minutes", "0"])


def test_wrong_hop_before_any_work():
    with pytest.raises(SystemExit) as end:
        live.main(["--hops", "0.03"])
    assert end.value.code == 2
