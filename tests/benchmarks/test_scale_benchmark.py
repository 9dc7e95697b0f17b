"""benchmarks.corpus.scale on small numbers."""

import json

import pytest

from benchmarks.corpus import scale


def rows_of(tmp_path, *flags):
    scale.main([*flags, "--json", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())
    return {row["what"]: row["value"] for row in found[flags[1]]}


def test_a_reader_of_fake_sources(tmp_path):
    flags = ["--parts", "reader", "--clips", "4000", "--sources", "2", "--listed", "1000", "--draws", "50"]
    rows = rows_of(tmp_path, *flags)
    assert rows["clips of training"] == (4000 - 2 * 2 * 100) / 1e6  # a twentieth each for validation and test
    assert 0 < rows["memory of a worker, alone"] < 1000 and rows["index_dataset"] > 0 and rows["split by speaker"] > 0


def test_parts_killed_and_merged(tmp_path):
    rows = rows_of(tmp_path, "--parts", "kills", "--files", "6", "--kills", "1")
    assert rows["SIGKILLs that found the process at work, content the same"] in (0, 1)


def test_other_content_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scale, "content", lambda folder: folder.name)
    with pytest.raises(SystemExit):
        rows_of(tmp_path, "--parts", "kills", "--files", "6", "--kills", "1")
    assert "hold something else" in capsys.readouterr().err
