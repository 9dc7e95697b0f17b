"""Speech synthesis without the engines: what they print, the phone alphabets, texts and the plan of a corpus."""

import json
import multiprocessing.dummy

import numpy as np
import pytest
import soundfile

from scripts_for_dataset import make_synthetic_speech
from scripts_for_dataset.preparing import batch
from scripts_for_dataset.synthetic import engines, speech_plan, texts, voices
from scripts_for_dataset.synthetic.corpus import HELD_VOICES, load_sentence, read_rows, tidy_phones
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
    assert {v.engine for v in voices.find_voices(None)} == {"flite", "festival", "hibari", "espeak", "kokoro"}
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


def test_things_have_their_plural():
    own = " ".join(texts.template_sentences())
    assert "five cheap watches to" in own and "five wooden fish to" in own and "five big maps to" in own
    assert "watchs" not in own and "fishs" not in own


def tone(voice, text, rng):
    """A sentence of one vowel, one to two seconds long."""
    audio = 0.3 * np.sin(np.arange(16000 + 100 * len(text)) / 20).astype(np.float32)
    return audio, [("sil", 0.0, 0.1), ("aa", 0.1, len(audio) / 16000)], 1.0


def counts(parts):
    total = {}
    for part in parts:
        total[part.voice.label] = total.get(part.voice.label, 0) + len(part.texts)
    return total


def test_parts_follow_the_shares(tmp_path):
    chosen = voices.find_voices(["flite", "espeak-en-us"])
    parts = speech_plan.plan_parts(chosen, 0.2, tmp_path, 0)
    count = counts(parts)
    assert sum(count.values()) == pytest.approx(0.2 * 3600 / 3.0, abs=3)
    assert count["flite-rms"] == count["flite-awb"] == pytest.approx(10 * count["espeak-en-us"], abs=5)
    assert parts == speech_plan.plan_parts(chosen, 0.2, tmp_path, 0)
    said = [text for part in parts for text in part.texts]
    assert len(set(said)) == len(said)
    # the first parts of all voices come before any second part: a run that is cut off leaves them balanced
    assert [part.path.name for part in parts[:4]] == ["part_000"] * 4


def test_a_part_on_disk(tmp_path, monkeypatch):
    part = speech_plan.plan_parts(voices.find_voices(["flite-rms"]), 0.05, tmp_path, 0)[0]
    monkeypatch.setattr(make_synthetic_speech, "say", tone)
    assert make_synthetic_speech.make_part(part) == len(part.texts) == speech_plan.SENTENCES_PER_PART
    rows = read_rows(tmp_path)["flite-rms"]
    assert sum(row.n_samples for row in rows) == soundfile.info(rows[0].part).frames
    audio, phones = load_sentence(rows[3])
    assert len(audio) == rows[3].n_samples and phones[1][0] == "aa"
    table = [json.loads(line) for line in rows[0].part.with_suffix(".jsonl").read_text().splitlines()]
    assert [row["text"] for row in table] == list(part.texts)
    assert [row["split"] == "held" for row in table] == [texts.held_out(text) for text in part.texts]


def test_speech_that_is_there_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(make_synthetic_speech, "say", tone)
    chosen = voices.find_voices(["flite-rms", "hibari"])
    for part in speech_plan.plan_parts(chosen, 0.1, tmp_path, 0)[1:]:  # as if the run had been cut off
        make_synthetic_speech.make_part(part)
    said = {text for spoken in speech_plan.read_spoken(tmp_path)[0].values() for text in spoken.texts}
    more = speech_plan.plan_parts(chosen, 0.1, tmp_path, 0)
    assert more[0].path.name == "part_000" and more[0].path.parent.name == "flite-rms"
    assert not said & {text for part in more for text in part.texts}
    while more := speech_plan.plan_parts(chosen, 0.1, tmp_path, 0):  # until the measured hours are reached
        for part in more:
            assert not part.path.with_suffix(".jsonl").exists()
            make_synthetic_speech.make_part(part)
    seconds = {label: spoken.seconds for label, spoken in speech_plan.read_spoken(tmp_path)[0].items()}
    assert sum(seconds.values()) == pytest.approx(360, abs=12)
    assert seconds["hibari-heart"] / seconds["flite-rms"] == pytest.approx(0.20 / (0.25 / 3), rel=0.06)


