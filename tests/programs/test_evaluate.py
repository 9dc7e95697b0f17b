"""evaluate.py from end to end on a small data set with the embedded model; result files; the report's parts."""

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import evaluate
from datasets.clip_store import ClipStore, ClipWriter
from datasets.evaluation.data import StyleWindows
from datasets.spoken_clips import read_clip, references, second_take, spread, validation_clips
from models.app.contenders import MethodSource, Styles
from models.generation.animator import Animator
from models.metrics.catalogue import METRICS
from models.metrics.contest import Contest, FromFiles, Generated
from models.metrics.predict import Draw
from models.metrics.result_files import find_results, match_results
from models.metrics.sets import SETS
from utils.errors import UserError
from utils.motion_file import Motion, load_motion
from utils.runs.run_dir import ROOT, find_checkpoint
from utils.speech import Phone, write_phones

# Those need more clips than these: tests/models/metrics/test_set_metrics.py, test_metrics.py
SCORED = set(METRICS) - set(SETS) - {"style_cosine_others"}
CLIPS = {"ann/000": 130, "ann/001": 120, "bob/000": 210}


def moving(seed: int, n: int) -> Motion:
    rng = np.random.default_rng(seed)
    time = np.arange(n) / 25
    exp = np.repeat(0.1 * np.abs(rng.standard_normal((1, 50))), n, axis=0)
    pose = np.zeros((n, 6))
    pose[:, :3] = 0.05 * np.sin(2 * np.pi * (time[:, None] * rng.uniform(0.3, 1, 3) + rng.random(3)))
    pose[:, 3] = 0.1 + 0.1 * np.sin(2 * np.pi * 3 * time + seed)
    return Motion(exp.astype(np.float32), pose.astype(np.float32), 0.3 * rng.standard_normal(100).astype(np.float32))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "set"
    with ClipWriter(root) as writer:
        for seed, (name, n) in enumerate(CLIPS.items()):
            motion = moving(seed, n)
            audio = (0.1 * np.random.default_rng(seed).standard_normal(640 * n)).astype(np.float32)
            shape = np.repeat(motion.shape[None], n, axis=0)
            writer.add_clip(name, audio, {"shape": shape, "exp": motion.exp, "pose": motion.pose})
            moving(seed + 10, n).save(second_take(root, name))
    (root / "test.txt").write_text("".join(f"{name}\n" for name in CLIPS))
    write_phones(root / "phones.jsonl", {name: [Phone("aa", 0, 1), Phone("m", 1, 1.1)] for name in CLIPS})
    stats = {f"{k}_{s}": np.full(n, v, np.float32) for k, n in (("shape", 100), ("exp", 50), ("pose", 6))
             for s, v in (("mean", 0.05), ("std", 0.1))}  # fmt: skip
    np.savez(root / "stats_train.npz", **stats)
    return root


@pytest.fixture(scope="module")
def scored(data, tmp_path_factory):
    """One run, its files kept: (folder, metrics.json)."""
    folder = tmp_path_factory.mktemp("scored")
    evaluate.main(["--data_root", str(data), "-n", "2", "--steps", "1", "--device", "cpu", "-o", str(folder),
                   "--save_coef"])  # fmt: skip
    return folder, json.loads((folder / "metrics.json").read_text())


def test_every_method_and_metric_is_there(scored):
    folder, found = scored
    assert set(found["pooled"]) == {"model", "truth", "resampled", "other clip", "mean pose"}
    assert set(found["pooled"]["model"]) == SCORED
    assert found["pooled"]["model"]["lve"]["samples"] == 2 and found["pooled"]["model"]["lve"]["std"] > 0
    assert found["pooled"]["truth"]["lve"]["mean"] == pytest.approx(0, abs=1e-6)
    rest = found["pooled"]["mean pose"]["lve"]["mean"]
    assert rest > 1
    assert found["lve_relative_to_mean_pose"] == pytest.approx(found["pooled"]["model"]["lve"]["mean"] / rest)
    assert set(found["pooled"]["other clip"]) >= {"lve"}
    assert found["clips"]["other clip"].keys() == {"ann/000", "ann/001"}
    assert len(found["clips"]["model"]["bob/000"]["lve"]["values"]) == 2
    assert {name: entry["formula"] != "" for name, entry in found["metrics"].items()} == dict.fromkeys(SCORED, True)
    assert found["settings"]["sampling"]["config"]["sampler"] == {"name": "dpmpp_2m", "steps": 1}
    names = {"coef", "metrics.csv", "metrics.json", "protocol.json", "report.html"}
    assert {p.name for p in folder.iterdir()} == names


