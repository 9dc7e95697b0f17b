"""The rules as a differentiable twin, and what the fit to talkers makes of them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.heads.flame import load_flame
from models.tracking.embedding import LandmarkHead
from scripts_for_dataset import fit_visemes
from scripts_for_dataset.synthetic import arkit, visemes
from scripts_for_dataset.synthetic.levers import Levers, lip_tracks
from scripts_for_dataset.synthetic.pauses import breaths
from scripts_for_dataset.synthetic.rule_fit import FitConfig, Rule, Spoken, batch_of, correlations, fit, speech_mask
from scripts_for_dataset.synthetic.style import SpeakerStyle
from scripts_for_dataset.synthetic.talkers import PRONUNCIATIONS, TalkerClip, read_talkers, read_words
from scripts_for_dataset.synthetic.visemes import CHANNEL, PHONES, VISEMES, mouth_curves, segments
from utils.errors import UserError
from utils.heads.joints import JAW_OPEN_RADIANS
from utils.speech import Phone

FACTOR = 0.98
MEASURED = visemes.read_table(visemes.MEASURED)
PHRASES = [
    "b ih n b l uw ae t eh f s uw n",
    "p l ey s r eh d w ih dh jh ey ey t n aw",
    "s eh t g r iy n b ay v iy th r iy",
]


@pytest.fixture(scope="module")
def head():
    return LandmarkHead(load_flame().head)


@pytest.fixture(scope="module")
def levers(head):
    return Levers(head)


def spoken_rows(words, start=0.8, length=0.09):
    names = words.split()
    rows = [(name, start + k * length, start + (k + 1) * length) for k, name in enumerate(names)]
    return [("sil", 0.0, start), *rows, ("sil", start + len(names) * length, 3.0)]


def clip(words, talker=0, seen=None, length=0.09):
    seen = np.zeros((75, 4), np.float32) if seen is None else seen
    return Spoken(segments(spoken_rows(words, length=length)), np.array([(0.0, 0.8)]), seen, talker)


def test_channels_are_those_of_the_rules():
    clips = [clip(words) for words in PHRASES]
    with torch.no_grad():
        channels, closure = Rule(MEASURED, FACTOR, 1).channels(batch_of(clips))
    for k, one in enumerate(clips):
        expected = mouth_curves(one.segments, 75, SpeakerStyle())
        np.testing.assert_allclose(channels[k], expected[0], atol=1e-5)
        np.testing.assert_allclose(closure[k], expected[1], atol=1e-5)


def test_breaths_are_those_of_the_pauses():
    clips = [replace(clip(PHRASES[0]), pauses=np.array(p)) for p in ([(0.0, 0.8)], [(0.0, 0.3), (1.2, 2.6)])]
    with torch.no_grad():
        twin = Rule(MEASURED, FACTOR, 1).breaths(batch_of(clips))
    for track, phrases in zip(twin, ([(0.8, 3.0)], [(0.3, 1.2), (2.6, 3.0)])):
        np.testing.assert_allclose(track, breaths(75, phrases), atol=2e-5)


def test_levers_agree_with_the_head(head, levers):
    rng = np.random.default_rng(0)
    channels = rng.uniform(0, 0.4, (20, len(visemes.CHANNELS))).astype(np.float32)
    close, jaw = rng.uniform(0, 0.2, 20).astype(np.float32), channels[:, 0] * JAW_OPEN_RADIANS
    exp = np.zeros((20, 50), np.float32)
    for name, k in CHANNEL.items():
        if name != "jawOpen":
            arkit.add(exp, name, channels[:, k])
    arkit.add(exp, "mouthClose", close)
    expected = lip_tracks(head, torch.from_numpy(exp).double(), torch.from_numpy(jaw).double())
    found = levers(torch.from_numpy(channels), torch.from_numpy(jaw), torch.from_numpy(close))
    np.testing.assert_allclose(found, expected, atol=0.02)  # mm


def test_lips_are_pressed_as_people_press_them(levers):
    batch = batch_of([clip("aa b iy p l uw m ih n b ay", length=0.1)])
    with torch.no_grad():
        opening = Rule(MEASURED, FACTOR, 1)(batch, levers)[0, :, 0]
    shut = batch.close.view(75, -1).amax(1) > 0.998
    assert shut.sum() >= 4
    assert opening[shut].min() > -1.4 and opening[shut].max() < -0.4


def test_vowels_and_rounded_consonants_open_as_measured(levers):
    """The rules opened r, ou and oh two to three times as far as people."""
    opening = {}
    for phone in ("r", "uw", "ao", "iy", "ae", "ey"):
        with torch.no_grad():
            tracks = Rule(MEASURED, FACTOR, 1)(batch_of([clip(f"d {phone} d", length=0.2)]), levers)[0, :, 0]
        opening[phone] = float(tracks[int(1.08 * 25) : int(1.15 * 25)].mean())
    assert opening["r"] < 5 and opening["uw"] < 5 and opening["ao"] < 7
    assert min(opening["iy"], opening["ae"], opening["ey"]) > 6


def test_the_fit_learns_another_talker(levers):
    """Mouths made with other targets and times are followed better after the fit than before it."""
    other = Rule(MEASURED, FACTOR, 1)
    clips = [clip(words, length=length) for words in PHRASES for length in (0.07, 0.1, 0.13)]
    with torch.no_grad():
        other.change[VISEMES.index("ey"), CHANNEL["jawOpen"]] = -0.3
        other.change[VISEMES.index("nn"), CHANNEL["jawOpen"]] = 0.3
        other.log_gain[0, VISEMES.index("SS")] = 0.5
        seen = other(batch_of(clips), levers).numpy()
    batch = batch_of([replace(one, seen=seen[k]) for k, one in enumerate(clips)])
    rule, speech = Rule(MEASURED, FACTOR, 1), speech_mask(batch)

    def agreement():
        with torch.no_grad():
            return float(correlations(rule(batch, levers)[..., 0], batch.seen[..., 0], speech).mean())

    before = agreement()
    fit(rule, levers, [batch], torch.ones(1), FitConfig(steps=25, rate=0.05, near_targets=0.01))
    assert agreement() > before + 0.3 * (1 - before)
    with torch.no_grad():
        assert rule.change[VISEMES.index("nn"), CHANNEL["jawOpen"]] > 0.05
        assert rule.change[VISEMES.index("sil")].abs().max() == 0
        assert (rule.targets() >= 0).all()


def test_correlations_count_the_frames_of_the_mask_only():
    a = torch.tensor([[1.0, 2, 3, 4, 100], [0, 1, 0, 1, 0]])
    b = torch.tensor([[2.0, 4, 6, 8, -50], [1, 0, 1, 0, 1]])
    mask = torch.tensor([[1.0, 1, 1, 1, 0], [1, 1, 1, 1, 1]])
    np.testing.assert_allclose(correlations(a, b, mask), [1, -1], atol=1e-5)


def test_speech_mask_covers_the_words_and_a_frame_around():
    mask = speech_mask(batch_of([clip("b ih n", length=0.1)]))[0]
    frames = mask.nonzero().flatten()
    assert abs(frames[0] - 18) <= 1 and abs(frames[-1] - 28) <= 1 and mask.sum() == frames[-1] - frames[0] + 1


def test_a_table_is_written_as_it_is_read(tmp_path):
    rule = Rule(MEASURED, FACTOR, 1)
    fit_visemes.write_table(tmp_path / "t.json", {"source": "x"} | fit_visemes.plain(MEASURED, rule))
    again = visemes.read_table(tmp_path / "t.json")
    assert again.names == MEASURED.names and again.breath == MEASURED.breath
    np.testing.assert_allclose(again.targets, MEASURED.targets, atol=1e-6)
    for group in visemes.GROUPS:
        np.testing.assert_allclose(again.dominance[group], MEASURED.dominance[group], atol=1e-6)


def test_both_tables_hold_the_same_visemes():
    assumed = visemes.read_table(visemes.ASSUMED)
    assert assumed.names == MEASURED.names == VISEMES
    assert (MEASURED.targets[VISEMES.index("sil")] == 0).all()
    assert all((table > 0).all() for table in MEASURED.dominance.values())


def test_people_are_summed_up_phone_by_phone():
    def talker(name, opening):
        seen = np.full((75, 4), opening, np.float32)
        seen[20] = -0.8
        return TalkerClip(
            f"{name}/x", name, ["by"], [Phone("b", 0.8, 0.84), Phone("ay", 1.0, 1.2)], clip("b ay", 0, seen)
        )

    table = fit_visemes.people([talker("s1", 6.0), talker("s2", 10.0)])
    assert table["ay"]["opening"] == [8.0, 2.0] and table["ay"]["count"] == [2]
    assert table["b"]["opening"] == [-0.8, 0.0]  # the smallest while the lips are shut
    assert table["ay"]["width"] == [0.0, 0.0]


def test_the_words_of_grid_are_spelt_with_known_phones():
    assert len(PRONUNCIATIONS) == 51
    assert {phone for spelling in PRONUNCIATIONS.values() for phone in spelling.split()} <= PHONES


def test_words_are_read_without_silences(tmp_path):
    row = {"clip": "s1/a", "words": [["sil", 0, 0.5], ["bin", 0.5, 0.8], ["sp", 0.8, 0.9], ["blue", 0.9, 1.2]]}
    (tmp_path / "words.jsonl").write_text(json.dumps(row) + "\n\n")
    assert read_words(tmp_path / "words.jsonl") == {"s1/a": ["bin", "blue"]}


def test_missing_motion_and_unknown_words_are_named(tmp_path):
    words = tmp_path / "words.jsonl"
    words.write_text(json.dumps({"clip": "s1/a", "words": [["hippo", 0.5, 0.8]]}) + "\n")
    with pytest.raises(UserError, match="--motion .*track_video"):
        read_talkers(tmp_path, words, tmp_path, 5)
    (tmp_path / "s1").mkdir()
    np.savez(tmp_path / "s1" / "a.npz", exp=np.zeros((75, 50), np.float32), pose=np.zeros((75, 6), np.float32))
    with pytest.raises(UserError, match="--audio .*no sound of s1/a"):
        read_talkers(tmp_path, words, tmp_path / "sound", 5)
