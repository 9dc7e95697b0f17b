"""Commands that write: a folder that cannot be written, a disk that fills up, spaces and accents in every path."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import export_motion
from scripts_for_dataset import (
    calc_stats_random_sample,
    combine_mica_and_spectre,
    convert_dataset,
    fix_pose_prediction,
    import_coefs,
    inspect_dataset,
    make_combined_dataset,
    prepare_dataset,
)
from tests.support.programs import program
from tests.support.small_store import LEGACY, write_store
from tests.support.tracker_files import make_truth, write_spectre
from utils.motion_file import load_motion

ROOT = Path(__file__).resolve().parents[2]
CLIP = "Zoë 1/spréch 0"
PREPARED = ["--coefs", "coefs", "--audio", "audio", "--workers", "1", "--out"]
# Command -> (its main, what it reads, ending of what it writes). Inputs are named relative to the folder of `files`.
COMMANDS = {
    "import_coefs": (import_coefs.main, [f"coefs/{CLIP}.npz"], "m.npz"),
    "inspect_dataset": (inspect_dataset.main, ["store", "--no_pictures", "--workers", "1", "-o"], "seen"),
    "convert_dataset": (convert_dataset.main, [str(LEGACY)], "safe"),
    "prepare_dataset": (prepare_dataset.main, PREPARED, "set"),
    "make_combined_dataset": (make_combined_dataset.main, PREPARED, "set"),
    "combine": (
        combine_mica_and_spectre.main,
        ["--spectre", "coefs", "--mica", "mica", "--workers", "1", "--out"],
        "c",
    ),
    "fix_pose": (fix_pose_prediction.main, ["--coefs", "coefs", "--workers", "1", "--out"], "f"),
    "statistics": (calc_stats_random_sample.main, ["--data_root", "store", "--n_motions", "50", "-o"], "s.npz"),
    "export_motion": (export_motion.main, [f"coefs/{CLIP}.npz", "-f", "csv,npz", "-o"], "take"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A tracked clip with its sound, a head shape and a small data set, all below a folder with an odd name."""
    root = tmp_path_factory.mktemp("mein Ordner é 日本 'x'")
    for kind in ("coefs", "audio", "mica"):
        (root / kind / CLIP).parent.mkdir(parents=True)
    write_spectre(root, make_truth(220)).rename(root / "coefs" / f"{CLIP}.npz")
    sound = 0.1 * np.random.default_rng(0).standard_normal(220 * 640)
    soundfile.write(root / "audio" / f"{CLIP}.wav", sound, 16_000)
    np.save((root / "mica" / CLIP).parent / "identity.npy", make_truth(1).shape.astype(np.float32))
    write_store(root / "store", {CLIP: 120, "b/0": 120, "c/0": 130})
    for name in ("train", "val", "test"):
        (root / "store" / f"{name}.txt").write_text(f"{CLIP}\n", encoding="utf-8")
    return root


def arguments(files, name, folder):
    main, argv, ending = COMMANDS[name]
    known = {"coefs", "audio", "mica", "store"}
    return main, [str(files / arg) if arg.split("/")[0] in known else arg for arg in argv] + [str(folder / ending)]


def places(files):
    (files / "a file").write_text("x")
    return {"below a file": files / "a file" / "x", "a folder of the kernel's": Path("/proc/no such folder")}


@pytest.mark.parametrize("place", ["below a file", "a folder of the kernel's"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_that_cannot_be_written(files, capsys, name, place):
    folder = places(files)[place]
    main, argv = arguments(files, name, folder)
    with pytest.raises(SystemExit) as end:
        main(argv)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert end.value.code == 2 and len(lines) == 1
    assert str(folder) in lines[0] or "a file" in lines[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_spaces_and_accents_in_every_path(files, tmp_path, name):
    folder = tmp_path / "œuvre № 1 (x) & 'y'"
    main, argv = arguments(files, name, folder)
    main(argv)
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert written and all(
        path.stat().st_size for path in written if path.name not in ("val.txt", "test.txt", "lock.mdb", "writer.lock")
    )
    assert not [path for path in written if ".tmp" in path.name]
    if name in ("import_coefs", "combine", "fix_pose"):
        assert len(load_motion(next(p for p in written if p.suffix == ".npz"))) == 220


LIMITED = """
import contextlib, io, json, resource, sys
from pathlib import Path
import tests.scripts_for_dataset.test_write_faults as faults
files, folder, found = Path(sys.argv[1]), Path(sys.argv[2]), {}
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
for name in sys.argv[3].split(","):
    main, argv = faults.arguments(files, name, folder / name)
    error = io.StringIO()
    with contextlib.redirect_stderr(error):
        try:
            main(argv)
            code = 0
        except SystemExit as end:
            code = end.code
        except BaseException as problem:
            code = repr(problem)
    found[name] = [code, [line for line in error.getvalue().splitlines() if line.startswith("error: ")]]
print(json.dumps(found))
"""


def test_a_disk_that_fills_up(files, tmp_path):
    """A limit on the size of files stands in for the disk's end; it holds for the whole process."""
    names = "import_coefs,combine,inspect_dataset,statistics,export_motion,convert_dataset,prepare_dataset"
    command = [sys.executable, "-c", LIMITED, str(files), str(tmp_path), names]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name, (code, lines) in json.loads(run.stdout).items():
        assert code == 2 and len(lines) == 1, (name, code, lines)
        assert "disk space" in lines[0] or "cannot be written" in lines[0], (name, lines)
    left = [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix not in (".mdb", ".json")]
    assert not left, "something half-written stays"


def test_checkpoints_on_a_full_disk(tmp_path):
    code = (
        "import resource, sys, torch\nfrom utils.runs.checkpoint import Checkpoint\n"
        "from utils.errors import UserError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
        "try:\n    Checkpoint('talker', {}, {'a': torch.ones(9999)}, 1).save(sys.argv[1])\n"
        "except UserError as error:\n    print(error)\n"
    )
    (tmp_path / "x.pt").write_bytes(b"the one before")
    command = [sys.executable, "-c", code, str(tmp_path / "x.pt")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "x.pt: no disk space left" in run.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["x.pt"] and (tmp_path / "x.pt").read_bytes() == b"the one before"


def test_two_commands_write_one_data_set(files, tmp_path):
    """The second of two processes is refused in one line while the first one lives."""
    hold = (
        "import sys\nfrom pathlib import Path\nfrom datasets.clip_writer import ClipWriter\n"
        "with ClipWriter(Path(sys.argv[1]), resume=True):\n    print('in', flush=True)\n    sys.stdin.read()\n"
    )
    with program(["-c", hold, tmp_path / "set"], stdin=subprocess.PIPE) as first:
        first.stdout.readline()
        main, argv = arguments(files, "prepare_dataset", tmp_path)
        run = [sys.executable, "-m", "scripts_for_dataset.prepare_dataset", *argv]
        second = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert second.returncode == 2 and "another process is writing" in second.stderr.splitlines()[-1]
    main(argv)
    assert (tmp_path / "set" / "train.txt").is_file()


def test_limits_are_real():
    """What the tests above rely on: the soft limit can be lowered, and the kernel's folder refuses even root."""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    with pytest.raises(OSError):
        os.mkdir("/proc/no such folder")  # noqa: PTH102
