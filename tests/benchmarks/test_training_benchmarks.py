"""Every benchmark of training runs with tiny sizes, compares right and writes what it printed."""

import json
import math
import subprocess
import sys

import pytest
import torch

from benchmarks.speed import data, evaluation, gradient_sharing, style_encoder_loop, training_step
from benchmarks.speed.gradient_sharing import Way
from benchmarks.speed.workload import MODES, RandomItems, Workload, first_failure, run_together
from models.training import losses
from utils.training.data_order import Share

CPU = ["--device", "cpu"]


@pytest.fixture(autouse=True)
def one_space(monkeypatch, open_head_space):
    monkeypatch.setattr(losses, "VertexSpace", lambda flame: open_head_space)


def rows_of(benchmark, flags, tmp_path, capsys):
    benchmark.main([*flags, *CPU, "--json", str(tmp_path / "out.json")])
    printed, written = capsys.readouterr().out, json.loads((tmp_path / "out.json").read_text())
    assert written["machine"] in printed
    return written.get("rows"), written


def test_training_step(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(training_step, "_PROFILED", 1)  # the profiler takes longer than the steps
    flags = ["--size", "tiny", "--batch_sizes", "2", "--steps", "2", "--warm_up", "1", "--profile"]
    rows, written = rows_of(training_step, [*flags, "--modes", "fast fp32", "fast bf16"], tmp_path, capsys)
    assert [row["mode"] for row in rows] == ["plain fp32", "fast fp32", "fast bf16"]
    assert rows[0]["speedup"] == 1
    assert rows[0]["loss_difference"] == 0
    assert rows[1]["worst_term_difference"] < 1e-4
    assert 0 < rows[2]["loss_difference"] < 0.01
    profile = written["profiles"]["2"]["fast bf16"]
    assert profile[0][0] == "operation"
    assert profile[-1][0] == "all"


def test_vertex_losses(tmp_path, capsys):
    flags = ["--parts", "vertices", "--batch_sizes", "2", "--frames", "12", "--repeats", "1"]
    rows = rows_of(training_step, flags, tmp_path, capsys)[1]["vertices"]
    assert [row["form"] for row in rows] == ["vertices", "vertex space"]
    assert rows[1]["term_difference"] < 1e-5
    assert rows[1]["gradient_difference"] < 1e-5


def test_data_loading(tmp_path, capsys):
    flags = ["--parts", "loading", "--clips", "4", "--workers", "0", "1"]
    flags += ["--batch_size", "2", "--batches", "3", "--needed", "2"]
    rows = rows_of(data, flags, tmp_path, capsys)[1]["loading"]
    assert [row["reader"] for row in rows] == ["0 workers", "1 workers", "resident (--preload)"]
    for row in rows:
        assert row["of_needed"] == pytest.approx(row["items_per_second"] / 2)


def test_style_encoder_loop(tmp_path, capsys):
    flags = ["--steps", "3", "--persons", "6", "--batch_size", "3", "--workers", "0"]
    rows, _ = rows_of(style_encoder_loop, flags, tmp_path, capsys)
    assert [row["loop"] for row in rows] == ["plain", "endless workers", "preload"]
    assert rows[1]["mean_loss"] == pytest.approx(rows[2]["mean_loss"], rel=1e-6)  # the same items and dropout
    for row in rows:
        assert row["minutes_for_100k"] == pytest.approx(100_000 / row["steps_per_second"] / 60)
        assert 0 < row["mean_loss"] < 2 * math.log(5)


def test_numbers_of_processes(tmp_path, capsys):
    flags = ["--size", "tiny", "--mode", "fast fp32", "--batch_sizes", "1", "--steps", "4", "--warm_up", "1"]
    rows, written = rows_of(gradient_sharing, [*flags, "--processes", "1"], tmp_path, capsys)
    assert [(row["processes"], row["speedup"]) for row in rows] == [(1, 1)]
    assert len(written["losses"]["1 x 1"]["1"]) == 4


def test_one_process_takes_the_items_of_several():
    flags = gradient_sharing.GradientFlags(processes=(1, 2, 4))
    assert flags.ways() == [Way(1), Way(2), Way(4), Way(1, 2), Way(1, 4)]


def test_two_processes_are_started():
    flags = gradient_sharing.GradientFlags(batch_sizes=(2,), steps=3, warm_up=1, size="tiny", device="cpu")
    found = gradient_sharing.launch(flags, Way(2), "fast fp32")["2"]
    assert len(found["losses"]) == 3
    assert found["seconds"] > 0


def test_gradient_sharing_shows_what_failed(tmp_path, capsys, monkeypatch):
    seconds = {Way(1): 0.1, Way(2): 0.125}

    def launch(flags, way, mode):
        one = seconds.get(way)
        return {"error": "out of luck"} if one is None else {"4": {"seconds": one, "losses": [2.0]}}

    monkeypatch.setattr(gradient_sharing, "launch", launch)
    gradient_sharing.main(["--batch_sizes", "4", *CPU, "--json", str(tmp_path / "out.json")])
    written = json.loads((tmp_path / "out.json").read_text())
    assert [row["speedup"] for row in written["rows"]] == pytest.approx([1, 1.6, None])
    assert "1 x 2: out of luck" in capsys.readouterr().out


def test_evaluating_in_two_processes(tmp_path, capsys, monkeypatch):
    """The first of them merges the report, whose files are those of one process."""
    monkeypatch.setattr(evaluation, "SECONDS", 5)
    monkeypatch.setattr(evaluation, "SAMPLES", 2)
    rows, _ = rows_of(gradient_sharing, ["--evaluate", "2"], tmp_path, capsys)
    assert [(row["clips"], row["processes"]) for row in rows] == [(1, 1), (2, 1), (2, 2)]
    assert all(row["same"] for row in rows) and rows[0]["seconds"] > 0
    assert rows[2]["speedup"] == pytest.approx(rows[1]["seconds"] / rows[2]["seconds"])


def test_processes_that_never_end_are_stopped():
    with pytest.raises(TimeoutError, match="no end within 1 s"):
        run_together([sys.executable, "-c", "import time; time.sleep(60)"], 2, limit=1)


def test_losses_standard_error():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(8000, generator=generator).tolist()
    assert gradient_sharing.standard_error(values) == pytest.approx(8000**-0.5, rel=0.6)


def test_processes_get_the_items_of_one():
    items = RandomItems(12, 20, torch.device("cpu"))
    one = next(items.batches(4))
    two = [next(items.batches(2, share=Share(i, 2))) for i in (0, 1)]
    for name, values in one.items():
        assert torch.equal(values, torch.cat([part[name] for part in two])), name


def test_workload_learns():
    work = Workload("tiny", MODES["fast fp32"], "cpu")
    batches = RandomItems(4, 20, work.device).batches(2)
    work.warm_up(batches, 1)
    assert work.learner.step == 0
    before = work.model.null_audio_feat.clone()
    assert work.step(batches, 2).keys() >= {"total", "noise", "vert", "head_trans"}
    assert work.learner.step == 1
    assert not torch.equal(before, work.model.null_audio_feat)


def test_a_failed_process_is_noticed_while_others_wait_for_it():
    waiting, failing = (
        subprocess.Popen([sys.executable, "-c", code])
        for code in ("import time; time.sleep(60)", "raise SystemExit(3)")
    )
    try:
        assert first_failure([waiting, failing]) == 3
    finally:
        waiting.kill()
    assert first_failure([subprocess.Popen([sys.executable, "-c", ""])]) == 0
