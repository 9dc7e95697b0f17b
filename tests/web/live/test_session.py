"""One session with a clock that the test turns: what is shown, when, and what interrupts it."""

import numpy as np
import pytest

from models.app.sampling_flags import own_sampling
from models.generation.live import LiveTalker, next_pieces
from models.heads.flame import load_flame
from models.networks.person import Person
from tests.support.demo_workspace import speech
from tests.support.live_server import LIVE, tiny_animator
from utils.errors import UserError
from web.live.session import UNIT, Session

NAMES = load_flame(None).head.exp_names
MOUTH = [i for i, name in enumerate(NAMES) if name.startswith("mouth") and "Smile" not in name]
ANIMATOR = tiny_animator()


class Player:
    """A session and its clock; computes at once unless told not to."""

    def __init__(self, seed: int = 0) -> None:
        self.now, self.frames, self.computes = 0.0, [], True
        config = own_sampling(ANIMATOR.model.config, 2)
        person = Person(np.zeros(100, np.float32), np.zeros(128, np.float32))
        talker = LiveTalker(ANIMATOR, person, config, LIVE, seed, ANIMATOR.generator(config))
        self.session = Session(talker, NAMES, seed, lambda: self.now)

    def play(self, seconds: float) -> list:
        first = len(self.frames)
        for _ in range(round(seconds * 100)):
            if self.computes and self.session.prepare():
                self.session.busy = True
                self.session.take(next_pieces([self.session.talker])[0])
            self.frames += self.session.frames()
            self.now += 0.01
        return self.frames[first:]

    def say(self, audio: np.ndarray, block: int = UNIT) -> list:
        """In real time."""
        first = len(self.frames)
        for i in range(0, len(audio), block):
            self.session.hear(audio[i : i + block])
            self.play(block / 16_000)
        return self.frames[first:]

    def spoken(self) -> np.ndarray:
        return np.array([frame.audio for frame in self.frames if frame.audio is not None])


def shut(frame) -> bool:
    return abs(frame.face.pose[3]) < 1e-6 and np.abs(frame.face.exp[MOUTH]).max() < 1e-6


def test_a_silent_face_lives():
    frames = Player().play(20)
    assert [frame.number for frame in frames] == list(range(500))
    assert all(shut(frame) and frame.state == "idle" and frame.audio is None for frame in frames)
    blinks = np.array([frame.face.exp[NAMES.index("eyeBlinkLeft")] for frame in frames])
    assert 2 <= ((blinks[1:-1] == 1) & (blinks[:-2] < 1)).sum() <= 12
    head = np.rad2deg([frame.face.pose[:3] for frame in frames])
    assert 0.1 < head.std(0).max() < 3 and np.abs(np.diff(head, axis=0)).max() < 0.5
    gaze = np.array([frame.face.exp[NAMES.index("eyeLookOutLeft")] for frame in frames])
    assert gaze.max() > 0.03
    other = Player(seed=1).play(20)
    assert any((a.face.exp != b.face.exp).any() for a, b in zip(frames, other))


@pytest.mark.parametrize("block", [UNIT, 1000, 8000])
def test_every_frame_of_an_utterance_comes_once(block):
    player = Player()
    player.play(0.5)
    player.say(speech(2.0), block)
    player.session.flush()
    player.play(1.5)
    np.testing.assert_allclose(player.spoken(), np.arange(50) / 25, atol=1e-6)
    states = [frame.state for frame in player.frames]
    assert states[0] == states[-1] == "idle" and states.count("speaking") == 50
    last = len(states) - 1 - states[::-1].index("speaking")
    assert not shut(player.frames[last]) and shut(player.frames[last + 5])
    assert [frame.number for frame in player.frames] == list(range(len(player.frames)))


def test_frames_are_in_time():
    player, came = Player(), []
    for i in range(100):
        player.session.hear(speech(4.0)[i * UNIT : (i + 1) * UNIT])
        came += [(player.now, frame.audio) for frame in player.play(0.04) if frame.audio is not None]
    delays = np.array([now - audio for now, audio in came])
    assert delays[0] <= 0.29 and delays.max() <= 0.31  # hop and look-ahead are 0.24 s, and a frame is 0.04 s
    assert np.diff([now for now, _ in came]).max() < 0.06


@pytest.mark.parametrize("offset", [0.01, 0.02, 0.03])
def test_the_first_frame_does_not_wait_for_its_time(offset):
    """It comes as soon as its piece is there; the clock that was put forward goes back while nothing is said."""
    player = Player()
    player.play(1 + offset)
    player.say(speech(0.2))
    assert not len(player.spoken())
    player.session.hear(speech(0.24)[5 * UNIT :])
    assert [frame.audio for frame in player.play(0.01)] == [0.0]
    player.session.flush()
    player.play(3)
    assert player.session.start == pytest.approx(0, abs=1e-9)


