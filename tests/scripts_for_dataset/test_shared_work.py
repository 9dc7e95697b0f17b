"""Commands whose work several processes share: what parts make and one process makes is the same."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import lmdb
import numpy as np
import pytest
import soundfile

import extract_style
from datasets import clip_store
from scripts_for_dataset import (
    convert_dataset,
    fix_pose_prediction,
    inspect_dataset,
    make_combined_dataset,
    prepare_dataset,
)
from scripts_for_dataset.preparing.batch import run_all
from tests.support.programs import program
from tests.support.small_store import LEGACY, write_store
from tests.support.tracker_files import make_truth, write_spectre
from utils.errors import UserError
from utils.runs.run_dir import ROOT

N = 7


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Seven clips of seven people, one of them with a silent film's sound: it is skipped."""
    root = tmp_path_factory.mktemp("sources")
    for k in range(N):
        coefs = root / "coefs" / f"p{k}"
        coefs.mkdir(parents=True)
        write_spectre(coefs, make_truth(110, seed=k)).rename(coefs / "v.npz")
        sound = root / "audio" / f"p{k}" / "v.wav"
        sound.parent.mkdir(parents=True)
        seconds = 1 if k == 3 else 4.4
        noise = 0.1 * np.random.default_rng(k).standard_normal(round(seconds * 16_000))
        soundfile.write(sound, noise, 16_000)
    return root


def preparing(sources, out, *more):
    folders = ("--coefs", sources / "coefs", "--audio", sources / "audio", "--out", out)
    return [*map(str, folders), "--workers", "1", "--n_eval", "1", *more]


def content(folder):
    """Everything in a data set but the file's page layout."""
    with lmdb.open(str(folder), readonly=True, lock=False) as file, file.begin() as transaction:
        values = dict(transaction.cursor())
    texts = {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix in (".txt", ".json", ".npz")}
    return values, texts


def prepare(*arguments):
    run(prepare_dataset.main, preparing(*arguments))


def run(main, words):
    """As in a process of its own: LMDB opens a file once in a process."""
    main(words)
    while clip_store._handles:
        clip_store._handles.popitem()[1][1].close()