def test_csv_says_the_same_as_json(scored):
    folder, found = scored
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    pooled = {(r["method"], r["metric"]): r for r in rows if r["clip"] == "all"}
    for name, entry in found["pooled"]["model"].items():
        assert float(pooled["model", name]["mean"]) == pytest.approx(entry["mean"], rel=1e-5, abs=1e-12), name


def test_phones_are_scored_one_by_one(scored):
    """Each clip has an aa of 25 frames and an m of 2 or 3."""
    folder, found = scored
    phones, classes = found["phones"]["model"], found["viseme_classes"]["model"]
    assert list(phones) == ["m", "aa"] and phones["aa"]["phones"] == 3 and phones["aa"]["opening_error"]["mean"] > 0
    recall = found["pooled"]["model"]["closure_recall"]["mean"]
    assert phones["m"]["closure_recall"]["mean"] == classes["lips shut"]["closure_recall"]["mean"] == recall
    assert found["phones"]["truth"]["aa"]["opening_error"]["mean"] == 0
    page = (folder / "report.html").read_text()
    assert "<summary>Phones</summary>" in page and "model, closed" in page


def test_report_is_one_whole_page(scored):
    """Every figure of the table, pictures inside the file, plots that are well-formed, nothing fetched from outside."""
    page = (scored[0] / "report.html").read_text()
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(plots) == 3 + 1  # one for each example clip; the style map
    for plot in plots:
        ElementTree.fromstring(plot)
    opening = ElementTree.fromstring(plots[0])
    lines = [
        e.get("style") for e in opening.iter() if e.tag.endswith("path") and "stroke: #2a7fd4" in e.get("style", "")
    ]
    assert len(lines) == 4 * 2 + 1  # two samples of the opening and of three angles, and the legend's
    texts = [e.text for e in opening.iter() if e.tag.endswith("text")]
    assert {"model", "truth", "p, b, m", "mouth opening, mm", "head yaw, degrees", "s"} <= set(texts)
    assert page.count("data:image/png;base64,") == 3
    assert all(name in page for name in SCORED)


def test_saved_motions_score_the_same_as_results(data, scored, tmp_path):
    folder, found = scored
    with np.load(next((folder / "coef").glob("*.npz"))) as file:
        assert file["fps"] == 25 and str(file["head_model"]) == "open head"
    evaluate.main(["--data_root", str(data), "--coef_dir", str(folder / "coef"), "--device", "cpu", "-o",
                   str(tmp_path), "--no_pictures", "--paper"])  # fmt: skip
    assert len(list((tmp_path / "paper").glob("*.tex"))) == len(list((tmp_path / "paper").glob("*.pdf"))) == 2
    again = json.loads((tmp_path / "metrics.json").read_text())
    assert again["settings"]["sampling"] is None
    for name, entry in found["pooled"]["model"].items():
        assert again["pooled"]["model"][name]["mean"] == pytest.approx(entry["mean"], rel=1e-4, abs=1e-7), name


def test_scored_files_are_not_replaced(data, scored, capsys):
    folder, _ = scored
    before = [path.read_bytes() for path in sorted((folder / "coef").iterdir())]
    with pytest.raises(SystemExit):
        evaluate.main(["--data_root", str(data), "--coef_dir", str(folder / "coef"), "--device", "cpu", "-o",
                       str(folder), "--no_pictures", "--save_coef"])  # fmt: skip
    assert "would be overwritten" in capsys.readouterr().err
    assert [path.read_bytes() for path in sorted((folder / "coef").iterdir())] == before


def test_only_files_of_no_clip_are_named(data, tmp_path, caplog):
    """bob's clip is not scored, but its file is no stranger."""
    for name in ("ann/000", "bob/000", "eve/000"):
        moving(3, 120).save(tmp_path / f"{name}.npz")
    source = MethodSource("a", None, tmp_path)
    assert list(source.results(["ann/000", "ann/001"], list(CLIPS))) == ["ann/000"]
    assert "only 1 of 2 clips; none for ann/001" in caplog.text
    assert "1 file is not named like a clip of the split: eve/000.npz" in caplog.text


