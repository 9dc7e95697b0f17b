"""Experiments, checkpoints and statistics that will not do: one line, exit code 2, nothing written."""

import os
import pickle

import pytest
import torch

import demo
import extract_style
from tests.support.demo_workspace import DEMO, EXTRACT, SE_ITER, SE_RUN, STATS
from tests.support.hostile import Calls


@pytest.mark.parametrize("main,argv,existing", [(demo.main, DEMO, "nostyle"), (extract_style.main, EXTRACT, SE_RUN)])
def test_unknown_experiment_lists_what_exists(refused, main, argv, existing):
    refused(main, [*argv, "--exp_name", "nosuch"], "--exp_name nosuch", existing)


@pytest.mark.parametrize("main,argv,existing", [(demo.main, DEMO, "110000"), (extract_style.main, EXTRACT, "26000")])
def test_unknown_iteration_lists_what_exists(refused, main, argv, existing):
    refused(main, [*argv, "--iter", "7"], "--iter 7", existing)


def test_experiment_without_checkpoints(tmp_path, refused, monkeypatch):
    (tmp_path / "other" / "DPT" / "fresh" / "checkpoints").mkdir(parents=True)
    monkeypatch.setattr("utils.runs.run_dir.EXPERIMENTS", tmp_path / "other")
    line = refused(demo.main, [*DEMO, "--exp_name", "fresh"], "fresh", "no checkpoint")
    assert "None" not in line


def use_checkpoint(monkeypatch, tmp_path, content, kind="DPT"):
    folder = tmp_path / "other" / kind / "bad" / "checkpoints"
    folder.mkdir(parents=True)
    path = folder / "iter_0000001.pt"
    path.write_bytes(content)
    monkeypatch.setattr("utils.runs.run_dir.EXPERIMENTS", tmp_path / "other")
    return path


def test_checkpoint_of_the_wrong_kind(space, refused, monkeypatch, tmp_path):
    style_encoder = space.experiments / "SE" / SE_RUN / "checkpoints" / f"{SE_ITER}.pt"
    path = use_checkpoint(monkeypatch, tmp_path, style_encoder.read_bytes())
    refused(demo.main, [*DEMO, "--exp_name", "bad"], path, "style encoder", "denoising network")


def test_talker_given_to_extract_style(space, refused, monkeypatch, tmp_path):
    talker = space.experiments / "DPT" / "head" / "checkpoints" / "iter_0110000.pt"
    path = use_checkpoint(monkeypatch, tmp_path, talker.read_bytes(), "SE")
    refused(extract_style.main, [*EXTRACT, "--exp_name", "bad"], path, "denoising network", "style encoder")


def test_malicious_checkpoint_is_not_executed(refused, monkeypatch, tmp_path):
    flag = tmp_path / "executed"
    path = use_checkpoint(
        monkeypatch, tmp_path, pickle.dumps({"args": Calls(os.mknod, str(flag)), "model": {}, "iter": 1}, protocol=2)
    )
    refused(demo.main, [*DEMO, "--exp_name", "bad"], path)
    assert not flag.exists()
    torch.save({"args": Calls(os.mknod, str(flag)), "model": {}, "iter": 1}, path)
    refused(demo.main, [*DEMO, "--exp_name", "bad"], path, "could run code")
    assert not flag.exists()


def test_published_checkpoint_without_statistics(refused, no_generation):
    argv = [arg for arg in DEMO if arg not in ("--coef_stats", str(STATS))]
    refused(demo.main, argv, "--coef_stats", "iter_0110000.pt")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", None])
def test_bad_statistics(space, refused, no_generation, content):
    path = space.root / "stats.npz"
    if content is not None:
        path.write_bytes(content)
    refused(demo.main, [*DEMO, "--coef_stats", str(path)], path)
