"""Mouth curves from phones: closures at any phase, order of openings, and a plain twin of the fast coarticulation."""

import numpy as np
import pytest

from scripts_for_dataset.synthetic import visemes
from scripts_for_dataset.synthetic.arkit import EXP_NAMES
from scripts_for_dataset.synthetic.style import SpeakerStyle
from scripts_for_dataset.synthetic.visemes import CHANNEL, CHANNELS, PHONES, Segments, mouth_curves, segments

NORMAL = SpeakerStyle()


def curves(phones, n_frames=50, style=NORMAL):
    return mouth_curves(segments(phones), n_frames, style)


def held(phone, duration=0.3):
    """One phone between vowel-free surroundings, long enough to reach its target."""
    return [("sil", 0.0, 0.8), (phone, 0.8, 0.8 + duration), ("sil", 0.8 + duration, 2.0)]


def test_tables_cover_arpabet_and_channels_are_arkit_units():
    arpabet = (
        "aa ae ah ao aw ax ay b ch d dh dx eh er ey f g hh ih iy jh k l m n ng ow oy p r s sh t th uh uw v w y z zh"
    )
    assert set(arpabet.split()) | {"sil"} == set(PHONES)
    bases = {name.removesuffix("Left").removesuffix("Right") for name in EXP_NAMES} | {"jawOpen"}
    assert set(CHANNELS) <= bases
    assert len(EXP_NAMES) == 50 and list(EXP_NAMES) == sorted(EXP_NAMES)


