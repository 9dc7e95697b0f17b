"""Both training scripts from end to end on the published-layout data set: train, resume, test, and use the result."""

import csv
import json

import numpy as np
import pytest
import soundfile
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import demo
import extract_style
import main_dpt
import main_se
from models.training import losses
from models.training.losses import nt_xent
from tests.support.demo_workspace import speech
from tests.support.golden_weights import HERE, NAMES
from tests.support.training_data import make_data
from tests.support.video_probe import probe
from utils.runs import run_dir
from utils.runs.checkpoint import load_checkpoint

DATA = HERE / "legacy_lmdb"
COMMON = ["--data_root", str(DATA), "--num_workers", "0", "--save_iter", "1", "--val_iter", "2", "--log_iter", "1"]
SMALL = ["--feature_dim", "32", "--n_heads", "2", "--n_layers", "1", "--batch_size", "2"]
SIZES = COMMON + SMALL


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, open_head_space):
    """A folder with a pretrained mini HuBERT in Hugging Face format; experiments are written beside it."""
    from transformers import HubertConfig, HubertModel

    root = tmp_path_factory.mktemp("training")
    HubertModel(HubertConfig(**NAMES["dpt_head/audio_config"])).save_pretrained(root / "hubert")
    patch = pytest.MonkeyPatch()
    patch.setattr(run_dir, "EXPERIMENTS", root / "experiments")
    patch.setattr(demo.bundled, "OUTPUT", root / "output")
    patch.setattr(losses, "VertexSpace", lambda flame: open_head_space)
    yield root
    patch.undo()


@pytest.fixture(scope="module")
def style_encoder(workspace):
    main_se.main(["--exp_name", "se", "--max_iter", "2", *SIZES])
    return run_dir.find_checkpoint("SE", "se", 2)


def test_variants_are_trained_once_and_compared(workspace, tmp_path, capsys, caplog):
    """A second call trains what was added only; a variant that fails leaves the others alone."""
    grid, folder = tmp_path / "grid.json", workspace / "experiments/SE"
    data = make_data(tmp_path / "data")
    command = ["--exp_name", "trial", "--max_iter", "1", *SIZES, "--data_root", str(data), "--ablate", str(grid)]
    grid.write_text('[{}, {"temperature": 0.5}]')
    main_se.main(command)
    runs = sorted(folder.glob("trial+*"))
    assert [run.name.rpartition("-")[0] for run in runs] == ["trial+base", "trial+temperature=0.5"]
    assert [json.loads((run / "config.json").read_text())["run"]["ablate"] for run in runs] == [None, None]
    grid.write_text('[{}, {"temperature": 0.5}, {"freeze": "nothing"}, {"feature_dim": 36}]')
    assert caplog.text.count("writing to ") == 2
    caplog.clear(), capsys.readouterr()
    made = main_se.StyleEncoder

    def encoder(config):
        if config.feature_dim == 36:
            raise MemoryError("as on a device that is too small")
        return made(config)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(main_se, "StyleEncoder", encoder)
        main_se.main(command)
    shown = capsys.readouterr()
    failed = "2 of 4 variants failed, see above: trial+freeze=nothing, trial+feature_dim=36"
    assert failed in shown.err.splitlines()[-1]
    assert "writing to " not in caplog.text  # the folder of a run that is refused does not stay
    assert sorted(folder.glob("trial+*")) == runs
    rows = list(csv.DictReader((folder / "trial-ablation.csv").open()))
    entries = [json.loads((run / "logs/metrics.jsonl").read_text().splitlines()[-1]) for run in runs]
    assert [float(row["nt_xent"]) for row in rows[:2]] == pytest.approx(
        [one["val/nt_xent"] for one in entries], rel=1e-5
    )
    assert [row["temperature"] for row in rows] == ["", "0.5", "", ""] and rows[2]["nt_xent"] == ""
    names = ["temperature", "freeze", "feature_dim", "nt_xent", "retrieval_top1", "persons"]
    assert shown.out.splitlines()[0].split() == names
    with pytest.raises(SystemExit):
        main_se.main([*command, "--mode", "test"])
    assert "leave --mode out" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["exp_name", "ablate", "mode", "dry_run"])
