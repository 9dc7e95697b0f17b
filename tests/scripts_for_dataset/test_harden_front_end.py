"""The front end that is trained to hear through noise: it learns, clean speech stays, and loud pauses are left out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from datasets.clip_store import ClipWriter
from models.audio.whisper import WHISPER_WEIGHTS, WhisperEncoder
from models.training.front_end_lesson import Lesson, Speech, closures
from scripts_for_dataset import harden_front_end
from scripts_for_dataset.harden_front_end import HardenFlags, harden, pause_db, save
from tests.models.audio.test_whisper import SMALL, random_weights, speechlike
from tests.support.small_store import clip_content, write_store
from utils.training.randomness import Randomness

SECONDS = 16


def int16(audio: torch.Tensor) -> torch.Tensor:
    return (audio[0] * 8000).to(torch.int16)


def spoken(seed: int) -> Speech:
    audio = int16(speechlike(SECONDS * 16000, seed))
    return Speech(audio, torch.ones(len(audio) // 640))


def test_noise_costs_less_after_training_and_clean_speech_stays(tmp_path: Path) -> None:
    speech = spoken(1)
    teacher, student = (WhisperEncoder(random_weights(SMALL), SMALL) for _ in range(2))
    lesson = Lesson(teacher, speech.cut(torch.tensor([62, 188])), Randomness(0, "cpu"))

    def errors() -> dict[str, float]:
        return {
            name: float(lesson.errors(student.surrounded(audio, 1), lesson.truth).mean())
            for name, audio in lesson.held.items()
        }

    before = errors()
    flags = HardenFlags(data_root=(), output=tmp_path / "w.safetensors", steps=30, batch_size=2, lr=5e-3)
    harden(student, lesson, speech, flags)
    after = errors()
    assert before["clean"] == 0 < before["10 dB"] < before["5 dB"]
    assert after["10 dB"] < 0.8 * before["10 dB"] and after["5 dB"] < 0.8 * before["5 dB"]
    assert after["clean"] < 0.3 * after["10 dB"]
    save(student, teacher, replace(flags, blend=0.25))
    expected = 0.75 * teacher.conv1_weight + 0.25 * student.conv1_weight
    torch.testing.assert_close(load_file(flags.output)["conv1_weight"], expected.half())
    assert not teacher.conv1_weight.requires_grad and student.conv1_weight.ne(teacher.conv1_weight).any()


def test_a_talker_counts_what_it_sees_of_the_features() -> None:
    held = spoken(1).cut(torch.tensor([62]))
    teacher = WhisperEncoder(random_weights(SMALL), SMALL)
    first = torch.eye(72)[:2] * torch.tensor([[3.0], [0.1]])  # sees two features, mostly the first
    lesson = Lesson(teacher, held, Randomness(0, "cpu"), [first])
    plain = Lesson(teacher, held, Randomness(0, "cpu"))
    truth, off = lesson.truth, torch.zeros(72)
    off[5] = 1
    unseen = lesson.errors(truth + off, truth)
    torch.testing.assert_close(unseen, plain.errors(truth + off, truth) / 2)
    mean = truth.mean((0, 1)).expand_as(truth)
    torch.testing.assert_close(lesson.errors(mean, truth), torch.ones(1), atol=0.02, rtol=0)


def test_short_closures_count_more_in_the_frames_where_they_are() -> None:
    opening = np.full(400, 5e-3)
    opening[100:104] = 0
    opening[200:220] = 0  # lips at rest
    assert np.flatnonzero(closures(opening)).tolist() == [100, 101, 102, 103]
    speech = Speech(spoken(1).audio, torch.from_numpy(1 + 3.0 * closures(opening)))
    counts = speech.counts_of(torch.tensor([40]))  # its margin is 13 frames long
    assert counts.shape == (1, 100) and (counts[0] == 4).nonzero().flatten().tolist() == [47, 48, 49, 50]
    lesson = Lesson(
        WhisperEncoder(random_weights(SMALL), SMALL), spoken(1).cut(torch.tensor([40])), Randomness(0, "cpu")
    )
    off = torch.zeros_like(lesson.truth)
    off[:, 48] = 1
    plain, weighed = (lesson.errors(lesson.truth + off, lesson.truth, c) for c in (None, counts))
    torch.testing.assert_close(weighed, plain * 4 * 100 / 112)


def test_clips_with_loud_pauses_are_told_from_clean_ones() -> None:
    clean = speechlike(SECONDS * 16000, 2)
    noise = clean.std() * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    assert pause_db(int16(clean).numpy()) < -40
    assert pause_db(int16(clean + 0.2 * noise).numpy()) > -25


def data_set(folder: Path) -> Path:
    with ClipWriter(folder, 100) as writer:
        for seed, clip in enumerate(("a/0", "b/0")):
            writer.add_clip(clip, speechlike(300 * 640, seed)[0].numpy(), clip_content(300)[1])
    for split, clip in (("train", "a/0"), ("val", "b/0")):
        (folder / f"{split}.txt").write_text(f"{clip}\n")
    return folder


def test_the_program_writes_weights_that_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harden_front_end, "HELD", 2)
    output = tmp_path / "robust.safetensors"
    flags = [
        "--steps",
        "1",
        "--batch_size",
        "2",
        "--device",
        "cpu",
        "-o",
        str(output),
        "--talkers",
        "embedded",
        "--closures",
        "3",
    ]
    harden_front_end.main([str(data_set(tmp_path / "store")), *flags])
    before, after = load_file(WHISPER_WEIGHTS), load_file(output)
    assert {k: (v.dtype, v.shape) for k, v in after.items()} == {k: (v.dtype, v.shape) for k, v in before.items()}
    assert any(not torch.equal(after[name], before[name]) for name in before)
    audio = speechlike(64000)
    assert WhisperEncoder.load(output)(audio, 100).isfinite().all()


def test_noise_alone_is_no_lesson(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_store(tmp_path / "store", {"a/0": 300})
    (folder / "val.txt").write_text("a/0\n")
    with pytest.raises(SystemExit) as end:
        harden_front_end.main([str(folder), "-o", str(tmp_path / "w.safetensors"), "--device", "cpu"])
    assert end.value.code == 2 and "quiet pauses" in capsys.readouterr().err
    assert not (tmp_path / "w.safetensors").exists()


def test_an_output_that_cannot_be_written_is_told_before_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as end:
        harden_front_end.main([str(tmp_path / "none"), "-o", str(tmp_path / "file/w.safetensors")])
    assert end.value.code == 2 and "choose another output path" in capsys.readouterr().err
