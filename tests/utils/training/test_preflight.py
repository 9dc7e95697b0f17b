"""Mistakes are found before the first step, together; dry runs write nothing; parts can be frozen."""

import dataclasses

import pytest
import torch
from torch import nn

import main_dpt
import main_se
from tests.support.training_data import make_data
from utils.errors import UserError
from utils.runs import run_dir
from utils.runs.checkpoint import load_checkpoint
from utils.training import preflight
from utils.training.preflight import Problems, check_disk, check_numbers, freeze
from utils.training.process_group import start_processes
from utils.training.run_config import RunConfig
from utils.training.train_step import Learner
from utils.training.trainer import TrainerConfig

SIZES = ["--num_workers", "0", "--batch_size", "2", "--feature_dim", "16", "--n_heads", "2", "--n_layers", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"), persons=5)


@pytest.fixture(autouse=True)
def experiments(tmp_path, monkeypatch):
    monkeypatch.setattr(run_dir, "EXPERIMENTS", tmp_path / "experiments")
    return tmp_path / "experiments"


def failing(main, flags, capsys):
    with pytest.raises(SystemExit) as stop:
        main([str(flag) for flag in flags])
    assert stop.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_one_problem_is_its_own_message():
    problems = Problems()
    problems.report()
    assert problems.check(int, "3") == 3
    problems.found.append("--x 1: wrong; use 2")
    with pytest.raises(UserError, match="^--x 1: wrong; use 2$"):
        problems.report()
    problems.found += ["--x 1: wrong; use 2", "--y: missing"]
    with pytest.raises(UserError, match=r"^2 problems: \(1\) --x 1: wrong; use 2 \(2\) --y: missing$"):
        problems.report()


def test_everything_wrong_with_a_style_run_at_once(tmp_path, experiments, capsys):
    flags = ["--exp_name", "x", "--data_root", tmp_path / "gone", "--log_iter", "0", "--freeze", "nose"]
    message = failing(main_se.main, flags, capsys)
    for part in ("4 problems", "--log_iter 0: must be at least 1", "stats_train.npz: no such file", "no data.mdb",
                 "--freeze nose: the network has no part of this name; its parts: motion_proj"):  # fmt: skip
        assert part in message
    assert list((experiments / "SE").iterdir()) == []  # no empty run is left behind


def test_everything_wrong_with_a_denoiser_run_at_once(data, tmp_path, experiments, capsys):
    flags = ["--exp_name", "x", "--data_root", data, *SIZES, "--batch_size", "40", "--head", tmp_path / "no.pkl"]
    flags += ["--audio_model", "whisper", "--style_enc_ckpt", tmp_path / "no.pt", "--criterion", "l1"]
    message = failing(main_dpt.main, flags, capsys)
    for part in ("3 problems", "--batch_size 40: the data set has only 3 items", "no.pt: no such checkpoint",
                 "no.pkl: no such head model"):  # fmt: skip
        assert part in message
    assert list((experiments / "DPT").iterdir()) == []


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--lr", "nan"], "--lr nan: must be at least 0"),
        (["--ema_decay", "1"], "--ema_decay 1.0: must be less than 1"),
        (["--resume", "--fresh"], "no such SE experiment"),
        (["--cuda_graph", "--device", "cpu"], "--cuda_graph: needs an NVIDIA GPU"),
        (["--precision", "fp16", "--device", "cpu"], "--precision fp16: needs a GPU"),
        (["--precision", "fp8"], "--precision: 'fp8' is not a choice"),
    ],
)
def test_flags_out_of_range(data, flags, message, capsys):
    assert message in failing(main_se.main, ["--exp_name", "x", "--data_root", data, *SIZES, *flags], capsys)


def test_contradicting_flags():
    with pytest.raises(UserError, match="--resume and --fresh"):
        check_numbers(RunConfig(exp_name="x", resume=True, fresh=True))
    check_numbers(RunConfig(exp_name="x"))


def test_dry_run_says_what_would_happen_and_writes_nothing(data, experiments, caplog):
    with caplog.at_level("INFO"):
        main_se.main(["--exp_name", "x", "--data_root", str(data), *SIZES, "--gradient_accumulation_steps", "3",
                      "--device", "cpu", "--dry_run"])  # fmt: skip
    for part in ('"gradient_accumulation_steps": 3', "persons, training", "6 = 2 x 1 processes x 3 batches", "one step",
                 "one checkpoint"):  # fmt: skip
        assert part in caplog.text
    assert not experiments.exists()


def test_frozen_parts_stay_as_they_were(data, experiments):
    flags = ["--exp_name", "x", "--data_root", str(data), *SIZES, "--max_iter", "2", "--save_iter", "1", "--lr", "0.1"]
    main_se.main([*flags, "--device", "cpu", "--freeze", "motion_proj, transformer.layers.0.norm1.weight"])
    (run,) = (experiments / "SE").iterdir()
    first, last = (load_checkpoint(run / "checkpoints" / f"iter_000000{i}.pt", "style_encoder").model for i in (1, 2))
    same = {name for name in first if torch.equal(first[name], last[name])}
    assert same == {"motion_proj.weight", "motion_proj.bias", "transformer.layers.0.norm1.weight"}


def test_freezing_everything():
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(UserError, match="nothing is left to train"):
        freeze(network, "0")


def test_disk_space(tmp_path, monkeypatch):
    learner = Learner(nn.Linear(1000, 1000), TrainerConfig(max_iter=100, save_iter=10), start_processes("cpu"))
    each = 3 * 4 * 1001_000  # weights and Adam's two moments

    def disk(n_bytes):
        monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: type("Usage", (), {"free": n_bytes}))

    disk(11 * each)
    check_disk(learner, learner.config, tmp_path / "run")
    disk(11 * each - 1)
    with pytest.raises(UserError, match="11 checkpoints of 0.01 GB .*--keep_last"):
        check_disk(learner, learner.config, tmp_path / "run")
    learner.config = dataclasses.replace(learner.config, keep_last=1)
    disk(3 * each)
    check_disk(learner, learner.config, tmp_path / "run")
