"""Flags from dataclasses, data order, the training loop, run folders."""

import argparse
import dataclasses
import itertools
import json
import math
import os
import random as python_random
import signal

import numpy as np
import pytest
import torch
from torch import nn

import main_dpt
import main_se
import utils.run_dir
from models import training_flags
from models.losses import LossConfig
from models.objective import ObjectiveConfig
from models.style_encoder import StyleEncoderConfig
from models.talker import TalkerConfig
from utils.checkpoint import Checkpoint, load_checkpoint
from utils.coefs import CoefStats
from utils.config import UserParser, add_flags, check_choice, field_docs, from_args, to_plain
from utils.data_order import EndlessBatches, Share, evaluation_batches, training_batches
from utils.errors import UserError
from utils.processes import pick_device, start_processes
from utils.run_dir import find_checkpoint, find_run, new_run, saved_steps, style_folder
from utils.run_log import RunLog
from utils.runtime import Randomness, RunConfig, open_run
from utils.train_step import Learner, lr_factor, make_update
from utils.trainer import Task, Trainer, TrainerConfig

CONFIGS = [
    main_se.StyleRunConfig, StyleEncoderConfig, main_dpt.TalkerRunConfig, TalkerConfig, ObjectiveConfig, LossConfig,
]  # fmt: skip


# Flags


@pytest.mark.parametrize("config", CONFIGS)
def test_every_field_is_a_documented_flag(config):
    parser = UserParser()
    add_flags(parser, config, "group")
    for field in dataclasses.fields(config):
        action = parser._option_string_actions[f"--{field.name}"]
        assert len(field_docs(config)[field.name]) > 10, field.name
        assert action.help
        if field.default is not dataclasses.MISSING:
            assert action.default == field.default, field.name


@pytest.mark.parametrize("config", CONFIGS)
def test_flags_and_back(config):
    parser = UserParser()
    add_flags(parser, config, "group")
    required = [f"--{f.name}=x" for f in dataclasses.fields(config) if f.default is dataclasses.MISSING]
    made = from_args(config, parser.parse_args(required))
    for field in dataclasses.fields(config):
        if field.default is not dataclasses.MISSING:
            assert getattr(made, field.name) == field.default
    json.dumps(to_plain(made))
    parser.format_help()


def test_every_published_flag_of_the_denoiser_parses():
    from tests.golden_weights import NAMES

    published = NAMES["dpt_head/args"]
    argv = []
    for name, value in published.items():
        if isinstance(value, bool):
            argv += [f"--{name}"] * value
        elif value is not None:
            argv += [f"--{name}", str(value)]
    configs = main_dpt.parse_args(argv)
    parts = (configs.run, configs.model, configs.objective, configs.loss)
    for name, value in published.items():
        if name in ("architecture", "rot_repr"):
            continue
        owner = next(part for part in parts if hasattr(part, name))
        found = getattr(owner, name)
        assert (str(found) if isinstance(value, str) else found) == value, name


def test_published_defaults_of_the_denoiser():
    configs = main_dpt.parse_args(["--exp_name", "x"])
    assert (configs.model.feature_dim, configs.model.n_layers, configs.model.n_diff_steps) == (512, 8, 500)
    assert (configs.run.batch_size, configs.run.lr, configs.run.max_iter) == (16, 1e-4, 200_000)
    assert (configs.run.save_iter, configs.run.val_iter, configs.run.warm_iter) == (10_000, 5000, 5000)
    assert not configs.model.use_indicator


def test_published_flags_of_the_style_encoder():
    line = (
        "--exp_name L4 --data_root d --stats_file s.npz --rot_repr aa --feature_dim 128 --n_heads 4 --n_layers 4 "
        "--mlp_ratio 4 --n_motions 100 --fps 25 --batch_size 32 --num_workers 4 --max_iter 100000 --lr 1e-4 "
        "--temperature 0.1 --save_iter 2000 --val_iter 2000 --log_iter 50 --log_smooth_win 50 "
        "--mode train --iter 100000"
    )
    config, options = main_se.parse_args(line.split())
    assert options == StyleEncoderConfig()
    defaults, _ = main_se.parse_args(["--exp_name", "L4"])
    assert dataclasses.replace(config, data_root=defaults.data_root, stats_file=defaults.stats_file) == defaults


