"""Run folders: which one a command continues, names, checkpoints in them."""

import dataclasses
import json
import shutil

import pytest
import torch
from torch.distributed import HashStore

import utils.runs.run_dir
from utils.config import to_plain
from utils.errors import UserError
from utils.runs.checkpoint import Checkpoint
from utils.runs.run_dir import find_checkpoint, find_run, new_run, style_folder
from utils.training.run_config import RunConfig, open_run


@pytest.fixture
def root(tmp_path, monkeypatch):
    names = ["head-250101_000000", "head-240101_235959", "head-style-260101_000000", "nohead", "released-SA"]
    for name in names:
        (tmp_path / "DPT" / name / "checkpoints").mkdir(parents=True)
    for step in (100, 20):
        (tmp_path / "DPT" / "nohead" / "checkpoints" / f"iter_{step:07d}.pt").touch()
    (tmp_path / "DPT" / "nohead" / "checkpoints" / "iter_0000999.pt.bak").touch()
    (tmp_path / "DPT" / "a-file").touch()
    monkeypatch.setattr(utils.runs.run_dir, "EXPERIMENTS", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "name,found",
    [
        ("head", "head-250101_000000"),  # its own newest run, not head-style's
        ("head-240101_235959", "head-240101_235959"),
        ("head-2", "head-250101_000000"),
        ("head-s", "head-style-260101_000000"),
        ("nohead", "nohead"),
        ("rel", "released-SA"),
    ],
)
def test_find_run(root, name, found):
    assert find_run("DPT", name).name == found


def test_unknown_run_lists_what_exists(root):
    with pytest.raises(UserError, match="--exp_name x: no such DPT experiment .*existing: head-24.*released-SA"):
        find_run("DPT", "x")
    with pytest.raises(UserError, match="existing: none"):
        find_run("SE", "x")


def test_find_checkpoint(root):
    assert find_checkpoint("DPT", "nohead", None).name == "iter_0000100.pt"
    assert find_checkpoint("DPT", "nohead", 20).name == "iter_0000020.pt"
    with pytest.raises(UserError, match="--iter 30: nohead has no such checkpoint; existing iterations: 20, 100"):
        find_checkpoint("DPT", "nohead", 30)
    with pytest.raises(UserError, match="--exp_name released: released-SA has no checkpoint"):
        find_checkpoint("DPT", "released", None)


def test_new_run(root):
    run = new_run("SE", "my-run_1.5")
    assert find_run("SE", "my-run_1.5") == run
    assert (run / "checkpoints").is_dir()
    assert utils.runs.run_dir._STAMP.search(run.name)
    for name in ("a/b", "", "a b", "../x"):
        with pytest.raises(UserError, match="--exp_name"):
            new_run("SE", name)


def test_two_runs_in_one_second(root):
    assert new_run("SE", "twin") != new_run("SE", "twin")


def test_style_folder():
    expected = "head-L4/iter_0026000"
    for path in (
        "experiments/SE/head-L4/checkpoints/iter_0026000.pt",
        r"experiments\SE\head-L4\checkpoints\iter_0026000.pt",
    ):
        assert str(style_folder(path)) == expected


def saved(folder, step, damaged=False):
    path = folder / "checkpoints" / f"iter_{step:07d}.pt"
    Checkpoint("style_encoder", {}, {"w": torch.ones(3)}, step).save(path)
    if damaged:
        path.write_bytes(path.read_bytes()[:500])
    return path


def opened(config, launch=None, **changes):
    """What a command with these flags would train: (folder, checkpoint)."""
    config = dataclasses.replace(config, **changes)
    with open_run("SE", config, {"run": to_plain(config)}, launch) as run:
        (run.folder / "logs").mkdir(exist_ok=True)
        (run.folder / "logs" / "metrics.jsonl").touch()
        return run.folder, run.resumed


RUN = RunConfig(exp_name="study", max_iter=100)


def test_a_new_run_has_its_configuration(root):
    folder, resumed = opened(RUN)
    assert resumed is None
    assert json.loads((folder / "config.json").read_text())["run"]["exp_name"] == "study"


def test_the_same_command_continues_an_unfinished_run(root):
    folder, _ = opened(RUN)
    assert opened(RUN) == (folder, None)  # killed before its first checkpoint
    saved(folder, 5), saved(folder, 40)
    (folder / "checkpoints" / ".iter_0000050.abc.tmp.pt").touch()  # killed while saving
    assert opened(RUN, num_workers=0) == (folder, folder / "checkpoints" / "iter_0000040.pt")
    assert [p.name for p in (folder / "checkpoints").glob(".*")] == []
    saved(folder, 100)
    assert opened(RUN)[0] != folder  # finished


@pytest.mark.parametrize("changes", [{}, {"fresh": True}])
def test_a_launch_stays_with_its_run(root, changes):
    """torchrun starts its processes again: never with an older run, nor with a new one, even after the last step."""
    saved(opened(RUN)[0], 100)
    launch = HashStore()
    folder, _ = opened(RUN, launch, **changes)
    for step in (40, 100):
        last = saved(folder, step)
        assert opened(RUN, launch, **changes) == (folder, last)
    shutil.rmtree(folder)
    assert opened(RUN, launch, **changes)[1] is None
    assert opened(RUN, HashStore(), fresh=True)[0] != folder


def test_a_run_that_got_nowhere_leaves_nothing(root):
    with pytest.raises(UserError), open_run("SE", RUN, {"run": to_plain(RUN)}) as run:
        assert run.folder.is_dir()
        raise UserError("the data set is missing")
    assert not run.folder.exists()


@pytest.mark.parametrize("changes", [{"lr": 1e-3}, {"fresh": True}, {"exp_name": "stud"}, {"batch_size": 3}])
def test_another_command_begins_another_run(root, changes):
    folder, _ = opened(RUN)
    saved(folder, 40)
    assert opened(RUN, **changes)[0] != folder


def test_resume_insists(root, caplog):
    with pytest.raises(UserError, match="no such SE experiment"):
        opened(RUN, resume=True)
    folder, _ = opened(RUN)
    with pytest.raises(UserError, match="--resume: .* no checkpoint yet"):
        opened(RUN, resume=True)
    last = saved(folder, 100)
    with caplog.at_level("INFO"):
        assert opened(RUN, resume=True, max_iter=200, lr=1e-3) == (folder, last)
    assert "--lr was 0.0001, is now 0.001" in caplog.text


def test_a_damaged_checkpoint_falls_back_to_the_one_before(root, caplog):
    folder, _ = opened(RUN)
    good = saved(folder, 5)
    saved(folder, 40, damaged=True)
    saved(folder, 60).write_bytes(b"")
    assert opened(RUN) == (folder, good)
    assert caplog.text.count("going back to the checkpoint before") == 2
    good.unlink()
    assert opened(RUN) == (folder, None)


def test_a_running_run_is_left_alone(root):
    with open_run("SE", RUN, {"run": to_plain(RUN)}) as first:
        saved(first.folder, 5)
        assert opened(RUN)[0] != first.folder
        with pytest.raises(UserError, match="another process is training it"):
            opened(RUN, exp_name=first.folder.name, resume=True)
    assert opened(RUN, exp_name=first.folder.name, resume=True)[0] == first.folder
