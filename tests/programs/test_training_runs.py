"""Training runs in processes of their own: killed and started again, and several at once."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import main_dpt
import main_se
from benchmarks.speed.workload import free_port, surroundings
from models.networks.loading import load_style_encoder
from tests.support.golden_weights import NAMES
from tests.support.programs import program
from tests.support.training_data import make_data
from utils.coefs import MotionCodec
from utils.runs import run_dir
from utils.runs.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = [str(ROOT / "tests" / "support" / "run_training.py")]
SIZES = ["--feature_dim", "32", "--n_heads", "2", "--n_layers", "1", "--num_workers", "0", "--device", "cpu"]
SIZES += ["--log_iter", "1", "--log_smooth_win", "3"]
TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"), persons=10)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """As `data`, with more than two groups of what a validation measures at once."""
    folder = make_data(tmp_path_factory.mktemp("many"), persons=44)
    (folder / "train.txt").write_text("".join(f"person{i:02d}/000\n" for i in range(8)))
    (folder / "val.txt").write_text("".join(f"person{i:02d}/000\n" for i in range(8, 42)))
    return folder


def start(experiments, script, flags, launcher=(), environment=None):
    """A training script that writes below `experiments`; its output and its errors come together."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
    command = [*launcher, *SCRIPT, str(experiments), script, *flags]
    return program(command, env=environment, stderr=subprocess.STDOUT)


@pytest.fixture
def train_here(monkeypatch):
    """A training script in this process: (experiments, script module, flags)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the others: the order of summation is the same

    def run(experiments, script, flags):
        monkeypatch.setattr(run_dir, "EXPERIMENTS", experiments)
        script.main(flags)

    yield run
    torch.set_num_threads(threads)


def finish(running):
    """The output of what `start` gives."""
    with running as process:
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def only_run(experiments, kind):
    (run,) = (experiments / kind).iterdir()
    return run


def entries(run):
    """The run's log without what depends on the machine: how fast it went."""
    rows = [json.loads(line) for line in (run / "logs" / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not k.startswith("speed/")} for row in rows]


def kill_when(process, experiments, kind, n_lines):
    """SIGKILL once the log has so many lines; the moment within a step, or a save, is whatever it happens to be."""
    wait_for_log(process, experiments, kind, n_lines)
    process.send_signal(signal.SIGKILL)
    process.wait()


def wait_for_log(process, experiments, kind, n_lines):
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        logs = list(experiments.glob(f"{kind}/*/logs/metrics.jsonl"))
        if logs and len(logs[0].read_text().splitlines()) >= n_lines:
            break
        time.sleep(0.002)
    assert process.poll() is None, process.communicate()[0]


def test_a_killed_run_continues_as_if_nothing_had_happened(data, tmp_path, train_here):
    """Dropout, layer drop and SpecAugment are on; the average and the warm-up go on too."""
    from transformers import HubertConfig, HubertModel

    changes = {"layerdrop": 0.5, "mask_time_prob": 0.2, "mask_time_length": 2}
    HubertModel(HubertConfig(**NAMES["dpt_head/audio_config"], **changes)).save_pretrained(tmp_path / "hubert")
    flags = [*SIZES, "--exp_name", "study", "--data_root", str(data), "--audio_model_path", str(tmp_path / "hubert")]
    flags += ["--batch_size", "2", "--max_iter", "9", "--save_iter", "2", "--val_iter", "3", "--n_diff_steps", "8"]
    flags += ["--ema_decay", "0.9", "--scheduler", "Warmup", "--gradient_accumulation_steps", "2", "--grad_clip", "1"]
    flags += ["--n_motions", "20", "--n_prev_motions", "5", "--val_clips", "0"]
    flags += ["--criterion", "l1", "--l_vert", "0", "--l_vel", "0", "--l_smooth", "0"]  # no vertices: time
    train_here(tmp_path / "whole", main_dpt, flags)
    killed = tmp_path / "killed"
    with start(killed, "main_dpt", flags) as process:
        kill_when(process, killed, "DPT", 5)
    output = finish(start(killed, "main_dpt", flags))
    assert "continuing study-" in output
    whole, resumed = only_run(tmp_path / "whole", "DPT"), only_run(killed, "DPT")
    assert [row["step"] for row in entries(whole) if "train/total" in row] == list(range(1, 10))
    assert entries(resumed) == entries(whole)
    last = [load_checkpoint(run / "checkpoints" / "iter_0000009.pt", "talker") for run in (whole, resumed)]
    for name, value in last[0].model.items():
        assert torch.equal(value, last[1].model[name]), name
    assert not torch.equal(last[0].model["null_audio_feat"], last[0].training["raw_model"]["null_audio_feat"])