def test_several_methods_in_one_table(data, scored, tmp_path, capsys):
    """A run's motions, the model again, and the truth, 2 frames late, for two of the three clips: two clips for all."""
    folder, found = scored
    for clip, seed in (("ann_000", 0), ("bob_000", 2)):
        motion = moving(seed, CLIPS[clip.replace("_", "/")])
        late = np.concatenate([motion.pose[:1], motion.pose[:1], motion.pose[:-2]])
        Motion(motion.exp, late, motion.shape).save(tmp_path / "late" / f"{clip}.npz")
    out = tmp_path / "out"
    evaluate.main(["--data_root", str(data), "--coef_dir", str(folder / "coef"), "--methods", f"late={tmp_path}/late",
                   "--methods", "again=embedded", "-n", "2", "--steps", "1", "--device", "cpu", "-o", str(out),
                   "--no_pictures"])  # fmt: skip
    again = json.loads((out / "metrics.json").read_text())
    assert again["settings"]["methods"]["again"].startswith("embedded/iter_")
    assert {tuple(again["clips"][name]) for name in ("truth", "model", "late", "again")} == {("ann/000", "bob/000")}
    pooled = again["pooled"]
    assert pooled["late"]["sync_lag"]["mean"] == 2
    for name, entry in found["clips"]["model"]["bob/000"].items():
        values = again["clips"]["again"]["bob/000"][name]["values"]
        assert values == pytest.approx(entry["values"], rel=1e-4, abs=1e-7), name
    tests = {(test["metric"], test["a"], test["b"]): test for test in again["tests"]}
    assert {pair[1:] for pair in tests} == {("model", "late"), ("model", "again"), ("late", "again")}
    same, moved = tests["lve", "model", "again"], tests["opening_correlation", "late", "again"]
    assert same["difference"] == pytest.approx(0, abs=1e-4)
    gap = pooled["late"]["opening_correlation"]["mean"] - pooled["again"]["opening_correlation"]["mean"]
    assert moved["difference"] == pytest.approx(gap) and moved["p"]["speakers"] in (0.5, 1.0)  # of 2^2 ways
    assert moved["p_holm"]["speakers"] == 1 and moved["interval"]["clips"]["n"] == 2
    interval = again["intervals"]["model"]["lve"]["speakers"]
    assert interval["low"] <= pooled["model"]["lve"]["mean"] <= interval["high"]
    assert "Paired tests" in capsys.readouterr().out
    page = (out / "report.html").read_text()
    assert "late - again" in page and "<summary>Intervals</summary>" in page


def test_the_same_seed_gives_the_same_motion(data, scored, tmp_path):
    evaluate.main(["--data_root", str(data), "-n", "1", "--steps", "1", "--device", "cpu", "-o", str(tmp_path),
                   "--limit", "1", "--save_coef", "--no_pictures"])  # fmt: skip
    one, two = (load_motion(folder / "coef" / "ann_000_000.npz") for folder in (tmp_path, scored[0]))
    np.testing.assert_allclose(one.exp, two.exp, atol=1e-4)


def test_parts_merge_into_what_one_process_makes(data, scored, tmp_path, capsys):
    """Every file is the same, byte by byte; a missing part is named, and nothing is merged without it."""
    command = f"--data_root {data} -n 2 --steps 1 --device cpu -o {tmp_path} --save_coef".split()
    evaluate.main([*command, "--shard", "1/2"])
    for missing in ("--shard 0/2", "other --steps"):
        with pytest.raises(SystemExit) as error:
            evaluate.main(command if missing == "--shard 0/2" else [*command, "--steps", "2"])
        assert error.value.code == 2 and missing in capsys.readouterr().err.splitlines()[-1]
        evaluate.main([*command, "--shard", "0/2"])
    assert not (tmp_path / "metrics.json").exists() and not capsys.readouterr().out
    kept = next((tmp_path / ".shards/0-of-2").glob("*.npz")).stat().st_mtime_ns
    (tmp_path / ".shards/0-of-2/shard.json").unlink()  # as if it had been killed: its groups of clips stay
    evaluate.main([*command, "--shard", "0/2"])
    assert next((tmp_path / ".shards/0-of-2").glob("*.npz")).stat().st_mtime_ns == kept
    evaluate.main(command)
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(scored[0])) for path in scored[0].rglob("*") if path.is_file())
    for name in names:
        assert (tmp_path / name).read_bytes() == (scored[0] / name).read_bytes(), name