@pytest.mark.parametrize("smoothness", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("duration", [0.02, 0.06, 0.12])
@pytest.mark.parametrize("phone", ["p", "b", "m"])
def test_every_bilabial_has_a_shut_frame_at_any_phase(phone, duration, smoothness):
    style = SpeakerStyle(mouth_smoothness=smoothness)
    for phase in np.linspace(0, 0.04, 9):
        start = 0.8 + phase
        phones = [("aa", 0.3, start), (phone, start, start + duration), ("aa", start + duration, 1.6)]
        shape, closure = curves(phones, style=style)
        near = slice(int((start - 0.05) * 25), int((start + duration + 0.02) * 25) + 1)
        frame = near.start + closure[near].argmax()
        assert closure[frame] == 1.0
        assert shape[frame, CHANNEL["mouthLowerDown"]] < 0.06
        assert shape[frame, CHANNEL["mouthPress"]] >= 0.34


def test_closure_is_only_where_lips_close():
    _, closure = curves([("sil", 0, 0.3), ("aa", 0.3, 0.9), ("d", 0.9, 1.0), ("iy", 1.0, 1.5), ("sil", 1.5, 2.0)])
    assert closure.max() == 0
    _, closure = curves(held("v"))
    assert 0.5 < closure.max() < 0.7  # the lower lip comes up to the teeth, it does not shut the mouth


def test_openings_are_ordered_as_in_speech():
    jaw = {p: curves(held(p))[0][:, CHANNEL["jawOpen"]].max() for p in ("aa", "eh", "iy", "s", "sil")}
    assert jaw["aa"] > jaw["eh"] > jaw["iy"] > jaw["s"] > jaw["sil"]
    assert 0.35 < jaw["aa"] <= 0.48
    assert curves(held("uw"))[0][:, CHANNEL["mouthPucker"]].max() > 0.5
    assert curves(held("f"))[0][:, CHANNEL["mouthRollLower"]].max() >= 0.45


def test_a_diphthong_goes_from_its_first_to_its_second_vowel():
    shape, _ = curves(held("aw", 0.4))
    jaw, pucker = shape[:, CHANNEL["jawOpen"]].argmax(), shape[:, CHANNEL["mouthPucker"]].argmax()
    assert jaw < pucker


def test_style_gains_scale_their_channels_only():
    loud = SpeakerStyle(jaw=2.0, rounding=0.5)
    phones = held("ao")
    a, b = curves(phones)[0], curves(phones, style=loud)[0]
    k = a[:, CHANNEL["jawOpen"]].argmax()
    assert b[k, CHANNEL["jawOpen"]] / a[k, CHANNEL["jawOpen"]] == pytest.approx(2, rel=0.05)
    assert b[k, CHANNEL["mouthFunnel"]] / a[k, CHANNEL["mouthFunnel"]] == pytest.approx(0.5, rel=0.01)
    assert b[k, CHANNEL["mouthLowerDown"]] == pytest.approx(a[k, CHANNEL["mouthLowerDown"]], rel=1e-5)


def test_a_soft_mouth_moves_less_abruptly():
    phones = [("t" if k % 2 else "aa", 0.1 * k, 0.1 * k + 0.1) for k in range(20)]
    crisp, soft = (curves(phones, style=SpeakerStyle(mouth_smoothness=s))[0] for s in (0.0, 1.0))
    jerk = [np.abs(np.diff(c[:, CHANNEL["jawOpen"]], 2)).mean() for c in (crisp, soft)]
    assert jerk[1] < 0.8 * jerk[0]
    assert soft[5:45, 0].mean() == pytest.approx(crisp[5:45, 0].mean(), rel=0.02)


def test_shifting_the_phones_by_frames_shifts_the_curves():
    phones = [("sil", 0, 0.5), ("m", 0.5, 0.6), ("ae", 0.6, 0.8), ("p", 0.8, 0.9), ("sil", 0.9, 4.0)]
    moved = [("sil", 0, 1.3)] + [(p, s + 0.8, e + 0.8) for p, s, e in phones[1:]]
    a, ca = curves(phones, 60)
    b, cb = curves(moved, 80)
    np.testing.assert_allclose(a[3:40], b[23:60], atol=2e-3)
    np.testing.assert_allclose(ca[3:40], cb[23:60], atol=2e-3)


def test_the_mouth_opens_before_a_vowel_is_heard():
    jaw = curves(held("aa"))[0][:, CHANNEL["jawOpen"]]
    assert jaw[int(0.8 * 25) - 1] > 0.15 * jaw.max()  # about 40 to 80 ms before its onset
    assert jaw[int(0.5 * 25)] < 0.08 * jaw.max()


def test_unknown_phones_and_no_phones_are_silence():
    np.testing.assert_array_equal(curves([("xx", 0, 2)])[0], curves([("sil", 0, 2)])[0])
    shape, closure = curves([])
    assert shape.max() == 0 and closure.max() == 0


def test_coarticulation_equals_a_plain_loop():
    rng = np.random.default_rng(0)
    names = [p for p in sorted(PHONES) if p != "sil"]
    edges = np.cumsum(rng.uniform(0.04, 0.2, 60))
    phones = [(names[rng.integers(len(names))], a, b) for a, b in zip(edges, edges[1:])]
    segs = segments(phones)
    time = ((np.arange(1200) + 0.5) / 200).astype(np.float32)  # 6 s: several blocks
    fast = visemes._coarticulate(time, segs, NORMAL)
    plain = np.zeros_like(fast)
    for group, columns in visemes.GROUPS.items():
        for k in range(0, len(time), 37):
            total, weights = 0.0, 0.02
            for v, start, end, jaw in zip(segs.viseme, segs.start, segs.end, segs.jaw):
                strength, lead, lag = visemes._TABLES[group][v]
                middle, half = (start + end) / 2, max((end - start) / 4, (end - start) / 2 - 0.12, 0.005)
                away = max(abs(time[k] - middle) - half, 0) / (lead if time[k] < middle else lag)
                w = strength * min(1, 0.35 + (end - start) / 0.08) * np.exp(-2.3 * away**1.5)
                target = visemes._TARGET_TABLE[v, columns] * (np.array([jaw, 1]) if group == "jaw" else 1)
                total, weights = total + w * target, weights + w
            plain[k, columns] = total / weights
    np.testing.assert_allclose(fast[::37], plain[::37], atol=1e-3)


def test_segments_keep_the_time_of_the_phones():
    segs = segments([("sil", 0, 0.2), ("ay", 0.2, 0.6), ("n", 0.6, 0.7)], effort=np.array([1, 1.5, 1]))
    assert isinstance(segs, Segments)
    np.testing.assert_allclose(segs.start, [0, 0.2, 0.42, 0.6], rtol=1e-6)
    np.testing.assert_allclose(segs.end, [0.2, 0.42, 0.6, 0.7], rtol=1e-6)
    np.testing.assert_allclose(segs.jaw, [1, 1.5, 1.2, 1])