def test_two_processes_make_the_step_of_one():
    command = [sys.executable, *TWO, str(ROOT / "tests" / "support" / "shared_training.py")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "process 0 of 2: as one" in done.stdout
    assert "process 1 of 2: as one" in done.stdout


@pytest.fixture(scope="module")
def shared(many, tmp_path_factory):
    """Two processes' run of six steps: its experiments folder, and its flags."""
    flags = [*SIZES, "--exp_name", "two", "--data_root", str(many), "--save_iter", "2", "--val_iter", "2"]
    flags += ["--batch_size", "4", "--precision", "bf16", "--ema_decay", "0.9"]
    folder = tmp_path_factory.mktemp("shared")
    finish(start(folder, "main_se", [*flags, "--max_iter", "6"], TWO))
    return folder, flags


def test_two_processes_share_a_run(shared, tmp_path, train_here):
    """One of them writes; one process alone can go on with it."""
    folder, flags = shared
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    run = only_run(tmp_path, "SE")
    assert [row["step"] for row in entries(run)] == [1, 2, 2, 3, 4, 4, 5, 6, 6]
    encoder, checkpoint = load_style_encoder(run / "checkpoints" / "iter_0000006.pt")
    config = main_se.parse_args([*flags, "--max_iter", "6"]).run
    validated = main_se.pairs(config, MotionCodec(encoder.config.layout, checkpoint.stats), "val", 100)
    with torch.no_grad():
        alone = main_se.evaluate(encoder, validated, config, torch.device("cpu"))
    assert alone["persons"] == 34  # two groups, one for each process
    assert {f"val/{name}": value for name, value in alone.items()}.items() <= entries(run)[-1].items()
    train_here(tmp_path, main_se, [*flags, "--max_iter", "8", "--resume"])
    assert [row["step"] for row in entries(run) if "train/total" in row] == list(range(1, 9))


def test_lost_processes_are_started_again(shared, tmp_path):
    """The first process, which writes, is killed after step 5: both go on after step 4, to the same end."""
    folder, flags = shared
    flags = [*flags, "--num_workers", "1", "--fresh", "--max_iter", "6"]
    assert "from step 4" in finish(start(tmp_path, "main_se", flags, [*TWO, "--max_restarts", "1"], {"LOST": "0:5"}))
    runs = [only_run(experiments, "SE") for experiments in (folder, tmp_path)]
    assert entries(runs[1]) == entries(runs[0])
    last = [load_checkpoint(run / "checkpoints" / "iter_0000006.pt", "style_encoder") for run in runs]
    for found, expected in zip(*([one.model, one.training["optimizer"]["state"]] for one in last)):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_two_processes_share_variants(data, tmp_path, train_here):
    """Each trains every second one by itself; the first one's table is that of one process, byte by byte."""
    grid = tmp_path / "grid.json"
    grid.write_text('{"temperature": [0.1, 0.2, 0.4]}')
    flags = ["--exp_name", "v", "--data_root", str(data), *SIZES, "--batch_size", "4", "--max_iter", "2"]
    flags += ["--save_iter", "2", "--val_iter", "2", "--ablate", str(grid)]
    output = finish(start(tmp_path / "two", "main_se", flags, TWO))
    assert "part 0/2: 2 of 3 items" in output and "part 1/2: 1 of 3 items" in output
    train_here(tmp_path / "one", main_se, flags)
    one, two = ((tmp_path / name / "SE/v-ablation.csv").read_bytes() for name in ("one", "two"))
    assert one == two and len(one.splitlines()) == 4


def test_two_processes_train_as_one_with_the_items_of_both(many, tmp_path, train_here):
    """The same noise, steps and dropped conditions for each item: without dropout the same losses, to rounding.

    The same for validation, of which each measures a share, and generates and draws one of two clips.

    No clip is cut short: a process's mean is over its own valid frames, which then differ in number.
    """
    from transformers import HubertConfig, HubertModel

    calm = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "layerdrop",
            "mask_time_prob", "mask_feature_prob")  # fmt: skip
    config = HubertConfig(**{**NAMES["dpt_head/audio_config"], **dict.fromkeys(calm, 0.0)})
    HubertModel(config).save_pretrained(tmp_path / "hubert")
    flags = [*SIZES, "--exp_name", "same", "--data_root", str(many), "--audio_model_path", str(tmp_path / "hubert")]
    flags += ["--dropout", "0", "--person_noise", "0.1", "--trunc_prob1", "0", "--trunc_prob2", "0", "--lr", "1e-4"]
    flags += ["--max_iter", "4", "--val_iter", "4", "--val_clips", "2", "--n_diff_steps", "8", "--n_motions", "20"]
    flags += ["--n_prev_motions", "5", "--l_vert", "0", "--l_vel", "0", "--l_smooth", "0", "--log_smooth_win", "1"]
    finish(start(tmp_path / "two", "main_dpt", [*flags, "--batch_size", "2", "--val_video_iter", "4"], TWO))
    train_here(tmp_path / "one", main_dpt, [*flags, "--batch_size", "4"])
    one, two = (entries(only_run(tmp_path / name, "DPT")) for name in ("one", "two"))
    assert len(one) == len(two) == 5 and len({row["train/total"] for row in one if "train/total" in row}) == 4
    for a, b in zip(one, two):
        assert b == pytest.approx(a, rel=1e-4)
    assert {"val/clips/lve", "val/noise"} <= one[-1].keys()
    films = sorted(path.name for path in tmp_path.glob("two/DPT/*/videos/iter_0000004/*"))
    assert films == ["person08_000.mp4", "person41_000.mp4"]


def test_two_processes_end_together_when_asked_to(data, tmp_path, train_here):
    """One of them gets the signal; both save the same step and go."""
    flags = [*SIZES, "--exp_name", "ended", "--data_root", str(data), "--save_iter", "100000", "--val_iter", "0"]
    flags += ["--batch_size", "4", "--log_iter", "2"]
    port = free_port()
    with contextlib.ExitStack() as stack:
        both = [
            stack.enter_context(start(tmp_path, "main_se", [*flags, "--max_iter", "100000"],
                                      environment=surroundings(rank, 2, port)))
            for rank in range(2)
        ]  # fmt: skip
        wait_for_log(both[0], tmp_path, "SE", 2)
        both[1].send_signal(signal.SIGTERM)
        found = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [143, 143], found
    run = only_run(tmp_path, "SE")
    (saved,) = (run / "checkpoints").glob("*.pt")
    step = int(saved.stem.removeprefix("iter_"))
    assert step == entries(run)[-1]["step"]
    assert f"terminated after step {step}" in found[0]
    train_here(tmp_path, main_se, [*flags, "--max_iter", str(step + 2), "--resume"])
    assert entries(run)[-1]["step"] == step + 2
