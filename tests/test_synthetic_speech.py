"""Speech synthesis without the engines: what they print, the phone alphabets, texts and the plan of a corpus."""

import json

import numpy as np
import pytest
import soundfile

from scripts_for_dataset import make_synthetic_speech
from scripts_for_dataset.synthetic import engines, texts, voices
from scripts_for_dataset.synthetic.corpus import HELD_VOICES, load_sentence, read_rows
from scripts_for_dataset.synthetic.espeak import closures_from_sound, give_time_to_swallowed
from scripts_for_dataset.synthetic.ipa import from_espeak, merge_ipa
from scripts_for_dataset.synthetic.visemes import PHONES
from utils.errors import UserError


def test_flite_output():
    phones = engines.parse_flite("pau:0.212 hh:0.270 ax:0.310 pau:0.500 \n")
    assert phones == [("sil", 0.0, 0.212), ("hh", 0.212, 0.27), ("ax", 0.27, 0.31), ("sil", 0.31, 0.5)]


def test_festival_output():
    phones = engines.parse_festival("pau 0.0 0.2\nH# 0.2 0.25\nhh 0.25 0.3\nax 0.3 0.4\npau 0.4 0.5\n")
    assert phones == [("sil", 0.0, 0.25), ("hh", 0.25, 0.3), ("ax", 0.3, 0.4), ("sil", 0.4, 0.5)]


def test_ipa_marks_give_their_time_away():
    tokens = [("^", 0, 0.2), ("ˈ", 0.2, 0.25), ("m", 0.25, 0.3), ("ɑ", 0.3, 0.4), ("ː", 0.4, 0.5), (" ", 0.5, 0.54)]
    tokens += [("t", 0.54, 0.6), ("ʃ", 0.6, 0.7), ("O", 0.7, 0.8), (" ", 0.8, 0.95), ("z", 0.95, 1.0), ("$", 1.0, 1.2)]
    assert merge_ipa(tokens) == [
        ("sil", 0, 0.2), ("m", 0.2, 0.3), ("aa", 0.3, 0.52), ("ch", 0.52, 0.7), ("ow", 0.7, 0.8), ("sil", 0.8, 0.95),
        ("z", 0.95, 1.0), ("sil", 1.0, 1.2),
    ]  # fmt: skip


def test_neural_durations_are_shifted_and_stay_positive():
    phones = engines.neural_phones(["^", "b", "A", "$"], np.array([1, 4, 8, 2.0]), -0.045)
    assert [p for p, _, _ in phones] == ["b", "ey", "sil"]
    np.testing.assert_allclose([a for _, a, _ in phones], [0, 0.08, 0.28], atol=1e-9)


def test_espeak_names():
    names = {"_:": "sil", "aI": "ay", "tS": "ch", "t#": "dx", "b": "b", "m-": "m", "oU#": "ow", "S": "sh", "3:": "er"}
    assert {name: from_espeak(name) for name in names} == names
    assert set(names.values()) <= PHONES


def test_espeak_swallowed_sonorants_and_late_bursts():
    phones = give_time_to_swallowed([("ow", 0.0, 0.2), ("l", 0.2, 0.2), ("t", 0.2, 0.2), ("d", 0.2, 0.3)])
    assert phones == [("ow", 0.0, pytest.approx(0.12)), ("l", pytest.approx(0.12), 0.2), ("d", 0.2, 0.3)]
    audio = np.full(16000, 0.5)
    audio[4000:4800] = 0.001  # 50 ms of closure before the burst at 0.3 s
    moved = closures_from_sound(audio, 16000, [("aa", 0.0, 0.3), ("p", 0.3, 0.35), ("s", 0.35, 1.0)])
    assert moved[1][1] == pytest.approx(0.25, abs=0.004) and moved[0][2] == moved[1][1]
    assert moved[2] == ("s", 0.35, 1.0)


