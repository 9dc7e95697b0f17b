"""The training loop: logs, resume, precision, randomness, devices."""

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

from utils import devices as processes
from utils.coefs import CoefStats
from utils.devices import pick_device
from utils.errors import UserError
from utils.runs.checkpoint import Checkpoint, load_checkpoint
from utils.runs.run_dir import saved_steps
from utils.runs.run_log import RunLog
from utils.training import process_group
from utils.training.process_group import first_after_all, start_processes
from utils.training.randomness import Randomness
from utils.training.train_step import Learner, lr_factor, make_update
from utils.training.trainer import Task, Trainer, TrainerConfig

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


def test_the_best_step_is_recorded_although_a_kill_came_before(tmp_path, monkeypatch):
    config = dataclasses.replace(LOOP, max_iter=6, save_iter=3, val_iter=2)
    trainer = make_trainer(tmp_path, config)
    values, record = iter([5.0, 3.0]), trainer.kept.set_best
    trainer.task = dataclasses.replace(trainer.task, validate=lambda net: {"total": next(values)})
    monkeypatch.setattr(trainer.kept, "set_best", lambda **best: record(**best) if best["step"] < 4 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trainer.fit(data)
    best = tmp_path / "checkpoints" / "best.json"
    assert json.loads(best.read_text())["step"] == 2 and sorted(saved_steps(tmp_path)) == [2, 3, 4]
    checkpoint = load_checkpoint(tmp_path / "checkpoints" / "iter_0000004.pt", "style_encoder")
    make_trainer(tmp_path, config).restore(checkpoint.model, checkpoint.training, checkpoint.step)
    assert json.loads(best.read_text()) == {"step": 4, "value": 3.0, "regular": False}
    assert sorted(saved_steps(tmp_path)) == [3, 4]


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
    others = [at(6), at(4), at(5, seed=2)]
    assert all((at(5) != other).all() for other in others)
    assert ((at(5) == at(5, process=1)) == torch.tensor([True] * 4 + [False] * 5)).all()  # noise belongs to items


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


def test_each_process_begins_on_its_own_gpu(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for rank, name in (("1", "auto"), ("1", "cpu"), ("2", "auto")):  # the third: one GPU is shown to each process
        monkeypatch.setenv("LOCAL_RANK", rank)
        processes._begin_on_own_gpu(name)
    assert chosen == [1]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("USE_DEEPSPEED", "true", "accelerate launch: DeepSpeed is not used here"),
        ("USE_FSDP", "true", "accelerate launch: FSDP is not used here"),
        ("USE_MEGATRON_LM", "true", "accelerate launch: Megatron-LM is not used here"),
        ("USE_PARALLELISM_CONFIG", "true", "accelerate launch: a parallelism config is not used here"),
        ("GRADIENT_ACCUMULATION_STEPS", "4", "give --gradient_accumulation_steps 4 to this program"),
    ],
)
def test_settings_of_accelerate_launch_that_would_change_the_training(monkeypatch, name, value, message):
    monkeypatch.setenv(f"ACCELERATE_{name}", value)
    with pytest.raises(UserError, match=message):
        start_processes("cpu")


def test_settings_of_accelerate_launch_that_our_flags_override(monkeypatch, caplog):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR")
    accelerator = start_processes("cpu")
    assert accelerator.mixed_precision == "no"
    assert accelerator.state.dynamo_plugin.backend == "NO"  # `prepare` would compile
    assert [record.getMessage() for record in caplog.records] == [
        "accelerate launch: mixed precision bf16 is not used; --precision fp32 decides",
        "accelerate launch: dynamo backend INDUCTOR is not used; give --compile to this program",
    ]
    caplog.clear()
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "NO")
    start_processes("cpu", "bf16")
    assert not caplog.records


def test_processes_without_a_meeting_place_do_not_wait(monkeypatch):
    """A batch script may set MASTER_ADDR and WORLD_SIZE for other programs; srun gives no RANK."""
    for name in ("RANK", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not first_after_all(2)


def test_a_process_can_train_alone_on_its_own_gpu(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(process_group, "pick_device", torch.device)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    with pytest.raises(MemoryError), process_group.alone("cuda") as device:
        assert device == "cuda:1" and "LOCAL_RANK" not in os.environ
        raise MemoryError
    assert os.environ["LOCAL_RANK"] == "1"


def test_accelerate_launch_on_the_cpu(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    assert start_processes("auto").device.type == "cpu"
    with pytest.raises(UserError, match="--device cuda: accelerate launch says --cpu"):
        start_processes("cuda")
