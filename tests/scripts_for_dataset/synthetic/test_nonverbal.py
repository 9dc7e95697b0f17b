"""Head, eyes, brows and the prosody they follow."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.metrics.head import spectral_centroid
from scripts_for_dataset.synthetic import arkit
from scripts_for_dataset.synthetic.gaze import gaze_angles
from scripts_for_dataset.synthetic.head_motion import (
    breathing,
    euler_to_axis_angle,
    head_motion,
    min_jerk,
    nods,
    smooth_noise,
)
from scripts_for_dataset.synthetic.motion import find_phrases
from scripts_for_dataset.synthetic.nonverbal import add_brows, add_eyes, blink_curve, blink_times, brow_curve
from scripts_for_dataset.synthetic.prosody import Accents, Prosody, analyse, find_accents, smooth
from scripts_for_dataset.synthetic.style import SpeakerStyle, sample_style

STYLE = SpeakerStyle()


def tone(frequency, seconds, amplitude=0.3):
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(frequency, int(seconds * 16000))) / 16000
    return (amplitude * (np.sin(phase) + 0.5 * np.sin(2 * phase) + 0.3 * np.sin(3 * phase))).astype(np.float32)


def accents(*times, rise=3.0):
    return Accents(np.array(times), np.full(len(times), 1.5), np.full(len(times), rise))


def test_euler_angles_agree_with_scipy():
    euler = np.random.default_rng(0).normal(0, 0.4, (50, 3))
    expected = Rotation.from_euler("YXZ", euler[:, [1, 0, 2]]).as_rotvec()
    np.testing.assert_allclose(euler_to_axis_angle(euler), expected, atol=1e-12)
    np.testing.assert_allclose(euler_to_axis_angle(np.zeros((1, 3))), 0)


def test_pitch_of_a_glide():
    audio = np.concatenate([tone(np.linspace(100, 200, 32000), 2.0), np.zeros(8000, np.float32)])
    track = analyse(audio)
    assert track.voiced[10:190].all() and not track.voiced[215:].any()
    assert track.pitch[185] - track.pitch[15] == pytest.approx(12 * np.log2(192.5 / 107.5), abs=0.7)


def test_loudness_follows_level_in_decibels():
    track = analyse(np.concatenate([tone(120, 1, 0.3), tone(120, 1, 0.03)]))
    assert track.loudness[50] - track.loudness[150] == pytest.approx(20, abs=0.5)


def test_prosody_of_silence_is_harmless():
    track = analyse(np.zeros(16000, np.float32))
    assert np.isfinite(track.loudness).all() and not track.voiced.any() and np.abs(track.pitch).max() == 0


def test_smoothing_keeps_constants_and_positions():
    np.testing.assert_allclose(smooth(np.ones(40), 3.0), 1, rtol=1e-5)
    pulse = np.zeros(101)
    pulse[60] = 1
    assert smooth(pulse, 4.0).argmax() == 60


def test_the_loud_high_syllable_is_the_accent():
    phones, pieces = [], []
    for k in range(9):
        strong = k == 4
        pieces += [np.zeros(1600, np.float32), tone(150 if strong else 110, 0.2, 0.5 if strong else 0.15)]
        phones += [("t", 0.3 * k, 0.3 * k + 0.1), ("aa", 0.3 * k + 0.1, 0.3 * k + 0.3)]
    found = find_accents(analyse(np.concatenate(pieces)), phones)
    assert found.time[found.strength.argmax()] == pytest.approx(0.3 * 4 + 0.2)
    assert found.rise[found.strength.argmax()] > 2


def test_smooth_noise_has_unit_deviation_and_no_jitter():
    noise = np.stack([smooth_noise(500, 0.25, np.random.default_rng(k)) for k in range(200)])
    assert noise.std() == pytest.approx(1, abs=0.1)
    power = np.abs(np.fft.rfft(noise * np.hanning(500), axis=1)) ** 2
    frequency = np.fft.rfftfreq(500, 1 / 25)
    assert power[:, frequency > 1.5].sum() < 1e-3 * power.sum()


def test_nods_peak_after_their_accent_and_come_back():
    track = nods(75, accents(1.0), SpeakerStyle(nod_rate=1.0))
    peak = (track.argmax() + 0.5) / 25
    assert 1.05 < peak < 1.35
    assert 1.5 < track.max() < 5
    assert abs(track[:17]).max() < 1e-9 and abs(track[-20:]).max() < 1e-6
    assert -0.3 * track.max() < track[17:25].min() < -0.1  # a small lift first
    assert nods(75, accents(1.0), SpeakerStyle(nod_rate=0.0)).max() == 0


def head(style, seed=0, n=500):
    m = n * 4
    prosody = Prosody(-10 + 5 * np.sin(np.arange(m) / 60), 2 * np.sin(np.arange(m) / 45), np.ones(m, bool))
    phrases = [(0.5, 6.0), (6.6, 12.0), (12.5, 19.0)]
    marks = accents(*np.arange(1.0, 18.0, 1.1))
    return np.degrees(head_motion(n, prosody, marks, phrases, style, np.random.default_rng(seed)))


def test_head_motion_is_smooth_sized_and_seeded():
    tracks = np.stack([head(STYLE, seed) for seed in range(20)])
    deviation = tracks.std(1).mean(0)
    assert np.all(deviation > [0.8, 0.8, 0.4]) and np.all(deviation < [4, 5, 3])
    assert np.abs(np.diff(tracks, axis=1)).max() * 25 < 60  # degrees per second
    assert np.abs(np.diff(tracks, 2, axis=1)).max() * 625 < 700
    np.testing.assert_array_equal(head(STYLE, 4), head(STYLE, 4))
    assert np.abs(head(STYLE, 4) - head(STYLE, 5)).max() > 0.5


def test_every_few_seconds_show_the_heads_amplitude():
    windows = np.concatenate([head(STYLE, seed)[i : i + 100] for seed in range(12) for i in (0, 100, 200, 300)])
    deviation = windows.reshape(-1, 100, 3).std(1)
    assert np.all(deviation.mean(0) > [1.2, 1.7, 0.9])
    assert np.all(deviation.std(0) / deviation.mean(0) < 0.42)


def test_heads_move_as_fast_as_peoples():
    """People: 16.5 degrees/s, centroids of yaw and roll .75 and .63 Hz over clips of about 10 s."""
    tracks = np.concatenate([head(STYLE, seed)[:500].reshape(2, 250, 3) for seed in range(10)])
    speed = 25 * np.linalg.norm(np.diff(tracks, axis=1), axis=-1).mean()
    assert 12 < speed < 20
    centroid = np.mean([[spectral_centroid(track[:, k]) for k in (1, 2)] for track in tracks], axis=0)
    assert np.all(centroid > 0.5) and np.all(centroid < 0.9)


def test_random_styles_differ_as_people_do():
    styles = [sample_style(np.random.default_rng(k)) for k in range(400)]

    def spread(name):
        return np.quantile([getattr(style, name) for style in styles], (0.05, 0.5, 0.95))

    low, middle, high = spread("head_amplitude")
    assert high / low > 5 and 0.85 < middle < 1.15
    assert spread("jaw")[2] / spread("jaw")[0] > 3
    low, middle, high = spread("blink_rate")
    assert low < 18 and 25 < middle < 31 and high > 42
    assert spread("breath")[2] / spread("breath")[0] > 6
    assert np.median(np.abs([style.asymmetry for style in styles])) > 0.1


def test_smooth_heads_have_less_high_frequency_motion():
    abrupt, flowing = (np.stack([head(SpeakerStyle(head_smoothness=s), seed) for seed in range(6)]) for s in (0.0, 1.0))
    assert np.abs(np.diff(flowing, 2, axis=1)).mean() < 0.6 * np.abs(np.diff(abrupt, 2, axis=1)).mean()
    assert flowing.std() > 0.75 * abrupt.std()


def test_head_sinks_after_a_phrase_and_rises_for_the_breath():
    track = breathing(200, [(0.5, 3.0), (5.0, 7.0)])
    assert track[int(4.2 * 25)] > 0.8 > 0 > track[int(5.02 * 25)]
    assert abs(track[int(2.9 * 25)]) < 1e-6


def test_head_amplitude_scales_motion_and_bias_moves_it():
    calm, lively = head(SpeakerStyle(head_amplitude=0.35)), head(SpeakerStyle(head_amplitude=2.1))
    assert np.all(lively.std(0) > 3 * calm.std(0))
    turned = head(SpeakerStyle(head_yaw=8.0))
    assert turned[:, 1].mean() - head(STYLE)[:, 1].mean() == pytest.approx(8, abs=0.5)


def test_blinks_come_at_the_published_rate_and_shut_the_eye():
    phrases = [(0.0, 600.0)]
    times = blink_times(phrases, 600.0, SpeakerStyle(blink_rate=26), np.random.default_rng(0))
    assert 21 < len(times) / 10 < 31
    gaps = np.diff(times)
    assert gaps.min() > 0.3 and np.std(np.log(gaps)) == pytest.approx(0.55, abs=0.15)
    curve = blink_curve(15000, times)
    shut = np.flatnonzero((curve[1:] == 1) & (curve[:-1] < 1))
    assert len(shut) == len(times)
    at_rest = blink_times([], 600.0, SpeakerStyle(blink_rate=26), np.random.default_rng(0))
    assert len(at_rest) < 0.8 * len(times)


def test_blinks_at_the_edges_do_not_break():
    assert blink_curve(5, np.array([0.0, 0.19])).max() <= 1
    assert blink_curve(5, np.array([])).max() == 0


def test_brows_rise_before_the_accent():
    curve = brow_curve(75, accents(1.5), STYLE)
    assert curve[int(1.42 * 25)] > 0.5 * curve.max() > 0.1
    assert curve[int(1.2 * 25)] == 0
    assert brow_curve(75, accents(1.5, rise=0.0), STYLE).max() == 0


def test_inner_brows_move_as_much_as_peoples():
    """People's SD is 1.01 mm; browInnerUp at 1 lifts the inner brow of the average head by 4 mm."""
    exp = arkit.neutral(750)["exp"]
    marks = accents(*np.arange(1.0, 29.0, 1.1))
    add_brows(exp, brow_curve(750, marks, STYLE), STYLE, np.random.default_rng(0))
    assert 0.7 < 4 * exp[:, arkit.unit("browInnerUp")].std() < 1.3


