"""Speaking styles: names, ranges, and that the named ones differ as much as they promise."""

from dataclasses import asdict, fields

import numpy as np
import pytest

from scripts_for_dataset.synthetic.motion import Speech, speech_motion
from scripts_for_dataset.synthetic.style import SpeakerStyle, named_style, sample_style, style_names, vary_style
from utils.errors import UserError

NAMES = ["normal", "big_mouth", "small_mouth", "smile", "serious", "large_head_movements", "small_head_movements"]


@pytest.fixture(scope="module")
def speech():
    """12 s of buzz with syllables: 0.16 s vowels and 0.08 s stops, a pause in the middle."""
    phones, now = [("sil", 0.0, 0.4)], 0.4
    vowels = ["aa", "iy", "ow", "eh", "uw", "ae"]
    for k in range(45):
        if k == 22:
            phones.append(("sil", now, now + 0.6))
            now += 0.6
        consonant = ["m", "t", "s", "b", "l"][k % 5]
        phones += [(consonant, now, now + 0.08), (vowels[k % 6], now + 0.08, now + 0.24)]
        now += 0.24
    phones.append(("sil", now, now + 0.4))
    time = np.arange(int((now + 0.4) * 16000)) / 16000
    audio = 0.2 * np.sign(np.sin(2 * np.pi * (120 + 25 * np.sin(2.1 * time)) * time)) * (0.6 + 0.4 * np.sin(3 * time))
    for phone, start, end in phones:
        if phone in ("sil", "t", "b"):
            audio[int(start * 16000) : int(end * 16000)] *= 0.01
    return Speech(audio.astype(np.float32), phones)


def motion(speech, name, seed=0):
    return speech_motion(speech, named_style(name), np.random.default_rng(seed))


def test_names():
    assert style_names() == NAMES
    assert named_style("normal") == SpeakerStyle()
    with pytest.raises(UserError, match="grumpy.*big_mouth"):
        named_style("grumpy")


def test_big_and_small_mouths_differ_strongly(speech):
    big, small = (np.quantile(motion(speech, f"{s}_mouth")["pose"][:, 3], 0.9) for s in ("big", "small"))
    normal = np.quantile(motion(speech, "normal")["pose"][:, 3], 0.9)
    assert big > 2.5 * small
    assert big > 1.3 * normal > 1.3 * small


def test_large_and_small_head_movements_differ_strongly(speech):
    large, small = (motion(speech, f"{s}_head_movements")["pose"][:, :3].std(0) for s in ("large", "small"))
    assert np.all(large > 3 * small)


def test_smile_and_serious_differ(speech):
    from scripts_for_dataset.synthetic.arkit import unit

    smile, serious, normal = (motion(speech, s)["exp"].mean(0) for s in ("smile", "serious", "normal"))
    assert smile[unit("mouthSmileLeft")] > normal[unit("mouthSmileLeft")] + 0.3
    assert serious[unit("mouthFrownLeft")] > normal[unit("mouthFrownLeft")] + 0.1
    assert serious[unit("browDownLeft")] > normal[unit("browDownLeft")] + 0.2


def test_random_styles_are_seeded_and_spread():
    assert sample_style(np.random.default_rng(3)) == sample_style(np.random.default_rng(3))
    table = {f.name: [] for f in fields(SpeakerStyle)}
    for seed in range(300):
        for name, value in asdict(sample_style(np.random.default_rng(seed))).items():
            assert np.isfinite(value)
            table[name].append(value)
    for name, values in table.items():
        assert np.std(values) > 0, name
    for style in NAMES:  # the random speakers reach the named ones
        for name in ("jaw", "smile", "head_amplitude", "nod_rate", "brow_bias"):
            value = getattr(named_style(style), name)
            assert min(table[name]) <= value <= max(table[name]), (style, name)


def test_vary_style_stays_near():
    style = named_style("big_mouth")
    other = vary_style(style, np.random.default_rng(0))
    assert other != style
    assert other.jaw == pytest.approx(style.jaw, rel=0.25)
    assert abs(other.head_yaw) < 5