@pytest.fixture(scope="module")
def alone(sources, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "lmdb"
    prepare(sources, out)
    return content(out)


def error_of(capsys, run, *arguments):
    with pytest.raises(SystemExit) as end:
        run(*arguments)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


LAUNCHERS = {
    "torchrun": {"RANK": "0", "WORLD_SIZE": "4"},
    "srun": {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_NTASKS": "4"},
    "SLURM array": {"SLURM_JOB_ID": "8", "SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_ARRAY_TASK_ID": "2",
                    "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "3", "SLURM_ARRAY_TASK_COUNT": "4"},
    "Kubernetes": {"JOB_COMPLETION_INDEX": "3", "WORLD_SIZE": "4"},
}  # fmt: skip


def test_parts_of_a_data_set_are_merged_to_the_same(sources, alone, tmp_path):
    """Each of four parts is started by another launcher."""
    out = tmp_path / "lmdb"
    for number, variables in enumerate(LAUNCHERS.values()):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            prepare(sources, out)
        assert (out / f".shards/{number}-of-4/shard.json").is_file()
    assert not (out / "data.mdb").exists()
    prepare(sources, out)
    assert content(out) == alone and not (out / ".shards").exists()
    prepare(sources, out)  # again: nothing changes but the report's "there already"
    values, texts = content(out)
    assert values == alone[0] and texts["train.txt"] == alone[1]["train.txt"]


def test_a_data_set_grows_in_parts(sources, alone, tmp_path):
    out, some = tmp_path / "lmdb", tmp_path / "some"
    for kind in ("coefs", "audio"):
        for k in range(4):
            shutil.copytree(sources / kind / f"p{k}", some / kind / f"p{k}")
    prepare(some, out)
    for shard in ("0/2", "1/2"):
        prepare(sources, out, "--shard", shard)
    prepare(sources, out)
    assert content(out)[0] == alone[0]


def test_nothing_is_merged_of_what_does_not_belong_together(sources, tmp_path, capsys):
    out = tmp_path / "lmdb"
    prepare(sources, out, "--shard", "0/2")
    capsys.readouterr()
    line = error_of(capsys, prepare_dataset.main, preparing(sources, out))
    assert "1-of-2: this part is missing; give the same command with --shard 1/2" in line
    line = error_of(capsys, prepare_dataset.main, preparing(sources, out, "--shard", "1/3"))
    assert "parts of 2 and of 3" in line
    line = error_of(capsys, prepare_dataset.main, preparing(sources, out, "--max_mismatch", "2", "--shard", "0/2"))
    assert "made of other --max_mismatch" in line
    assert not (out / "data.mdb").exists()


def test_a_full_disk_ends_one_part(sources, alone, tmp_path, capsys):
    """The others stay; the lost one is named and repeated alone."""
    out = tmp_path / "lmdb"
    prepare(sources, out, "--shard", "0/2")
    words = [sys.executable, "-m", "scripts_for_dataset.prepare_dataset", *preparing(sources, out, "--shard", "1/2")]
    small = f"ulimit -f 100; exec {' '.join(words)}"
    done = subprocess.run(["bash", "-c", small], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    capsys.readouterr()
    line = error_of(capsys, prepare_dataset.main, preparing(sources, out))
    assert "1-of-2: this part did not end" in line and not (out / "data.mdb").exists()
    prepare(sources, out, "--shard", "1/2")
    prepare(sources, out)
    assert content(out) == alone


def test_killed_parts_lose_nothing(sources, alone, tmp_path):
    """SIGKILL at six moments of two parts, each continued by the same command."""
    out = tmp_path / "lmdb"
    for shard in ("0/2", "1/2"):
        words = ["-m", "scripts_for_dataset.prepare_dataset", *preparing(sources, out, "--shard", shard)]
        folder = out / ".shards" / shard.replace("/", "-of-")
        for seconds in (0.0, 0.03, 0.08):
            with program(words, stderr=subprocess.DEVNULL) as process:
                end = time.monotonic() + 60
                while not (folder / "data.mdb").exists() and process.poll() is None:
                    assert time.monotonic() < end
                    time.sleep(0.01)
                time.sleep(seconds)
                process.send_signal(signal.SIGKILL)
                process.wait(timeout=60)
        prepare(sources, out, "--shard", shard)
    prepare(sources, out)
    values, texts = content(out)
    assert values == alone[0]
    for name in ("train.txt", "val.txt", "test.txt", "stats_train.npz"):
        assert texts[name] == alone[1][name]


def test_a_killed_worker_is_said():
    """The parent does not wait for ever for the result of a job that ended its worker."""
    with pytest.raises(UserError, match="a worker process was killed.*fewer --workers"):
        list(run_all(os._exit, [1, 1, 1], 2))


def test_parts_of_files(sources, tmp_path, caplog):
    """Commands whose results are files: parts write into the same folder, and merging reports them together."""
    caplog.set_level("INFO")
    for out, shards in ((tmp_path / "one", [[]]), (tmp_path / "two", [["--shard", "0/2"], ["--shard", "1/2"], []])):
        for more in shards:
            caplog.clear()
            fix_pose_prediction.main(["--coefs", str(sources / "coefs"), "--out", str(out), "--workers", "1", *more])
        assert f"{out}: {N} done" in caplog.text and not (out / ".shards").exists()
    for path in (tmp_path / "one").rglob("*.npz"):
        other = np.load(tmp_path / "two" / path.relative_to(tmp_path / "one"))
        with np.load(path) as file:
            assert all(np.array_equal(file[name], other[name]) for name in file.files)


def test_other_commands_leave_the_parts_alone(sources, tmp_path, capsys):
    """The folder of parts belongs to the command that began it."""
    out = tmp_path / "lmdb"
    prepare(sources, out, "--shard", "0/2")
    record = json.loads((out / ".shards" / "0-of-2" / "shard.json").read_text())
    assert record["done"] and record["items"].startswith(f"{N} ")
    words = [word for word in preparing(sources, out) if word not in ("--n_eval", "1")]
    capsys.readouterr()
    assert "0-of-2" in error_of(capsys, make_combined_dataset.main, [*words[:6], "--workers", "1"])


def test_a_conversion_in_parts(tmp_path):
    """Clips of damaged values are left out by whichever part finds them."""
    source = shutil.copytree(LEGACY, tmp_path / "source")
    for out, shards in (("one", [[]]), ("two", [["--shard", "1/2"], ["--shard", "0/2"], []])):
        for more in shards:
            run(convert_dataset.main, [str(source), str(tmp_path / out), "--workers", "1", *more])
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert not (tmp_path / "two" / ".shards").exists()


def test_an_inspection_in_parts(tmp_path):
    store = write_store(tmp_path / "store", {f"p{k}/v": 30 + k for k in range(5)})
    for out, shards in (("one", [[]]), ("two", [["--shard", "0/2"], ["--shard", "1/2"], []])):
        for more in shards:
            words = [str(store), "-o", str(tmp_path / out), "--no_pictures", "--workers", "1", *more]
            run(inspect_dataset.main, words)
    one, two = (sorted((tmp_path / out).iterdir()) for out in ("one", "two"))
    assert [p.name for p in one] == [p.name for p in two] == ["inspection.html", "inspection.json"]
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]


def test_styles_of_a_folder(sources, tmp_path, caplog):
    """One npy for each clip, the same as of the clip alone; parts and a second run."""
    caplog.set_level("INFO")
    coefs, out = tmp_path / "coefs", tmp_path / "styles"
    for k in range(3):
        shutil.copytree(sources / "coefs" / f"p{k}", coefs / f"p{k}")
    (coefs / "p9").mkdir()
    np.savez(coefs / "p9" / "short.npz", exp=np.zeros((20, 50)), pose=np.zeros((20, 6)))
    words = ["-c", str(coefs), "-o", str(out), "--device", "cpu", "--workers", "1"]
    said = (": 1 done, 1 skipped", ": 2 done", ": 3 done, 1 skipped", ": 3 there already, 1 skipped")
    for more, expected in zip((["--shard", "1/2"], ["--shard", "0/2"], [], []), said):
        caplog.clear()
        extract_style.main([*words, *more])
        assert expected in caplog.text
    extract_style.main(["-c", str(coefs / "p1" / "v.npz"), "-o", str(tmp_path / "p1.npy"), "--device", "cpu"])
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.*")) == [f"p{k}/v.npy" for k in range(3)]
    np.testing.assert_array_equal(np.load(tmp_path / "p1.npy"), np.load(out / "p1" / "v.npy"))
