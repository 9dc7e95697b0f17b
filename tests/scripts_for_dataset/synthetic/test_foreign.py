"""Mandarin, Japanese and Hindi: spelling, phones, voices and the plan of their sentences."""

import re

import numpy as np
import pytest

from scripts_for_dataset.synthetic import kokoro, speech_plan, texts, voices
from scripts_for_dataset.synthetic.corpus import HELD_VOICES
from scripts_for_dataset.synthetic.engines import neural_phones
from scripts_for_dataset.synthetic.foreign import LANGUAGES, foreign_symbols
from scripts_for_dataset.synthetic.foreign_script import native_text
from scripts_for_dataset.synthetic.ipa import FOREIGN, from_espeak
from scripts_for_dataset.synthetic.visemes import PHONES
from utils.errors import UserError

MARKS = set(" .,?!→↗↓↘ːʰ̃")


@pytest.mark.parametrize(
    "language, text, symbols",
    [
        ("Mandarin", "ma1ma5 bo2bo5, zhi1", "ma→ma pwo↗pwo, ꭧɨ→"),
        ("Mandarin", "yuan2 nv3 xue2 jiu4 wei4 you3 yi2", "ɥɛ↗n ny↓ ɕɥe↗ ʨjo↘u we↘i jo↓u i↗"),
        ("Japanese", "kippu shinbun pan'ya pan matte", "kiʔpɯ ɕimbɯɴ paɴja paɴ maʔte"),
        ("Hindi", "bhaarii phuul maa~ Dibbaa bamba'ii", "bʰaːɾiː pʰuːl maː̃ ɖɪbbaː bəmbəiː"),
    ],
)
def test_spelling(language, text, symbols):
    assert foreign_symbols(language, text) == symbols


@pytest.mark.parametrize(
    "language, text", [("Mandarin", "ma"), ("Mandarin", "bz1"), ("Japanese", "la"), ("Hindi", "q")]
)
def test_what_cannot_be_read_is_named(language, text):
    with pytest.raises(UserError, match=f"text '{text}'.*respell it"):
        foreign_symbols(language, text)


@pytest.mark.parametrize("language", LANGUAGES.values())
def test_every_sentence_can_be_said_and_is_rich_in_closures(language):
    found = texts.foreign_sentences(language, 0)
    symbols = [foreign_symbols(language, text) for text in found]
    assert len(found) > 1000 and found != texts.foreign_sentences(language, 1)
    assert set("".join(symbols)) <= MARKS | set(FOREIGN)
    assert np.mean([sum(text.count(lip) for lip in "pbm") for text in symbols]) > 3.5
    assert 0.02 < np.mean([texts.held_out(text) for text in found]) < 0.09


def test_breath_belongs_to_the_vowel_and_geminates_to_their_consonant():
    assert set(FOREIGN.values()) - {""} <= PHONES
    phones = neural_phones(list("^pʰa→ʔpə$"), np.array([4, 2, 2, 2, 1, 3, 2, 2, 4.0]), 0.0, FOREIGN)
    assert [(name, round(1000 * start), round(1000 * end)) for name, start, end in phones] == [
        ("sil", 0, 100), ("p", 100, 150), ("aa", 150, 275), ("p", 275, 400), ("ax", 400, 450), ("sil", 450, 550),
    ]  # fmt: skip


def test_foreign_voices_are_made_on_request_only():
    asked = voices.find_voices(["Mandarin", "kokoro-jm_kumo"])
    assert {voice.language for voice in asked} == {"Mandarin", "Japanese"} and len(asked) == 8 + 6 + 1
    for english in (None, ["espeak", "kokoro"]):
        assert {voice.language for voice in voices.find_voices(english)} == {"English"}
    assert not HELD_VOICES.isdisjoint(voice.label for voice in asked)
    for language in LANGUAGES.values():
        labels = {voice.label for voice in voices.FOREIGN_VOICES if voice.language == language}
        assert len(labels & HELD_VOICES) == 2 and len(labels - HELD_VOICES) >= 2
    with pytest.raises(UserError, match="--voices Klingon: unknown; .*languages: Mandarin"):
        voices.find_voices(["Klingon"])


def test_each_voice_says_its_own_language(tmp_path):
    chosen = voices.find_voices(["Hindi", "kokoro-zf_xiaobei", "flite-rms"])
    parts = speech_plan.plan_parts(chosen, 0.1, tmp_path, 0)
    said = {part.voice.language: set(part.texts) for part in parts}
    assert said["Mandarin"] <= set(texts.foreign_sentences("Mandarin", 0))
    assert said["Hindi"] <= set(texts.foreign_sentences("Hindi", 0))
    hindi = [text for part in parts if part.voice.language == "Hindi" for text in part.texts]
    assert len(hindi) == len(set(hindi)) and not said["English"] & set(hindi)


def test_kokoro_reads_other_languages_by_the_voice(tmp_path, monkeypatch):
    class Model:
        def say(self, voice, symbols, speed):
            assert (voice, symbols, speed) == ("hf_alpha", "bʰaː.", 1.1)
            return np.zeros(24_000, np.float32), ["^", *symbols, "$"], np.full(7, 4.0)

    monkeypatch.setattr(kokoro, "load_model", lambda folder: Model())
    phones = kokoro.kokoro("hf_alpha", "bhaa.", 1.1, tmp_path)[1]
    assert [name for name, _, _ in phones] == ["sil", "b", "aa", "sil"]


@pytest.mark.parametrize(
    "language, text, written",
    [
        ("Hindi", "hamaarii adhyaapikaa, bamba'ii mai~ne.", "हमारी अध्यापिका, बम्बई मैंने."),
        ("Japanese", "zutto matte zasshi kyou pan'ya shinbun.", "ずっと まって ざっし きょう ぱんや しんぶん."),
        ("Mandarin", "ma1ma5", "ma1ma5"),
    ],
)
def test_script_that_espeak_reads(language, text, written):
    assert native_text(language, text) == written


@pytest.mark.parametrize("language", LANGUAGES.values())
def test_every_sentence_has_a_script(language):
    written = "".join(native_text(language, text) for text in texts.foreign_sentences(language, 0)[:300])
    assert language == "Mandarin" or not re.search("[a-zA-Z]", written)


def test_espeak_names_of_other_languages():
    names = {"ph": "p", "b#": "b", "t_s\\": "ch", "H": "hh", "a": "aa", "p": "p", "_:": "sil", "r.#": "dx"}
    assert {name: from_espeak(name, foreign=True) for name in names} == names
    assert from_espeak("a") == "ae"