@pytest.mark.parametrize("flag", sorted(training_flags.CHOICES))
def test_unknown_choice_names_the_flag(flag):
    with pytest.raises(UserError, match=f"--{flag}: 'nonsense'.*use one of"):
        main_dpt.parse_args(["--exp_name", "x", f"--{flag}", "nonsense"])


@pytest.mark.parametrize("main", [main_se.main, main_dpt.main])
@pytest.mark.parametrize(
    "line",
    [
        "",
        "--exp_name x --lr fast",
        "--exp_name x --nosuch",
        "--exp_name x --mode play",
        "--exp_name x --scheduler Cosine",
    ],
)
def test_bad_command_lines_end_in_one_line(main, line, capsys):
    with pytest.raises(SystemExit) as end:
        main(line.split())
    assert end.value.code == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert error[0].startswith("error: ")


def test_a_flag_shared_by_two_dataclasses_is_one_flag():
    parser = argparse.ArgumentParser()
    add_flags(parser, StyleEncoderConfig, "a")
    add_flags(parser, TalkerConfig, "b")
    assert parser.parse_args(["--fps", "30"]).fps == 30


def test_check_choice():
    check_choice("--x", "a", ("a", "b"))
    with pytest.raises(UserError, match="--x: 'c' is not a choice; use one of a, b"):
        check_choice("--x", "c", ("a", "b"))


# Data order


def batches(n, **options):
    return list(itertools.islice(EndlessBatches(**{"n_items": 11, "batch_size": 3, "seed": 1, **options}), n))


def test_batches_are_a_function_of_seed_and_step():
    assert batches(20) == batches(20)
    assert batches(20) != batches(20, seed=2)
    for start in (1, 3, 7):
        assert batches(10, start=start) == batches(20)[start : start + 10]


def test_an_epoch_has_every_item_once_and_drops_the_rest():
    first = batches(6)
    for epoch in (0, 1):
        items = [key for batch in first[3 * epoch : 3 * epoch + 3] for key in batch]
        assert {e for e, _ in items} == {epoch}
        assert len({i for _, i in items}) == 9
    assert [i for _, i in first[0]] != [i for _, i in first[3]]


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_what_one_would_see(processes):
    """P processes with batches of B see in every step what one process with a batch of P B sees."""
    shares = [batches(9, n_items=25, batch_size=2, share=Share(i, processes), start=1) for i in range(processes)]
    one = batches(9, n_items=25, batch_size=2 * processes, start=1)
    assert [sum(parts, []) for parts in zip(*shares)] == one


def test_batch_larger_than_the_data():
    with pytest.raises(UserError, match="--batch_size 12: .* only 11 items"):
        batches(1, batch_size=12)


class Items(torch.utils.data.Dataset):
    """Item (e, i) is that pair; a bare index belongs to epoch 0."""

    def __init__(self, n=7):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, key):
        return torch.tensor(key if isinstance(key, tuple) else (0, key))


def test_workers_do_not_change_the_order():
    alone = [x.tolist() for x in itertools.islice(training_batches(Items(), 2, 0, 0), 8)]
    workers = training_batches(Items(), 2, 0, 2)
    assert [x.tolist() for x in itertools.islice(workers, 8)] == alone
    resumed = training_batches(Items(), 2, 0, 0, start=5)
    assert [x.tolist() for x in itertools.islice(resumed, 3)] == alone[5:]


def test_evaluation_sees_everything_once_with_the_first_crops():
    dataset = Items()
    seen = torch.cat(list(evaluation_batches(dataset, 3, 0))).tolist()
    assert seen == [[0, i] for i in range(7)]
    assert len(list(evaluation_batches(dataset, 100, 0))) == 1


# The loop

LOOP = TrainerConfig(max_iter=6, lr=0.05, save_iter=3, val_iter=4, log_iter=2)


def data(start=0, size=8):
    for step in itertools.count(start):
        yield torch.randn(size, 4, generator=torch.Generator().manual_seed(step))