def test_groups_of_clips_are_alike():
    predictors = [Generated(SimpleNamespace(draw=Draw(n_samples=10, batch_size=size)), {}) for size in (256, 32)]
    clips = [str(i) for i in range(100)]
    for methods, count in ((predictors[:1], 8), (predictors, 24), ([FromFiles({})], 100)):
        groups = Contest(None, dict(enumerate(methods)), None).groups(clips)
        assert len(groups) == count and sorted(sum(groups, []), key=int) == clips
        assert max(map(len, groups)) - min(map(len, groups)) <= 1


def test_columns_of_a_table_have_the_same_clips(scored):
    """bob has one clip, so `other clip` has two of three: it stands in a table of these two."""
    _, found = scored
    whole, fewer = found["same_clips"]
    assert whole["clips"] == list(CLIPS) and "other clip" not in whole["methods"]
    assert fewer["clips"] == ["ann/000", "ann/001"] and set(fewer["methods"]) == {*whole["methods"], "other clip"}
    for group in (whole, fewer):
        assert {entry["lve"]["clips"] for entry in group["pooled"].values()} == {len(group["clips"])}
    clips = found["clips"]["model"]
    mean = sum(CLIPS[clip] * clips[clip]["lve"]["mean"] for clip in fewer["clips"]) / 250
    assert fewer["pooled"]["model"]["lve"]["mean"] == pytest.approx(mean)
    assert found["settings"]["data"]["own_style"] == 1


def test_clips_with_their_own_style_can_be_left_out(data, tmp_path):
    flags = evaluate.parse_args(["--data_root", str(data), "--skip_own_style", "--limit", "3"])
    assert evaluate.open_data(flags).clips == ["ann/000", "ann/001"]


def test_a_protocol_is_scored_again(data, scored, tmp_path):
    """The same clip alone, with the seed that it had among all: the same samples. Another seed: other samples."""
    folder, found = scored
    protocol = json.loads((folder / "protocol.json").read_text())
    assert [entry["seed"] for entry in protocol["clips"]] == [0, 1000, 2000]
    protocol["clips"] = protocol["clips"][1:2]
    given, out = tmp_path / "given.json", tmp_path / "out"
    given.write_text(json.dumps(protocol))
    command = ["--data_root", str(data), "-n", "2", "--steps", "1", "--device", "cpu", "-o", str(out), "--protocol",
               str(given), "--no_pictures"]  # fmt: skip
    evaluate.main(command)
    again = json.loads((out / "metrics.json").read_text())
    assert list(again["clips"]["model"]) == ["ann/001"]
    before = found["clips"]["model"]["ann/001"]["lve"]["values"]
    assert again["clips"]["model"]["ann/001"]["lve"]["values"] == pytest.approx(before, rel=1e-4)
    assert json.loads((out / "protocol.json").read_text()) == protocol
    protocol["clips"][0]["seed"] = 7
    given.write_text(json.dumps(protocol))
    evaluate.main(command)
    again = json.loads((out / "metrics.json").read_text())
    assert again["clips"]["model"]["ann/001"]["lve"]["values"] != pytest.approx(before, rel=1e-4)


def test_a_sweep_goes_on_where_it_stopped(data, tmp_path, capsys):
    """Two numbers of steps, by two processes; then a third is added, and only that one is scored."""
    grid, out = tmp_path / "grid.json", tmp_path / "out"
    command = ["--data_root", str(data), "-n", "1", "--device", "cpu", "--limit", "1", "--no_pictures", "--sweep",
               str(grid), "-o", str(out)]  # fmt: skip
    grid.write_text('{"steps": [1, 2]}')
    evaluate.main([*command, "--shard", "1/2"])
    assert (out / "steps=2").is_dir() and not (out / "steps=1").exists() and not (out / "sweep.csv").exists()
    evaluate.main([*command, "--shard", "0/2"])
    second = (out / "steps=2" / "metrics.json").stat().st_mtime_ns
    evaluate.main(command)
    assert (out / "steps=2" / "metrics.json").stat().st_mtime_ns == second
    first = (out / "steps=1" / "metrics.json").stat().st_mtime_ns
    grid.write_text('{"steps": [1, 2, 3]}')
    capsys.readouterr()
    evaluate.main(command)
    assert (out / "steps=1" / "metrics.json").stat().st_mtime_ns == first
    rows = list(csv.DictReader((out / "sweep.csv").open()))
    found = [json.loads((out / f"steps={n}" / "metrics.json").read_text()) for n in (1, 2, 3)]
    assert [float(row["lve"]) for row in rows] == pytest.approx(
        [one["pooled"]["model"]["lve"]["mean"] for one in found], rel=1e-5
    )
    assert [one["settings"]["sampling"]["config"]["sampler"]["steps"] for one in found] == [1, 2, 3]
    assert capsys.readouterr().out.splitlines()[-1].split()[0] == "3"
    with pytest.raises(SystemExit):
        evaluate.main([*command, "-n", "2"])
    assert "was scored with another n_samples" in capsys.readouterr().err
    grid.write_text('{"stepz": [1]}')
    with pytest.raises(SystemExit):
        evaluate.main(command)
    assert "grid.json: " in capsys.readouterr().err