def test_a_missing_engine_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr(engines.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match="flite: not found.*apt-get install flite"):
        engines.flite("rms", "Hello.")
    with pytest.raises(UserError, match="festvox-us-slt-hts"):
        engines.festival("ked_diphone", "Hello.")
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    engines._hibari.cache_clear()
    with pytest.raises(UserError, match="pip install hibari-tts"):
        engines.hibari("heart", "Hello.")


def test_text_cannot_leave_its_quotes():
    assert engines.plain_text('-o /x "; (system "rm") $HOME\n') == "o x ; system rm HOME"
    with pytest.raises(UserError, match="no words"):
        engines.plain_text('"()"')


def test_padding_keeps_phones_with_the_sound():
    audio = np.ones(16000, np.float32)
    padded, phones = voices.pad(audio, [("sil", 0, 0.1), ("aa", 0.1, 0.9), ("s", 0.9, 1.2)], 0.25, 0.5)
    assert len(padded) == 16000 + 4000 + 8000
    assert phones == [("sil", 0.0, 0.35), ("aa", 0.35, 1.15), ("s", 1.15, 1.25), ("sil", 1.25, 1.75)]


def test_voices_by_name_and_engine():
    assert {v.engine for v in voices.find_voices(None)} == {"flite", "festival", "hibari", "espeak"}
    assert [v.label for v in voices.find_voices(["flite-awb", "hibari"])] == ["flite-awb", "hibari-heart"]
    assert "espeak-gmw_en-029+f2" in {v.label for v in voices.VOICES}
    assert "festival-kal_diphone" in HELD_VOICES & {v.label for v in voices.VOICES}
    with pytest.raises(UserError, match="--voices joe"):
        voices.find_voices(["joe"])


def test_sentences_are_plain_and_shuffled_by_seed(tmp_path):
    own = texts.template_sentences()
    assert len(own) > 300 and all(texts.usable(text) for text in own)
    examples = ["the cat sat on the mat", "two words", "the NATO of all my fears", "he wanted to kill the cat"]
    line = "00001 n | a thing; " + "; ".join(f'"{example}"' for example in examples) + "\n"
    (tmp_path / "data.noun").write_text(line)
    assert texts.wordnet_sentences(tmp_path) == ["The cat sat on the mat."]
    assert (
        texts.sentences(1, tmp_path / "none")
        == texts.sentences(1, tmp_path / "none")
        != texts.sentences(2, tmp_path / "none")
    )
    held = np.mean([texts.held_out(text) for text in own])
    assert 0.02 < held < 0.09


def test_parts_follow_the_shares_and_are_kept(tmp_path, monkeypatch):
    chosen = voices.find_voices(["flite", "espeak-en-us"])
    parts = make_synthetic_speech.plan_parts(chosen, 0.2, tmp_path, 0)
    count = {
        label: sum(len(p.texts) for p in parts if p.voice.label == label) for label in {p.voice.label for p in parts}
    }
    assert count["flite-rms"] == count["flite-awb"] > 3 * count["espeak-en-us"]
    assert parts == make_synthetic_speech.plan_parts(chosen, 0.2, tmp_path, 0)

    def tone(voice, text, rng):
        audio = 0.3 * np.sin(np.arange(16000 + 100 * len(text)) / 20).astype(np.float32)
        return audio, [("sil", 0.0, 0.1), ("aa", 0.1, len(audio) / 16000)], 1.0

    monkeypatch.setattr(make_synthetic_speech, "say", tone)
    assert make_synthetic_speech.make_part(parts[0]) == len(parts[0].texts)
    rows = read_rows(tmp_path)["flite-rms"]
    assert sum(row.n_samples for row in rows) == soundfile.info(rows[0].part).frames
    audio, phones = load_sentence(rows[3])
    assert len(audio) == rows[3].n_samples and phones[1][0] == "aa"
    table = [json.loads(line) for line in rows[0].part.with_suffix(".jsonl").read_text().splitlines()]
    assert [row["text"] for row in table] == list(parts[0].texts)