def test_an_utterance_continues_what_was_shown():
    player = Player()
    player.play(1)
    player.say(speech(1.0))
    numbers = [i for i, frame in enumerate(player.frames) if frame.audio is not None]
    poses = np.stack([frame.face.pose for frame in player.frames])
    change = np.abs(np.diff(poses, axis=0)).max(1)
    assert change[numbers[0] - 1] <= 1.2 * change[numbers[0] :].max()
    exp = np.stack([frame.face.exp for frame in player.frames])
    jump = np.abs(np.diff(exp, axis=0)).max(1)
    assert jump[numbers[0] - 1] <= jump[numbers[0] : numbers[0] + 25].max()


def test_audio_that_stops_leaves_no_open_mouth_and_goes_on_later():
    player, audio = Player(), speech(2.0)
    player.say(audio[:10_000])
    player.play(1.0)
    assert shut(player.frames[-1]) and player.frames[-1].state == "idle"
    player.say(audio[10_000:])
    player.session.flush()
    player.play(1.0)
    spoken = player.spoken()
    assert len(spoken) in (50, 51)  # the frame in which the audio stopped is filled up
    assert np.diff(spoken).max() < 0.041 and spoken[-1] == pytest.approx(1.96, abs=0.04)


def test_a_very_short_utterance_is_spoken():
    player = Player()
    player.session.hear(speech(0.06))
    player.play(1.0)
    assert len(player.spoken()) == 2 and shut(player.frames[-1])


def test_an_interrupt_shuts_the_mouth_and_drops_the_rest():
    player = Player()
    player.session.hear(speech(8.0))  # all at once, as a synthesiser gives it
    player.play(1.0)
    assert not shut(player.frames[-1])
    spoken = player.session.interrupt()
    assert spoken == pytest.approx(player.spoken()[-1] + 0.04, abs=1e-6)
    after = player.play(0.3)
    assert shut(after[-1]) and all(frame.audio is None for frame in after)
    openings = np.abs([frame.face.pose[3] for frame in after])
    assert (np.diff(openings) <= 1e-6).all()
    player.session.hear(speech(0.5))
    player.session.flush()
    player.play(1.5)
    assert player.spoken()[-13] == pytest.approx(8.0)


def test_an_interrupt_drops_what_is_being_computed():
    player = Player()
    player.session.hear(speech(1.0))
    assert player.session.prepare()
    player.session.busy = True
    player.session.interrupt()
    assert not player.session.prepare()
    player.session.take(next_pieces([player.session.talker])[0])
    assert len(player.spoken()) == 0 and not any(frame.audio is not None for frame in player.play(0.5))


def test_an_interrupt_before_anything_was_spoken_says_so():
    player = Player()
    player.session.hear(speech(1.0))
    assert player.session.interrupt() == 0
    player.session.hear(speech(1.0))
    assert player.session.interrupt() == 1  # the first second was dropped before


def test_a_flush_separates_utterances():
    player = Player()
    for _ in range(2):
        player.session.hear(speech(0.5))
        player.session.flush()
        player.session.flush()
    player.play(2.5)
    assert len(player.spoken()) == 26 and player.spoken()[13] == 0.5


def test_a_late_frame_is_waited_for_and_none_is_lost():
    player, audio = Player(), speech(2.0)
    player.say(audio[:16_000])
    player.computes = False
    stalled = player.say(audio[16_000:22_400])  # 0.4 s
    player.computes = True
    player.say(audio[22_400:])
    player.session.flush()
    player.play(1)
    np.testing.assert_allclose(player.spoken(), np.arange(50) / 25, atol=1e-6)
    assert len(stalled) < 10 and player.frames[-1].number == int(player.now * 25 - 1e-6)