def test_points_that_would_leave_processes_idle_are_shared_by_clips(data, scored, tmp_path, capsys):
    """Of three points two processes score one each, and half of the clips of the third, whose files are those of one
    process, byte by byte."""
    grid, out = tmp_path / "grid.json", tmp_path / "out"
    grid.write_text('{"steps": [2, 3, 1]}')
    command = f"--data_root {data} -n 2 --device cpu --save_coef --sweep {grid} -o {out}".split()
    evaluate.main([*command, "--shard", "1/2"])
    assert (out / "steps=3/point.json").is_file() and not (out / "steps=2").exists()
    assert not (out / "steps=1/metrics.json").exists() and (out / "steps=1/.shards/1-of-2").is_dir()
    with pytest.raises(SystemExit):
        evaluate.main(command)
    assert "--shard 0/2, then merge" in capsys.readouterr().err.splitlines()[-1]
    evaluate.main([*command, "--shard", "0/2"])
    assert not (out / "sweep.csv").exists()
    evaluate.main(command)
    made = {str(path.relative_to(out / "steps=1")): path for path in (out / "steps=1").rglob("*") if path.is_file()}
    del made["point.json"]
    assert set(made) == {str(path.relative_to(scored[0])) for path in scored[0].rglob("*") if path.is_file()}
    for name, path in made.items():
        assert path.read_bytes() == (scored[0] / name).read_bytes(), name
    assert [row["steps"] for row in csv.DictReader((out / "sweep.csv").open())] == ["2", "3", "1"]


def test_another_judge_does_not_change_the_motion(data, scored, tmp_path):
    """The model is given styles of its own encoder; only their scores are the judge's."""
    judge = next((ROOT / "experiments/SE/embedded-no_head/checkpoints").glob("iter_*.pt"))
    evaluate.main(["--data_root", str(data), "-n", "1", "--steps", "1", "--device", "cpu", "-o", str(tmp_path),
                   "--limit", "1", "--save_coef", "--no_pictures", "--style_enc_ckpt", str(judge)])  # fmt: skip
    one, two = (load_motion(folder / "coef" / "ann_000_000.npz") for folder in (tmp_path, scored[0]))
    np.testing.assert_allclose(one.exp, two.exp, atol=1e-4)
    clip = json.loads((tmp_path / "metrics.json").read_text())["clips"]["model"]["ann/000"]
    before = scored[1]["clips"]["model"]["ann/000"]["style_cosine"]["values"][0]
    assert clip["style_cosine"]["values"][0] != pytest.approx(before, abs=1e-3)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-n", "0"], "--n_samples 0"),
        (["--closed_mm", "0"], "--closed_mm"),
        (["--split", "none"], "none.txt"),
        (["--steps", "9999"], "--steps 9999"),
        (["--exp_name", "nothing"], "--exp_name nothing"),
        (["--coef_dir", "nowhere"], "--coef_dir nowhere: no such folder"),
        (["--masks", "nowhere.pkl"], "nowhere.pkl"),
        (["--phones", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--protocol", "nowhere.json"], "nowhere.json"),
        (["--sweep", "nowhere.json"], "give a folder for its points"),
        (["--sweep", "nowhere.json", "-o", "x"], "nowhere.json"),
        (["--methods", "nowhere"], "--methods nowhere: write NAME=FOLDER"),
        (["--methods", "a=nowhere"], "--methods a=nowhere: neither a folder nor"),
        (["--methods", "a=embedded@x"], "--methods a=embedded@x: neither"),
        (["--methods", "a=embedded@7"], "existing iterations"),
        (["--methods", "truth=embedded"], "there is a column 'truth' already"),
        (["--methods", "a=embedded", "a=embedded"], "there is a column 'a' already"),
    ],
)
def test_mistakes_are_told_in_one_line(data, flags, message, capsys):
    with pytest.raises(SystemExit) as error:
        evaluate.main(["--data_root", str(data), "--device", "cpu", *flags])
    text = capsys.readouterr().err.strip().splitlines()
    assert error.value.code == 2 and text[-1].startswith("error: ") and message in text[-1]