def test_a_variant_cannot_set_what_is_for_all(workspace, tmp_path, capsys, flag):
    grid = tmp_path / "grid.json"
    grid.write_text(json.dumps([{}, {flag: "test"}]))
    with pytest.raises(SystemExit) as end:
        main_se.main(["--exp_name", "whole", *SIZES, "--data_root", str(tmp_path), "--ablate", str(grid)])
    assert end.value.code == 2
    expected = f"error: {grid}: sets {flag}, which is for all variants; give it on the command line"
    assert capsys.readouterr().err.splitlines()[-1] == expected
    assert not list((workspace / "experiments/SE").glob("whole*"))


def test_parts_train_every_nth_variant(workspace, tmp_path, capsys):
    """A part that fails names its variant; until all parts are done, there is no table."""
    grid, folder = tmp_path / "grid.json", workspace / "experiments/SE"
    command = ["--exp_name", "parts", "--max_iter", "1", *SIZES, "--data_root", str(make_data(tmp_path / "data")),
               "--ablate", str(grid)]  # fmt: skip
    grid.write_text('[{}, {"freeze": "nothing"}, {"temperature": 0.5}]')

    def fails(*more: str) -> str:
        with pytest.raises(SystemExit) as error:
            main_se.main([*command, *more])
        assert error.value.code == 2
        return capsys.readouterr().err.splitlines()[-1]

    assert "1 of 1 variants failed, see above: parts+freeze=nothing" in fails("--shard", "1/2")
    main_se.main([*command, "--shard", "0/2", "--dry_run"])
    assert [path.name for path in folder.glob("parts*")] == ["parts-ablation"]
    assert "0-of-2: this part is missing; give the same command with --shard 0/2, then merge" in fails()
    with pytest.MonkeyPatch.context() as patch:  # as torchrun starts it
        for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}.items():
            patch.setenv(name, value)
        main_se.main(command)
    runs = sorted(folder.glob("parts+*"))
    assert [run.name.rpartition("-")[0] for run in runs] == ["parts+base", "parts+temperature=0.5"]
    assert not (folder / "parts-ablation.csv").exists()
    assert "1 of 3 variants failed, see above: parts+freeze=nothing" in fails()
    assert sorted(folder.glob("parts+*")) == runs and not (folder / "parts-ablation").exists()
    rows = list(csv.DictReader((folder / "parts-ablation.csv").open()))
    assert [row["nt_xent"] != "" for row in rows] == [True, False, True]
    command = command[: command.index("--ablate")]
    assert "--shard 0/2: shares the variants of --ablate" in fails("--shard", "0/2")


@pytest.fixture(scope="module")
def talker(workspace, style_encoder):
    main_dpt.main([*dpt_flags(workspace, style_encoder), "--max_iter", "2"])
    return run_dir.find_checkpoint("DPT", "dpt", 2)


def dpt_flags(workspace, style_encoder, *more):
    flags = "--exp_name dpt --use_indicator --scheduler Warmup --audio_model hubert --d_style 32 --n_diff_steps 8"
    files = f"--audio_model_path {workspace}/hubert --style_enc_ckpt {style_encoder}"
    return [*f"{flags} {files} --ema_decay 0.9 --val_clips 0".split(), *SIZES, *more]


def test_distilling(workspace, talker, style_encoder, capsys):
    """A teacher of 8 steps becomes a student of 2; the run resumes; demo.py takes its 2 steps and no others."""
    words = f"--exp_name few --distilled_steps 2 --teacher_steps 2 --init_from {talker}".split()
    flags = dpt_flags(workspace, style_encoder, *words)
    main_dpt.main([*flags, "--max_iter", "1"])
    main_dpt.main([*flags, "--max_iter", "2", "--resume"])
    path = run_dir.find_checkpoint("DPT", "few", 2)
    before, after = load_checkpoint(talker, "talker"), load_checkpoint(path, "talker")
    assert after.config["distilled_steps"] == 2
    width = before.model["denoising_net.person_proj.weight"].shape[1]
    assert after.model["denoising_net.person_proj.weight"].shape[1] == width + 2
    same = {name for name, value in before.model.items() if torch.equal(after.model[name].float(), value.float())}
    assert all(name in same for name in before.model if not name.startswith("denoising_net"))
    assert not any(name in same for name in before.model if "linear1.weight" in name)

    soundfile.write(workspace / "few.wav", speech(1.0), 16000)
    common = ["--exp_name", "few", "-a", str(workspace / "few.wav"), "-o", str(workspace / "few.mp4"), "--no_video"]
    demo.main([*common, "--save_coef", "-ss", "2"])
    assert np.isfinite(np.load(workspace / "few.npz")["exp"]).all()
    for more, words in {
        ("--steps", "4"): "distilled to 2 ddim steps",
        ("--dtr", "0.9"): "dynamic thresholding",
        ("--cfg_mode", "independent"): "incremental guidance of audio, style only",
    }.items():
        with pytest.raises(SystemExit):
            demo.main([*common, *more])
        assert words in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main_dpt.main([*flags[:-2], "--fresh"])  # without --init_from
    assert "needs --init_from" in capsys.readouterr().err