@pytest.mark.parametrize(("seconds", "shown"), [(1.5, 400), (3, 40)])
def test_a_server_that_is_too_slow_leaves_out_speech_that_is_late(seconds, shown):
    """A minute in which every piece takes so long, then a fast computer: the face stays near the voice, and lives."""
    player, audio, came = Player(), np.tile(speech(2.0), 35), []
    player.computes, piece, due = False, None, 0.0
    for i in range(0, len(audio), UNIT):
        if player.now > 60:
            seconds = 0.0
        if piece is None and player.session.prepare():
            player.session.busy, due = True, player.now + seconds
            piece = next_pieces([player.session.talker])[0]
        if piece is not None and player.now >= due:
            player.session.take(piece)
            piece = None
        came += [(player.now, frame.audio) for frame in player.say(audio[i : i + UNIT]) if frame.audio is not None]
    assert [frame.number for frame in player.frames] == list(range(70 * 25))
    delays = np.array([now - audio for now, audio in came])
    assert player.session.too_slow and delays.min() > 0 and delays.max() < 7
    assert sum(now < 60 for now, _ in came) > shown and delays[-100:].max() < 4
    assert (np.diff(player.spoken()) > 0.039).all()


def test_speech_that_came_at_once_goes_on_where_its_sound_is():
    player = Player()
    player.session.hear(speech(16.0))
    player.session.flush()
    player.play(1)
    player.computes = False
    player.play(4)
    player.computes = True
    player.play(1)
    spoken = player.spoken()
    assert 2 < np.diff(spoken).max() < 4.5 and abs(spoken[-1] - 6) < 1
    player.play(14)
    assert player.spoken()[-1] == pytest.approx(15.96) and shut(player.frames[-1])


def test_another_utterance_is_spoken_whole_after_one_that_was_late():
    player = Player()
    player.session.hear(speech(2.0))
    player.session.flush()
    player.session.hear(speech(2.0))
    player.play(0.5)
    player.computes = False
    player.play(4)
    player.computes = True
    player.play(4)
    spoken = player.spoken()
    np.testing.assert_allclose(spoken[spoken >= 2], 2 + np.arange(50) / 25, atol=1e-6)


def test_a_patient_session_leaves_nothing_out():
    player = Player()
    player.session.patient = True
    player.session.hear(speech(4.0))
    player.play(0.5)
    player.computes = False
    player.play(5)
    player.computes = True
    player.play(1)
    np.testing.assert_allclose(player.spoken(), np.arange(100) / 25, atol=1e-6)
    assert not player.session.too_slow


def test_too_much_audio_for_a_slow_server_drops_the_oldest():
    session = Player().session
    session.too_slow = True
    session.hear(np.zeros(16_000 * 119, np.float32))
    session.flush()
    session.hear(np.zeros(16_000 * 2, np.float32))
    assert session._waiting.samples == 16_000 * 4


def test_it_listens():
    player, quiet = Player(), np.zeros(UNIT, np.float32)
    voice = 0.1 * np.sin(np.arange(UNIT) / 5).astype(np.float32)

    def other(block, frames):
        for _ in range(frames):
            player.session.other.hear(block)
            player.play(0.04)

    other(quiet, 25)
    assert player.frames[-1].state == "idle"
    other(voice, 50)
    assert player.frames[-1].state == "listening"
    still = np.rad2deg([frame.face.pose[0] for frame in player.frames[-25:]])
    other(quiet, 20)
    nod = np.rad2deg([frame.face.pose[0] for frame in player.frames[-15:]])
    assert nod.max() > still.max() + 2 and player.frames[-1].state == "listening"
    smile = NAMES.index("mouthSmileLeft")
    assert player.frames[-1].face.exp[smile] > player.frames[24].face.exp[smile] + 0.05
    player.play(1.0)  # their audio stops
    assert player.frames[-1].state == "thinking"
    player.play(7.0)
    assert player.frames[-1].state == "idle"
    player.session.mood = "thinking"
    assert player.play(0.1)[-1].state == "thinking"


def test_too_much_unspoken_audio_is_refused():
    with pytest.raises(UserError, match="120 s are not yet spoken"):
        Player().session.hear(np.zeros(16_000 * 121, np.float32))


def test_sessions_share_a_batch_and_do_not_affect_each_other():
    alone, together = [], [Player(seed) for seed in range(3)]
    for player in [Player(seed) for seed in range(3)]:
        player.session.hear(speech(1.0))
        player.session.prepare()
        alone += next_pieces([player.session.talker])
    for player in together:
        player.session.hear(speech(1.0))
        player.session.prepare()
    for a, b in zip(alone, next_pieces([player.session.talker for player in together])):
        np.testing.assert_allclose(a.exp, b.exp, atol=1e-4)
    assert not np.allclose(alone[0].exp, alone[1].exp)


def test_an_ended_session_is_over_once_it_is_quiet():
    player = Player()
    player.session.hear(speech(0.5))
    player.session.flush()
    player.session.ended = True
    player.play(0.5)
    assert not player.session.over
    player.play(1.0)
    assert player.session.over and shut(player.frames[-1])