def test_kept_motions_of_a_method_are_no_source(data, tmp_path, capsys):
    """Told before anything is loaded."""
    folder = tmp_path / "out" / "coef-again"
    moving(0, 9).save(folder / "ann_000.npz")
    with pytest.raises(SystemExit) as error:
        evaluate.main(["--data_root", str(tmp_path / "none"), "--coef_dir", str(tmp_path), "--methods",
                       f"again={folder}", "--save_coef", "-o", str(tmp_path / "out"), "--device", "cpu"])  # fmt: skip
    assert error.value.code == 2 and "coef-again" in capsys.readouterr().err.splitlines()[-1]


def test_a_model_has_its_own_style_without_a_judge():
    """Its style encoder, not the judge's, makes the styles; without it there is an error instead of the null style."""
    animator = Animator.load(find_checkpoint("DPT", "embedded", None), None, torch.device("cpu"))
    motion = moving(0, 100)
    windows = StyleWindows({"ann/000": motion}, {"ann/000": "ann/000"}, {})
    styles = Styles(lambda _: windows, None, torch.device("cpu"))
    assert styles.requested(animator, None, None, None)["ann/000"].shape == (128,)
    lost = replace(animator.model.config, style_enc_ckpt="experiments/SE/none/checkpoints/iter_0000001.pt")
    animator.model.config = lost
    with pytest.raises(UserError, match="--style_enc_ckpt: .*none"):
        styles.requested(animator, None, None, None)


# Clips and results


def test_style_comes_from_the_speakers_next_clip():
    names = ["a/0", "a/1", "b/0", "a/2"]
    assert references(names) == {"a/0": "a/1", "a/1": "a/2", "a/2": "a/0", "b/0": "b/0"}


def test_clips_are_spread_over_the_list():
    assert spread(list("abcdefg"), 3) == ["a", "d", "g"]
    assert spread(["a", "b"], 5) == ["a", "b"] == spread(["a", "b"], None)


def test_reading_a_clip(data):
    store = ClipStore(data)
    clip = read_clip(store, "ann/000", "ann/001", {"ann/000": [Phone("m", 1, 1.1)]})
    assert (clip.speaker, clip.n_frames, len(clip.audio), len(clip.style_motion)) == ("ann", 130, 130 * 640, 100)
    assert clip.style_motion.source == "ann/001" and clip.phones[0].name == "m"
    np.testing.assert_array_equal(clip.style_motion.exp, store.read_coefs("ann/001", 0, 100)["exp"])
    few = validation_clips(store, list(CLIPS), limit=2, n_frames=50)
    assert [(c.name, c.n_frames, c.phones) for c in few] == [("ann/000", 50, None), ("bob/000", 50, None)]


def test_results_are_found_by_name(tmp_path):
    for name in ("ann/000.npz", "ann_001_000.npz", "ann_001_001.npz", "bob_[x]_000.npz"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert find_results(tmp_path, "ann/000") == [tmp_path / "ann" / "000.npz"]
    assert [p.name for p in find_results(tmp_path, "ann/001")] == ["ann_001_000.npz", "ann_001_001.npz"]
    assert find_results(tmp_path, "bob/[x]") == [tmp_path / "bob_[x]_000.npz"]
    assert list(match_results(tmp_path, ["ann/001", "eve/000"])) == ["ann/001"]
    with pytest.raises(UserError, match="no npz is named like a clip"):
        match_results(tmp_path, ["eve/000"])


# Output


def test_output_folder_lies_beside_the_run():
    args = evaluate.parse_args(["--data_root", "x"])
    checkpoint = Path("experiments/DPT/a/checkpoints/iter_0000005.pt")
    assert evaluate.output_folder(args, checkpoint) == Path("experiments/DPT/a/evaluation/iter_0000005-test")