def make_trainer(run, config=LOOP, seed=0, loss=None, precision="fp32"):
    accelerator = start_processes("cpu", precision)
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)).train()
    random = Randomness(0, "cpu")

    def error(x):
        noise = torch.randn(len(x), 1, generator=random.device)
        value = (network(x) - x.sum(1, keepdim=True) + 0.01 * noise).square().mean()
        return value, {"fit": value, "twice": 2 * value}

    def checkpoint(net, step, state):
        return Checkpoint("style_encoder", {}, net.state_dict(), step, CoefStats.identity(), training=state)

    task = Task(
        network,
        random.begin,
        lambda batch: batch,
        loss or error,
        lambda net: {"weight": weights(net).abs().sum().item()},
        checkpoint,
    )
    return Trainer(config, task, run, accelerator)


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_files_of_a_run(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.fit(data)
    assert sorted(saved_steps(tmp_path)) == [3, 6]
    lines = [json.loads(line) for line in (tmp_path / "logs" / "metrics.jsonl").read_text().splitlines()]
    trained = [line for line in lines if "train/total" in line]
    assert [line["step"] for line in trained] == [2, 4, 6]
    assert [line["step"] for line in lines if "val/weight" in line] == [4, 6]
    for line in trained:
        assert line["train/twice"] == pytest.approx(2 * line["train/fit"])
        assert line["train/total"] == pytest.approx(line["train/fit"])
        assert line["train/lr"] == LOOP.lr
    assert any(p.name.startswith("events") for p in (tmp_path / "logs").iterdir())


def test_log_averages_the_last_steps(tmp_path):
    values = iter(range(1, 100))
    parameter = nn.Linear(1, 1)

    def loss(batch):
        return parameter.weight.sum() * 0 + next(values), {}

    trainer = make_trainer(tmp_path, dataclasses.replace(LOOP, log_smooth_win=3), loss=loss)
    trainer.fit(data)
    lines = [json.loads(line) for line in (tmp_path / "logs" / "metrics.jsonl").read_text().splitlines()]
    assert [line["train/total"] for line in lines if "train/total" in line] == [1.5, 3.0, 5.0]


def test_accumulated_gradients_average(tmp_path):
    """Two half batches give the step that one full batch gives."""

    def loss_of(network):
        return lambda x: ((network(x) - 1).square().mean(), {})

    def halves_from(start):
        return (half for batch in data(start // 2) for half in batch.chunk(2))

    steps = []
    for accumulate in (1, 2):
        config = dataclasses.replace(
            LOOP, max_iter=3, gradient_accumulation_steps=accumulate, save_iter=100, val_iter=100
        )
        trainer = make_trainer(tmp_path / str(accumulate), config)
        trainer.task = dataclasses.replace(trainer.task, loss=loss_of(trainer.task.network))
        trainer.fit(halves_from if accumulate == 2 else data)
        steps.append(weights(trainer.task.network))
    torch.testing.assert_close(steps[0], steps[1], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("scheduler", ["None", "WarmupThenDecay"])
def test_resumed_equals_uninterrupted(tmp_path, ema, scheduler):
    config = dataclasses.replace(LOOP, ema_decay=ema, scheduler=scheduler, warm_iter=2, cos_max_iter=6)
    whole = make_trainer(tmp_path / "whole", config)
    whole.fit(data)
    part = make_trainer(tmp_path / "part", dataclasses.replace(config, max_iter=3))
    part.fit(data)
    checkpoint = load_checkpoint(tmp_path / "part" / "checkpoints" / "iter_0000003.pt", "style_encoder")
    resumed = make_trainer(tmp_path / "part", config, seed=99)
    resumed.restore(checkpoint.model, checkpoint.training, checkpoint.step)
    resumed.fit(data)
    assert resumed.step == 6
    torch.testing.assert_close(weights(resumed.task.network), weights(whole.task.network), atol=1e-6, rtol=0)
    torch.testing.assert_close(weights(resumed.network_for_use), weights(whole.network_for_use), atol=1e-6, rtol=0)


def test_moving_average(tmp_path):
    """The saved weights follow the definition, with the quicker decay of the first steps."""
    config = dataclasses.replace(LOOP, ema_decay=0.5, max_iter=1)
    trainer = make_trainer(tmp_path, config)
    expected = weights(trainer.task.network)
    for step in range(6):
        trainer.config = dataclasses.replace(config, max_iter=step + 1)
        trainer.fit(data)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weights(trainer.task.network)
        torch.testing.assert_close(weights(trainer.network_for_use), expected, atol=1e-6, rtol=1e-5)
    saved = load_checkpoint(tmp_path / "checkpoints" / "iter_0000006.pt", "style_encoder")
    torch.testing.assert_close(torch.cat([v.flatten() for v in saved.model.values()]), expected)
    raw = torch.cat([v.flatten() for v in saved.training["raw_model"].values()])
    torch.testing.assert_close(raw, weights(trainer.task.network))


def test_resume_needs_the_optimiser(tmp_path):
    trainer = make_trainer(tmp_path)
    with pytest.raises(UserError, match="no optimiser state"):
        trainer.restore({}, {}, 3)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_it_is_saved(tmp_path, value):
    parameter = nn.Linear(1, 1)
    counter = itertools.count(1)

    def loss(batch):
        return parameter.weight.sum() * (value if next(counter) > 2 else 1), {}

    trainer = make_trainer(tmp_path, dataclasses.replace(LOOP, log_iter=50), loss=loss)
    with pytest.raises(UserError, match=r"not finite at step 3; its batch is in .*not_finite_0000003_0.pt.*lower --lr"):
        trainer.fit(data)
    assert saved_steps(tmp_path) == []
    found = torch.load(tmp_path / "not_finite_0000003_0.pt", weights_only=True)
    assert found["step"] == 3
    assert torch.equal(found["batches"][0], next(data(2)))


def test_a_terminated_run_saves_its_last_step(tmp_path):
    def loss(x):
        if trainer.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return trainer.task.network(x).square().mean(), {}

    before = signal.getsignal(signal.SIGTERM)
    trainer = make_trainer(tmp_path, dataclasses.replace(LOOP, save_iter=100), loss=loss)
    with pytest.raises(SystemExit) as stop:
        trainer.fit(data)
    assert stop.value.code == 143
    assert saved_steps(tmp_path) == [4]
    assert signal.getsignal(signal.SIGTERM) is before


def test_gradient_clipping(tmp_path):
    def loss(x):
        return 100 * network[0].weight.sum(), {}

    network = nn.Sequential(nn.Linear(3, 1, bias=False))
    learner = Learner(network, dataclasses.replace(LOOP, grad_clip=0.5), start_processes("cpu"))
    means = make_update(learner, loss)([None, None])
    assert means["grad_norm"].item() == pytest.approx(100 * 3**0.5)  # before
    assert network[0].weight.grad.norm().item() == pytest.approx(0.5, rel=1e-4)


def test_bf16_computes_in_bf16_and_keeps_the_weights_in_single_precision(tmp_path):
    seen = []

    def loss(x):
        y = trainer.task.network(x)
        seen.append(y.dtype)
        return y.float().square().mean(), {}

    trainer = make_trainer(tmp_path, dataclasses.replace(LOOP, max_iter=2), loss=loss, precision="bf16")
    before = weights(trainer.task.network).clone()
    trainer.fit(data)
    after = weights(trainer.task.network)
    assert set(seen) == {torch.bfloat16}
    assert after.dtype == torch.float32
    assert not torch.equal(before, after)


def test_the_last_and_the_best_checkpoints_are_kept(tmp_path):
    values = iter([5.0, 3.0, 4.0, math.nan, 3.5, 3.2])
    config = dataclasses.replace(LOOP, max_iter=12, save_iter=3, val_iter=2, keep_last=2)
    trainer = make_trainer(tmp_path, config)
    trainer.task = dataclasses.replace(trainer.task, validate=lambda net: {"total": next(values)})
    trainer.fit(data)
    # 2 and 4 are saved as the best so far only; 4 stays the best.
    assert sorted(saved_steps(tmp_path)) == [4, 9, 12]
    assert json.loads((tmp_path / "checkpoints" / "best.json").read_text())["step"] == 4


def test_the_log_forgets_what_will_come_again(tmp_path):
    lines = tmp_path / "metrics.jsonl"
    lines.write_text('{"step": 1}\n{"step": 2, "a": 1}\n{"step": 3}\n{"st')
    with RunLog(tmp_path, step=2) as run_log:
        run_log.write(3, {"b": 0.5})
    assert [json.loads(line) for line in lines.read_text().splitlines()] == [
        {"step": 1}, {"step": 2, "a": 1}, {"step": 3, "b": 0.5},
    ]  # fmt: skip
    with RunLog(tmp_path / "other", enabled=False) as run_log:
        run_log.write(1, {"b": 0.5})
    assert not (tmp_path / "other").exists()


def test_validation_leaves_the_network_in_training_mode(tmp_path):
    trainer = make_trainer(tmp_path)
    modes = []
    trainer.task = dataclasses.replace(trainer.task, validate=lambda net: modes.append(net.training) or {"x": 0.0})
    trainer.fit(data)
    assert modes == [False, False]
    assert trainer.task.network.training


def test_learning_rates():
    plain = TrainerConfig(max_iter=1, lr=1, save_iter=1, val_iter=1, warm_iter=10, cos_max_iter=110)
    assert [lr_factor(plain, step) for step in (0, 5, 1000)] == [1, 1, 1]
    warm = dataclasses.replace(plain, scheduler="Warmup")
    assert [lr_factor(warm, step) for step in (0, 4, 9, 10, 1000)] == pytest.approx([0.1, 0.5, 1, 1, 1])
    decay = dataclasses.replace(plain, scheduler="WarmupThenDecay")
    assert [lr_factor(decay, step) for step in (0, 9, 10)] == pytest.approx([0.1, 1, 1])
    assert [lr_factor(decay, step) for step in (60, 110, 9999)] == pytest.approx([0.51, 0.02, 0.02])


def test_a_step_draws_the_same_whatever_came_before():
    def draws(random):
        own = torch.rand(2, generator=random.host), torch.rand(2, generator=random.device)
        return [*own, torch.rand(2), torch.from_numpy(np.random.rand(2)), torch.tensor(python_random.random())]  # noqa: NPY002

    def at(step, **options):
        random = Randomness(**{"seed": 1, "device": "cpu", **options})
        torch.rand(step + 1)
        random.begin(step)
        return torch.cat([x.flatten().double() for x in draws(random)])

    assert torch.equal(at(5), at(5))
    others = [at(6), at(4), at(5, seed=2), at(5, process=1)]
    assert all((at(5) != other).all() for other in others)


def test_random_state_round_trip():
    random = Randomness(3, "cpu")
    state = random.state()
    first = torch.rand(3, generator=random.host), torch.rand(3, generator=random.device)
    random.restore(state)
    assert torch.equal(first[0], torch.rand(3, generator=random.host))
    assert torch.equal(first[1], torch.rand(3, generator=random.device))


@pytest.mark.parametrize("name", ["tpu", "meta", "cuda:99", "cpu:x"])
def test_unknown_device(name):
    with pytest.raises(UserError, match=f"--device {name}"):
        pick_device(name)


def test_a_gpu_by_its_number_becomes_the_current_one(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: torch.ones(()))
    for name in ("cpu", "cuda", "cuda:1"):
        pick_device(name)
    assert chosen == [torch.device("cuda:1")]


# Run folders


@pytest.fixture
def root(tmp_path, monkeypatch):
    names = ["head-250101_000000", "head-240101_235959", "head-style-260101_000000", "nohead", "released-SA"]
    for name in names:
        (tmp_path / "DPT" / name / "checkpoints").mkdir(parents=True)
    for step in (100, 20):
        (tmp_path / "DPT" / "nohead" / "checkpoints" / f"iter_{step:07d}.pt").touch()
    (tmp_path / "DPT" / "nohead" / "checkpoints" / "iter_0000999.pt.bak").touch()
    (tmp_path / "DPT" / "a-file").touch()
    monkeypatch.setattr(utils.run_dir, "EXPERIMENTS", tmp_path)
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
    assert utils.run_dir._STAMP.search(run.name)
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


# Which run a command continues


def saved(folder, step, damaged=False):
    path = folder / "checkpoints" / f"iter_{step:07d}.pt"
    Checkpoint("style_encoder", {}, {"w": torch.ones(3)}, step).save(path)
    if damaged:
        path.write_bytes(path.read_bytes()[:500])
    return path


def opened(config, **changes):
    """What a command with these flags would train: (folder, checkpoint)."""
    config = dataclasses.replace(config, **changes)
    with open_run("SE", config, {"run": to_plain(config)}) as run:
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