def logged(checkpoint):
    lines = (checkpoint.parent.parent / "logs" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_style_encoder_trains_resumes_and_tests(style_encoder, capsys):
    assert any("val/persons" in row for row in logged(style_encoder))
    assert list((style_encoder.parent.parent / "logs").glob("events*"))  # TensorBoard
    main_se.main(["--exp_name", "se", "--max_iter", "3", "--resume", *SIZES])
    assert load_checkpoint(run_dir.find_checkpoint("SE", "se", 3), "style_encoder").step == 3
    main_se.main(["--exp_name", "se", "--mode", "test", "--iter", "3", *SIZES])
    assert "nt_xent" in capsys.readouterr().out


def test_denoiser_trains_and_logs_every_term(talker):
    rows = logged(talker)
    terms = {name for row in rows for name in row}
    for name in ("noise", "vert", "vel", "smooth", "head_angle", "head_vel", "head_smooth", "head_trans", "total"):
        assert f"train/{name}" in terms
        assert f"val/{name}" in terms
    assert rows[0]["train/lr"] == pytest.approx(1e-4 / 5000)


def test_validation_generates_clips(workspace, style_encoder, talker):
    """Metrics in the log, curves for TensorBoard, a video with both heads and sound."""
    flags = dpt_flags(workspace, style_encoder, "--exp_name", "watched", "--init_from", str(talker), "--val_clips", "1")
    main_dpt.main([*flags, "--max_iter", "2", "--val_video_iter", "2", "--lr", "0"])
    checkpoint = run_dir.find_checkpoint("DPT", "watched", 2)
    row = next(row for row in logged(checkpoint) if "val/total" in row)
    assert {"val/clips/lve", "val/clips/opening_ratio", "val/clips/head_std_yaw"} <= set(row)
    (video,) = (checkpoint.parent.parent / "videos" / "iter_0000002").iterdir()
    info = probe(video)
    assert (info.width, info.height, info.n_frames) == (640, 320, 100)
    assert info.audio_seconds == pytest.approx(4, abs=0.1)
    events = EventAccumulator(str(checkpoint.parent.parent / "logs")).Reload()
    assert events.Tags()["images"] == ["val/mouth_opening"]


def test_style_swap_needs_several_folders_to_train_only(workspace, style_encoder, talker, capsys):
    with pytest.raises(SystemExit):
        main_dpt.main([*dpt_flags(workspace, style_encoder), "--style_swap", "0.3", "--fresh"])
    assert "--style_swap 0.3: takes styles from another folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main_dpt.main([*dpt_flags(workspace, style_encoder), "--style_swap", "0.3", "1.2", "--fresh"])
    assert "--style_swap 1.2: is a share" in capsys.readouterr().err
    main_dpt.main(["--exp_name", "dpt", "--mode", "test", *COMMON, "--batch_size", "2", "--style_swap", "0.3"])
    assert "head_trans" in capsys.readouterr().out


def test_denoiser_resumes_without_the_pretrained_folder(workspace, style_encoder, talker, capsys):
    flags = dpt_flags(workspace, style_encoder, "--audio_model_path", str(workspace / "gone"))
    main_dpt.main([*flags, "--max_iter", "3", "--resume"])
    assert load_checkpoint(talker.with_name("iter_0000003.pt"), "talker").step == 3
    main_dpt.main(["--exp_name", "dpt", "--mode", "test", "--iter", "3", *COMMON, "--batch_size", "2"])
    first = capsys.readouterr().out
    main_dpt.main(["--exp_name", "dpt", "--mode", "test", "--iter", "3", *COMMON, "--batch_size", "2"])
    assert capsys.readouterr().out == first  # fixed crops, steps and noise
    assert "head_trans" in first


def scores_of(script, capsys, *flags):
    """The scores that a script's test prints."""
    script.main(["--mode", "test", *flags])
    return capsys.readouterr().out


def test_a_test_takes_the_flags_of_its_run(workspace, style_encoder, capsys):
    """Losses, data and the last checkpoint; what is given overrides them, and the batch size changes nothing."""
    name = ["--exp_name", "own_flags"]
    losses = ["--l_vert", "0", "--l_vel", "0", "--l_smooth", "0", "--criterion", "l1"]
    main_dpt.main([*dpt_flags(workspace, style_encoder, *losses), *name, "--max_iter", "2"])
    capsys.readouterr()
    plain = scores_of(main_dpt, capsys, *name)
    given = ["--data_root", str(DATA), "--iter", "2", *losses, "--batch_size", "1"]
    assert "vert" not in plain and scores_of(main_dpt, capsys, *name, *given) == plain
    assert scores_of(main_dpt, capsys, *name, "--iter", "1") != plain
    (workspace / "own.json").write_text('{"l_vert": 1}')
    for more in (["--l_vert", "1"], ["--config", str(workspace / "own.json")]):
        assert "vert" in scores_of(main_dpt, capsys, *name, *more)
    with pytest.raises(SystemExit):
        scores_of(main_dpt, capsys, *name, "--data_root", "nowhere")
    assert "nowhere" in capsys.readouterr().err


def test_a_test_of_the_style_encoder_takes_the_flags_of_its_run(style_encoder, capsys):
    capsys.readouterr()
    plain = scores_of(main_se, capsys, "--exp_name", "se")
    assert scores_of(main_se, capsys, "--exp_name", "se", "--data_root", str(DATA), "--batch_size", "3") == plain
    assert scores_of(main_se, capsys, "--exp_name", "se", "--temperature", "1") != plain
    assert scores_of(main_se, capsys, "--exp_name", "se", "--iter", "1") != plain


@pytest.mark.parametrize(("program", "flags"), [(main_se, ("--feature_dim", "33")), (main_dpt, ("--n_heads", "7"))])
def test_heads_divide_the_features(program, flags, capsys):
    with pytest.raises(SystemExit) as ended:
        program.main(["--exp_name", "odd", *flags])
    assert ended.value.code == 2
    assert "must be a multiple of --n_heads" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["train", "test"])
