"""benchmarks.corpus.scale on small numbers."""

import json
import random
import sys

import pytest

from benchmarks.corpus import killed_training, scale


def rows_of(tmp_path, *flags):
    scale.main([*flags, "--json", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())
    return {row["what"]: row["value"] for row in found[flags[1]]}


def test_a_reader_of_fake_sources(tmp_path):
    flags = ["--parts", "reader", "--clips", "4000", "--sources", "2", "--listed", "1000", "--draws", "50"]
    rows = rows_of(tmp_path, *flags)
    assert rows["clips of training"] == (4000 - 2 * 2 * 100) / 1e6  # a twentieth each for validation and test
    assert 0 < rows["memory of a worker, alone"] < 1000 and rows["index_dataset"] > 0 and rows["split by speaker"] > 0


HELD = """
import sys, time
from datasets.clip_writer import ClipWriter
from scripts_for_dataset.make_combined_dataset import main
add = ClipWriter.add_encoded
ClipWriter.add_encoded = lambda *clip: (add(*clip), time.sleep(100))
main(sys.argv[1:])
"""


def test_parts_killed_and_merged(tmp_path, monkeypatch):
    """The first command waits behind its first clip, so that it is killed at work on every machine."""
    preparing, begun = scale.preparing, []

    def held(*given):
        words = preparing(*given)
        if "--shard" in words and not begun:
            begun.append(words)
            return [sys.executable, "-c", HELD, *words[3:]]
        return words

    monkeypatch.setattr(scale, "preparing", held)
    rows = rows_of(tmp_path, "--parts", "kills", "--files", "6", "--kills", "1")
    assert rows["SIGKILLs that found the process at work, content the same"] == 1


def test_other_content_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scale, "content", lambda folder: folder.name)
    monkeypatch.setattr(scale, "preparing", lambda *_: [sys.executable, "-c", ""])
    with pytest.raises(SystemExit):
        rows_of(tmp_path, "--parts", "kills", "--files", "6", "--kills", "1")
    assert "hold something else" in capsys.readouterr().err


LATE = """
import json, os, sys, time
from pathlib import Path
run = Path(sys.argv[1]) / "SE" / "run"
if os.environ["RANK"] == "0":
    for name in ("logs", "checkpoints"):
        (run / name).mkdir(parents=True, exist_ok=True)
    (run / "config.json").touch()
    (run / "logs" / "metrics.jsonl").open("a").write(json.dumps({"step": 1, "speed/step_ms": time.time()}) + "\\n")
time.sleep(0.5)
(run / "checkpoints" / "iter_0000600.pt").write_bytes(b"weights")
"""


def test_processes_of_training_are_killed(tmp_path, monkeypatch):
    """A stand-in for the training program: what it logs tells in how many attempts it came so far."""
    (tmp_path / "late.py").write_text(LATE)
    monkeypatch.setattr(killed_training, "PROGRAM", [str(tmp_path / "late.py")])
    monkeypatch.setattr(killed_training, "_STARTING", 0.1)
    launcher = killed_training.launch(tmp_path, tmp_path / "out", 2)
    assert killed_training.kill_some(launcher, tmp_path / "out", 2, random.Random(3)) == 2
    log, saved = killed_training.outcome(launcher, tmp_path / "out")
    assert 1 <= len(log) <= 3 and log[0] == {"step": 1} and saved == b"weights"
