"""Clips by language from a speech corpus, and closures phone by phone."""

import json

import numpy as np
import pytest
import soundfile

from benchmarks.speech.corpus_clips import language_clips, phone_table
from benchmarks.speech.speech_scores import score_clip
from utils.errors import UserError


def corpus(folder, voice: str, sentences: int):
    """Sentences of one second: aa, a closure from 0.4 to 0.5 s, aa."""
    (folder / voice).mkdir()
    soundfile.write(
        folder / voice / "part_000.opus", np.zeros(16_000 * sentences), 16_000, format="OGG", subtype="OPUS"
    )
    phones = [["aa", 0, 0.4], ["m", 0.4, 0.5], ["aa", 0.5, 1.0]]
    row = {"text": "ama", "split": "train", "n_samples": 16_000, "phones": phones, "speed": 1}
    lines = [json.dumps(row | {"start": 16_000 * k}) for k in range(sentences)]
    (folder / voice / "part_000.jsonl").write_text("\n".join(lines))


def test_voices_kept_for_testing_are_joined_by_language(tmp_path):
    for voice in ("kokoro-zf_xiaoni", "kokoro-zf_xiaobei", "kokoro-hm_psi", "kokoro-am_liam"):
        corpus(tmp_path, voice, 3)
    found = language_clips(tmp_path, 2)
    assert set(found) == {"Mandarin", "Hindi"} and [clip.name for clip in found["Mandarin"]] == ["kokoro-zf_xiaoni"]
    clip = found["Hindi"][0]
    assert len(clip.audio) == 32_000
    np.testing.assert_allclose([phone.start for phone in clip.bilabials()], [0.39, 1.39], atol=1e-6)  # Kokoro's shift


def test_a_corpus_without_such_voices_is_refused(tmp_path):
    corpus(tmp_path, "kokoro-am_liam", 1)
    with pytest.raises(UserError, match="has none of kokoro-zf_xiaoni"):
        language_clips(tmp_path, 2)


def test_missed_phones_are_named_with_their_neighbours(tmp_path):
    corpus(tmp_path, "kokoro-hm_psi", 2)
    clip = language_clips(tmp_path, 2)["Hindi"][0]
    opening = np.full(50, 8.0)
    opening[10] = 0.5  # the first closure only
    row = phone_table({"Hindi": [score_clip(clip, opening, None)]}).splitlines()
    assert "50" in row[3] and "aa m aa 1x" in row[3]
    assert row[1].split()[1:4] == ["p", "0", "-"]