def test_a_batch_of_one_person_is_refused_before_anything_is_read(mode, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main_se.main(["--exp_name", "x", "--mode", mode, "--batch_size", "1", "--data_root", str(tmp_path / "none")])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --batch_size 1: the loss contrasts")


def test_groups_of_a_validation_have_equally_many_people(monkeypatch):
    monkeypatch.setattr(main_se, "MEASURED", 3)
    a, b = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
    groups = [nt_xent(a[part], b[part], 0.1) for part in (slice(0, 3), slice(2, 5))]
    assert main_se.grouped_nt_xent(a, b, 0.1) == torch.stack(groups).mean()
    assert main_se.grouped_nt_xent(a[:2], b[:2], 0.1) == nt_xent(a[:2], b[:2], 0.1)


def test_people_of_one_have_no_validation_loss(tmp_path, workspace, capsys, caplog):
    data = make_data(tmp_path / "data", persons=4)
    flags = [*SIZES, "--data_root", str(data), "--max_iter", "2", "--exp_name"]
    main_se.main([*flags, "two"])
    row = next(row for row in logged(run_dir.find_checkpoint("SE", "two", 2)) if "val/persons" in row)
    assert row["val/persons"] == 2 and row["val/nt_xent"] > 0 and 0 <= row["val/retrieval_top1"] <= 1
    for split in ("val", "test"):
        (data / f"{split}.txt").write_text("person03/000\n")
    flags += ["alone"]
    main_se.main(flags)
    assert "val.txt: lists one person only" in caplog.text
    assert not any("val/nt_xent" in row for row in logged(run_dir.find_checkpoint("SE", "alone", 2)))
    with pytest.raises(SystemExit):
        main_se.main([*flags, "--mode", "test"])
    assert "test.txt: lists one person only" in capsys.readouterr().err


def test_fine_tuning_starts_from_the_checkpoint(workspace, style_encoder, talker, capsys):
    flags = dpt_flags(workspace, style_encoder, "--exp_name", "tuned", "--init_from", str(talker), "--lr", "0")
    main_dpt.main([*flags, "--max_iter", "1"])
    tuned = load_checkpoint(run_dir.find_checkpoint("DPT", "tuned", 1), "talker").model
    for name, value in load_checkpoint(talker, "talker").model.items():
        assert np.array_equal(tuned[name], value), name
    for changed, message in ((["--n_prev_motions", "5"], "--n_prev_motions 10"), ([], "with a --style_enc_ckpt")):
        ours = flags if changed else [flag for flag in flags if flag not in ("--style_enc_ckpt", str(style_encoder))]
        with pytest.raises(SystemExit) as stop:
            main_dpt.main([*ours, *changed, "--max_iter", "1"])
        assert stop.value.code == 2
        assert message in capsys.readouterr().err


def test_fine_tuning_keeps_the_statistics_of_its_start(workspace, style_encoder, talker, tmp_path):
    """Those of one person would be another normalised space."""
    data = make_data(tmp_path / "data", persons=5)
    (data / "stats_train.npz").unlink()
    flags = dpt_flags(workspace, style_encoder, "--exp_name", "person", "--init_from", str(talker))
    main_dpt.main([*flags, "--data_root", str(data), "--batch_size", "4", "--repeat_clips", "2", "--max_iter", "1"])
    tuned = load_checkpoint(run_dir.find_checkpoint("DPT", "person", 1), "talker").stats
    assert np.array_equal(tuned.exp_std, load_checkpoint(talker, "talker").stats.exp_std)


def test_style_encoder_of_other_statistics_is_told(workspace, style_encoder, tmp_path, caplog):
    data = make_data(tmp_path / "data", persons=5)
    stats = dict(np.load(data / "stats_train.npz"))
    np.savez(data / "stats_train.npz", **(stats | {"exp_std": 2 * stats["exp_std"]}))
    main_dpt.main([*dpt_flags(workspace, style_encoder, "--exp_name", "same"), "--max_iter", "1"])
    assert "other statistics" not in caplog.text
    flags = dpt_flags(workspace, style_encoder, "--exp_name", "other", "--data_root", str(data), "--batch_size", "2")
    main_dpt.main([*flags, "--max_iter", "1"])
    assert "other statistics" in caplog.text


def test_style_encoder_must_fit(workspace, style_encoder, capsys):
    for extra, named in ((["--no_head_pose"], "without head pose"), (["--d_style", "64"], "--d_style 64")):
        with pytest.raises(SystemExit) as stop:
            main_dpt.main([*dpt_flags(workspace, style_encoder), *extra, "--max_iter", "1"])
        assert stop.value.code == 2
        assert named in capsys.readouterr().err


def test_what_was_trained_can_be_used(workspace, style_encoder, talker):
    rng = np.random.default_rng(0)
    motion = {"exp": rng.normal(size=(120, 50)), "pose": rng.normal(size=(120, 6))}
    np.savez(workspace / "motion.npz", **{k: v.astype(np.float32) for k, v in motion.items()})
    style = workspace / "style.npy"
    extract_style.main(["--exp_name", "se", "--iter", "2", "-c", str(workspace / "motion.npz"), "-o", str(style)])
    audio = workspace / "speech.wav"
    import soundfile

    soundfile.write(audio, speech(1.0), 16_000)
    demo.main(["--exp_name", "dpt", "--iter", "2", "-a", str(audio), "-s", str(style), "--no_video"])
    result = np.load(next(workspace.glob("output/dpt-*/iter_0000002/speech.npz")))
    assert result["exp"].shape == (25, 50)
    assert np.isfinite(result["exp"]).all()
