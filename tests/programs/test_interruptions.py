"""Signals, closed streams and unusual settings of Python: no traceback, no temporary file, the right exit code."""

import importlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from tests.support.programs import program
from tests.support.tracker_files import make_truth, write_spectre
from utils.errors import Interrupted, cli
from utils.runs.run_dir import ROOT

SMILE = str(ROOT / "demo" / "input" / "motion" / "smile.npz")
LONG = {  # programs that work for a while, and what shows that they have begun
    "drawing": ["render_motion.py", SMILE, "-o", "OUT/r.mp4"],
    "meshes": ["export_motion.py", SMILE, "-f", "obj", "--fps", "240", "-o", "OUT/e"],
}


def wait_for(condition) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("work", "number"), [("drawing", signal.SIGINT), ("drawing", signal.SIGHUP), ("meshes", signal.SIGTERM)]
)
def test_a_signal_leaves_nothing_behind(tmp_path, work, number):
    with program([word.replace("OUT", str(tmp_path)) for word in LONG[work]]) as process:
        wait_for(lambda: process.poll() is not None or list(tmp_path.iterdir()))
        time.sleep(0.2)
        process.send_signal(number)
        _, shown = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in shown and shown.splitlines()[-1] == "interrupted"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["demo.py", "evaluate.py", "export_motion.py", "extract_style.py", "render_motion.py", "main_se.py", "main_dpt.py",
     "-m scripts_for_dataset.prepare_dataset", "-m setup.convert_flame", "-m web.app", "-m examples.drive_avatar",
     "-m benchmarks.speed.live"],
)  # fmt: skip
def test_ctrl_c_while_imports_run(tmp_path, name):
    """NumPy is one of the first; this one presses Ctrl-C, and then goes on importing for a while."""
    (tmp_path / "numpy.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(20)\n")
    with program(name.split(), env={**os.environ, "PYTHONPATH": str(tmp_path)}) as process:
        shown = process.communicate(timeout=60)
    assert shown == ("", "interrupted\n") and process.returncode == 130


def test_importing_a_program_leaves_ctrl_c_alone():
    code = "import signal, extract_style\nassert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    with program(["-c", code]) as process:
        assert process.wait(timeout=60) == 0


def test_nohup_is_respected():
    """A signal that is ignored when the program starts stays ignored."""
    code = (
        "import os, signal\nfrom utils.errors import cli\n"
        "@cli\ndef main():\n    os.kill(os.getpid(), signal.SIGHUP)\n    print('on')\nmain()\n"
    )
    for before, expected in ((signal.SIG_IGN, (0, "on\n")), (signal.SIG_DFL, (128 + signal.SIGHUP, ""))):
        with program(["-c", code], preexec_fn=lambda before=before: signal.signal(signal.SIGHUP, before)) as process:
            shown, _ = process.communicate(timeout=60)
        assert (process.returncode, shown) == expected


def test_handlers_are_put_back():
    seen = []
    cli(lambda: seen.append(signal.getsignal(signal.SIGTERM)))()
    assert seen[0] is not signal.SIG_DFL and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    @cli
    def main():
        raise Interrupted(signal.SIGHUP)

    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 128 + signal.SIGHUP


def test_a_program_ends_with_its_test():
    with pytest.raises(ZeroDivisionError), program(["-c", "import time; time.sleep(100)"]) as process:
        _ = 1 / 0
    assert process.returncode == -signal.SIGKILL


def test_ctrl_c_within_a_compiled_module(capsys):
    @cli
    def main():
        raise ImportError("initialization failed") from KeyboardInterrupt()

    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130 and capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_end_with_their_parent(tmp_path, number):
    """Ctrl-C reaches all processes of a terminal: one line, no traceback of a worker, no half-written file."""
    truth = make_truth(60)
    for k in range(450):
        folder = tmp_path / "in" / "coefs" / f"p{k}"
        folder.mkdir(parents=True)
        if k == 0:
            write_spectre(folder, truth).rename(folder / "v.npz")
        else:
            os.link(tmp_path / "in" / "coefs" / "p0" / "v.npz", folder / "v.npz")
    command = ["-m", "scripts_for_dataset.fix_pose_prediction", "--coefs", str(tmp_path / "in" / "coefs")]
    out = tmp_path / "out"
    with program([*command, "--out", str(out), "--workers", "2"]) as process:
        wait_for(lambda: process.poll() is not None or out.is_dir())
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        _, shown = process.communicate(timeout=60)
    assert process.returncode == 128 + number and "Traceback" not in shown
    assert not [path for path in out.rglob("*") if ".tmp" in path.name]


@pytest.mark.parametrize("closed", ["<&-", "<&- >&- 2>&-"])
def test_closed_streams(tmp_path, closed):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    command = f"{sys.executable} render_motion.py {SMILE} -o {tmp_path}/a.mp4 --size 32 --no_head {closed}"
    short = tmp_path / "short.npz"
    with np.load(SMILE) as file:
        np.savez(short, exp=file["exp"][:25], pose=file["pose"][:25])
    command = command.replace(SMILE, f"{short} -a {tmp_path}/a.wav")
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert (tmp_path / "a.mp4").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--stream -a - <&-", "--audio -: standard input is closed"),
        ("--stream -a demo/input/audio/librivox_austen_0890.flac >&-", "--output -: standard output is closed"),
        ("--mode interactive <&-", ""),
    ],
)
def test_closed_streams_that_are_needed(arguments, message):
    command = f"{sys.executable} demo.py --no_video {arguments}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert "Traceback" not in done.stderr and message in done.stderr
    assert done.returncode == (2 if message else 0)


def test_python_without_docstrings_and_without_the_scripts_folder():
    code = (
        "import runpy, sys\n"
        "for name in ('demo', 'evaluate', 'export_motion', 'extract_style', 'main_dpt', 'main_se', 'render_motion'):\n"
        "    sys.argv = [name, '--help']\n"
        "    try:\n        runpy.run_path(sys.path_root + name + '.py', run_name='__main__')\n"
        "    except SystemExit as end:\n        assert not end.code, name\n"
    ).replace("sys.path_root", repr(f"{ROOT}/"))
    environment = os.environ | {"PYTHONOPTIMIZE": "2", "PYTHONSAFEPATH": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=150,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: ") == 7 and not done.stderr


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("render_motion", ["empty.npz", "-o", "a.mp4"]),
        ("export_motion", ["empty.npz", "-f", "all"]),
        ("extract_style", ["-c", "empty.npz", "-o", "a.npy"]),
        ("examples.my_style_on_another_voice", ["empty.npz", "-o", "a.mp4"]),
        ("scripts_for_dataset.import_coefs", ["empty.npz", "a.npz"]),
    ],
)
def test_a_motion_of_no_frames(tmp_path, monkeypatch, capsys, program, arguments):
    monkeypatch.chdir(tmp_path)
    np.savez("empty.npz", exp=np.zeros((0, 50), np.float32), pose=np.zeros((0, 6), np.float32), head_model="open head")
    with pytest.raises(SystemExit) as end:
        importlib.import_module(program).main(arguments)
    assert end.value.code == 2 and "empty.npz" in capsys.readouterr().err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["empty.npz"]
