"""The check of phone times finds the error that was put into a made-up sentence."""

import json

import numpy as np
import pytest
import soundfile

from benchmarks.speech import label_times

RATE = 16000
PHONES = [("sil", 0.0, 0.2), ("aa", 0.2, 0.5), ("s", 0.5, 0.7), ("iy", 0.7, 1.0), ("p", 1.0, 1.1), ("ow", 1.1, 1.4)]
PHONES = [*PHONES, ("sil", 1.4, 1.6)]


def sentence():
    """Vowels as a low hum, the sibilant as noise above 4.5 kHz, the stop as silence."""
    t = np.arange(int(1.6 * RATE)) / RATE
    rng = np.random.default_rng(0)
    noise = np.fft.rfft(rng.normal(size=len(t)))
    noise[np.fft.rfftfreq(len(t), 1 / RATE) < 4500] = 0
    hum = np.sin(2 * np.pi * 150 * t) + 0.5 * np.sin(2 * np.pi * 600 * t)
    audio = 1e-4 * rng.normal(size=len(t))
    for phone, start, end in PHONES:
        part = (t >= start) & (t < end)
        audio[part] += {"s": np.fft.irfft(noise, len(t)), "sil": 0 * t, "p": 0 * t}.get(phone, hum)[part]
    return 0.3 * audio


def moved(seconds):
    return [(phone, max(start + seconds, 0.0), end + seconds) for phone, start, end in PHONES]


@pytest.mark.parametrize("late", [0.0, 0.03, -0.045])
def test_errors_of_the_labels_are_found(late):
    found = label_times.Found()
    label_times.inspect(sentence(), moved(late), found)
    assert found.onsets == pytest.approx([-late], abs=0.006)
    assert found.ends == pytest.approx([-late], abs=0.006)
    assert found.closures == [True]


def test_a_closure_outside_its_phone_is_seen():
    found = label_times.Found()
    label_times.inspect(sentence(), [(p, a + 0.2, b + 0.2) if p == "p" else (p, a, b) for p, a, b in PHONES], found)
    assert found.closures == [False]


def test_a_sibilant_at_the_very_end():
    found = label_times.Found()
    label_times.inspect(sentence()[: int(0.71 * RATE)], [*PHONES[:3], ("iy", 0.7, 0.71)], found)
    assert found.onsets == pytest.approx([0.0], abs=0.006)


def test_a_voice_that_never_hisses_has_no_onsets():
    found = label_times.Found()
    label_times.inspect(np.random.default_rng(0).normal(size=int(1.6 * RATE)), PHONES, found)
    assert found.onsets == found.ends == []


def test_command(tmp_path, capsys, caplog):
    folder = tmp_path / "speech" / "flite-x"
    folder.mkdir(parents=True)
    audio = sentence()
    soundfile.write(folder / "part_000.opus", np.tile(audio, 3), RATE, format="OGG", subtype="OPUS")
    rows = [
        {"text": "x", "split": "train", "start": k * len(audio), "n_samples": len(audio), "phones": moved(0.02)}
        for k in range(3)
    ]
    (folder / "part_000.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    label_times.main(["--speech", str(tmp_path / "speech"), "--json", str(tmp_path / "out.json")])
    (result,) = json.loads((tmp_path / "out.json").read_text())
    assert result["voice"] == "flite-x" and result["n_sibilants"] == 3 and result["closures_inside_percent"] == 100
    assert result["onset_median"] == pytest.approx(-20, abs=6)
    with pytest.raises(SystemExit):
        label_times.main(["--speech", str(tmp_path / "speech"), "--voices", "flite-y"])
    assert "--voices flite-y: not in" in capsys.readouterr().err
