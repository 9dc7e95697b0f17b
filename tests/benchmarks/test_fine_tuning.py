"""The fine-tuning recipe as one command: a person's data set, training, metrics before and after."""

import dataclasses
import json

import pytest

import main_dpt
from benchmarks.people import fine_tuning
from benchmarks.people.fine_tuning import choose_speaker, network_flags, split_clips
from datasets.clip_store import ClipStore
from models.networks.loading import checkpoint_of, load_talker
from models.networks.talker import TalkerConfig, build_talker
from models.training import losses
from tests.support.small_store import LEGACY, write_store
from utils.coefs import CoefStats
from utils.errors import UserError
from utils.runs import run_dir

TINY = TalkerConfig(
    audio_model="whisper", feature_dim=16, n_heads=2, n_layers=1, n_diff_steps=6, n_motions=20, n_prev_motions=5,
    use_indicator=True, guiding_conditions="audio",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_store(folder, {"a/000": 260, "b/000": 250, "b/001": 240, "b/002": 110, "b/003": 205})
    (folder / "test.txt").write_text("".join(f"{clip}\n" for clip in ClipStore(folder).clips()))
    return folder


def test_speaker_and_split(data):
    store = ClipStore(data)
    clips = store.clips(data / "test.txt")
    own = choose_speaker(store, clips, None, 10)
    assert own == ["b/000", "b/001", "b/003"]  # b/002 is too short to train on
    assert split_clips(store, own, 250) == ({"b/000": 250}, ["b/001", "b/003"])
    assert split_clips(store, own, 470) == ({"b/000": 250, "b/001": 220}, ["b/003"])
    assert split_clips(store, own, 9999) == ({"b/000": 250, "b/001": 240}, ["b/003"])  # one is always left
    with pytest.raises(UserError, match="--speaker a: .*with enough: b"):
        choose_speaker(store, clips, "a", 10)


@pytest.mark.parametrize("config", [TINY, TalkerConfig(no_head_pose=True, guiding_conditions="", pad_mode="replicate")])
def test_network_flags_make_the_same_network(config):
    same = dataclasses.replace(config, guiding_conditions=",".join(config.conditions))
    assert main_dpt.parse_args(["--exp_name", "x", *network_flags(config, None)]).model == same


def test_before_and_after(data, open_head_space, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run_dir, "EXPERIMENTS", tmp_path / "experiments")
    monkeypatch.setattr(losses, "VertexSpace", lambda flame: open_head_space)
    base = tmp_path / "experiments" / "DPT" / "base" / "checkpoints" / "iter_0000007.pt"
    checkpoint_of(build_talker(TINY), CoefStats.load(LEGACY / "stats_train.npz"), 7).save(base)

    class Done:
        returncode = 0

    def run(command, **options):
        main_dpt.main(command[2:])
        return Done()

    monkeypatch.setattr(fine_tuning.subprocess, "run", run)
    flags = ["--data_root", data, "--exp_name", "base", "--seconds", "10", "--max_iter", "2", "--batch_size", "3",
             "--samples", "1", "--num_workers", "0", "--device", "cpu", "--lr", "0.01", "--precision", "fp32",
             "--freeze", "denoising_net.diff_step_map", "--work", tmp_path / "work",
             "--json", tmp_path / "out.json"]  # fmt: skip
    fine_tuning.main([str(flag) for flag in flags])
    printed, found = capsys.readouterr().out, json.loads((tmp_path / "out.json").read_text())
    assert "b, 10 s in 1 clip to train on, 18 s in 2 to measure, 2 steps" in printed
    assert found["before"].keys() == found["after"].keys() >= {"lve", "opening_correlation"}
    assert found["before"]["lve"] != found["after"]["lve"]
    assert "--init_from=" in found["command"]
    tuned, checkpoint = load_talker(run_dir.find_checkpoint("DPT", "base-tuned", 2))
    assert tuned.config == TINY
    assert checkpoint.step == 2