def test_a_sentence_keeps_its_split_in_every_voice(tmp_path, monkeypatch):
    monkeypatch.setattr(speech_plan, "sentences", lambda seed: ["A train.", "B held.", "C both.", "D new."])
    monkeypatch.setattr(speech_plan, "held_out", lambda text: False)
    (tmp_path / "flite-rms").mkdir()
    rows = [("A train.", "train"), ("B held.", "held"), ("C both.", "train")]
    lines = [json.dumps({"text": text, "split": split, "n_samples": 48000}) for text, split in rows]
    (tmp_path / "flite-rms" / "part_000.jsonl").write_text("\n".join(lines))
    (tmp_path / "flite-slt").mkdir()
    (tmp_path / "flite-slt" / "part_004.jsonl").write_text(lines[2])
    parts = speech_plan.plan_parts(voices.find_voices(["flite-awb"]), 0.01, tmp_path, 0)
    # unspoken sentences first; B stays with the test voices although its text would be in train by itself
    assert [part.texts for part in parts] == [("D new.", "A train.", "C both.")]
    parts = speech_plan.plan_parts(voices.find_voices(["flite-slt"]), 0.01, tmp_path, 0)
    assert [(part.path.name, part.texts) for part in parts] == [("part_000", ("D new.", "A train."))]
    (tmp_path / "flite-slt" / "part_004.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match="part_004.jsonl: not a table of sentences"):
        speech_plan.read_spoken(tmp_path)


def test_shared_speech_is_what_one_process_makes(tmp_path, monkeypatch):
    """Each part plans as if the other had not begun, although it finds its speech there."""
    monkeypatch.setattr(make_synthetic_speech, "say", tone)
    for folder, runs in (("one", [[]]), ("two", [["--shard", "1/2"], ["--shard", "0/2"], []])):
        for more in runs:
            words = ["--output", str(tmp_path / folder), "--hours", "0.06", "--voices", "flite-awb", "flite-rms"]
            make_synthetic_speech.main([*words, "--workers", "1", "--kokoro", str(tmp_path / "none"), *more])
    tables = sorted((tmp_path / "one").rglob("*.jsonl"))
    assert len(tables) == 4 and len(list((tmp_path / "two").rglob("*.*"))) == 8
    for table in tables:
        other = tmp_path / "two" / table.relative_to(tmp_path / "one")
        assert table.read_bytes() == other.read_bytes()
        sounds = [soundfile.read(path.with_suffix(".opus"))[0] for path in (table, other)]
        np.testing.assert_array_equal(*sounds)


def test_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make_synthetic_speech, "say", tone)
    monkeypatch.setattr(batch, "worker_pool", multiprocessing.dummy.Pool)  # threads share `say`
    flags = ["--output", str(tmp_path), "--hours", "0.02", "--voices", "flite-awb", "--kokoro", str(tmp_path / "none")]
    make_synthetic_speech.main(flags)
    assert len(read_rows(tmp_path)["flite-awb"]) == 24
    with pytest.raises(SystemExit, match="2"):
        make_synthetic_speech.main(["--output", str(tmp_path), "--hours", "0"])
    assert "--hours" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("voice", "shift"),
    [("kokoro-af_sky", -0.010), ("festival-cmu_us_slt_arctic_hts", 0.012), ("flite-rms", 0.0), ("espeak-en-us", 0.0)],
)
def test_labels_are_moved_by_what_was_measured(voice, shift):
    audio = np.full(16000, 0.5, np.float32)
    phones = tidy_phones(voice, audio, [("sil", 0.0, 0.2), ("aa", 0.2, 0.5), ("b", 0.5, 0.6), ("iy", 0.6, 1.0)])
    np.testing.assert_allclose([start for _, start, _ in phones[1:]], np.array([0.2, 0.5, 0.6]) + shift, atol=1e-9)
    assert all(a[2] == b[1] for a, b in zip(phones, phones[1:])) and phones[-1][2] == 1.0