def test_eyes_hold_against_the_head_and_units_are_exclusive():
    rotation = np.zeros((100, 3))
    rotation[:, 1] = np.linspace(-0.2, 0.2, 100)  # turning to the speaker's left
    gaze = gaze_angles(100, rotation, [], SpeakerStyle(gaze_activity=0.0), np.random.default_rng(0))
    assert gaze[0, 1] > 5 and gaze[-1, 1] < -5
    exp = arkit.neutral(100)["exp"]
    add_eyes(exp, gaze, np.zeros(100), STYLE)
    out, inward = exp[:, arkit.unit("eyeLookOutLeft")], exp[:, arkit.unit("eyeLookInLeft")]
    assert out[0] > 0.1 and inward[-1] > 0.1 and (out * inward).max() == 0
    np.testing.assert_array_equal(out, exp[:, arkit.unit("eyeLookInRight")])


def test_brow_units_follow_bias():
    for bias, unit_up, unit_down in ((0.3, "browInnerUp", "browDownLeft"), (-0.3, "browDownLeft", "browInnerUp")):
        exp = arkit.neutral(200)["exp"]
        add_brows(exp, np.zeros(200), SpeakerStyle(brow_bias=bias), np.random.default_rng(0))
        assert exp[:, arkit.unit(unit_up)].mean() > 0.2 > 0.05 > exp[:, arkit.unit(unit_down)].mean()


def test_min_jerk_and_phrases():
    step = min_jerk(50, 0.5, 1.0)
    assert step[11] == 0 and step[38] == 1 and np.all(np.diff(step) >= 0)
    phones = [("sil", 0, 0.5), ("m", 0.5, 0.6), ("sil", 0.6, 0.7), ("aa", 0.7, 1.0), ("sil", 1.0, 1.4), ("s", 1.4, 1.6)]
    assert find_phrases(phones) == [(0.5, 1.0), (1.4, 1.6)]
