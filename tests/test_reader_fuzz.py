"""A few of the files of `python -m tests.fuzz` for every reader, and whether that program notices what it looks for."""

import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datasets.clip_encoding import Segment, decode_segment, encode_metadata, encode_segment
from datasets.clip_store import ClipStore, ClipWriter
from tests.fuzz.readers import READERS, make_input
from tests.fuzz.seeds import odd_arrays
from tests.support.small_store import clip_content
from tests.support.tracker_files import import_motion
from utils.errors import UserError
from utils.media.audio import encode_flac
from utils.trackers.to_motion import ImportOptions

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
ROOT = Path(__file__).resolve().parents[1]
N_INPUTS = {"open_head": 6, "talker": 30, "pairs": 20}  # slow ones; the others get 80


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_damaged_files(tmp_path, reader):
    (tmp_path / "seeds").mkdir()
    corpus = reader.seeds(tmp_path / "seeds")
    (tmp_path / "in").mkdir()
    taken = 0
    for index in range(len(corpus) + N_INPUTS.get(reader.name, 80)):
        made = make_input(reader, corpus, 0, index)
        path = tmp_path / "in" / f"x{made.suffix}"
        path.write_bytes(made.data)
        try:
            reader.read(path)
            taken += 1
        except UserError as error:
            assert str(error)
    assert taken or reader.name == "weights"  # which needs the one file of 16 MB
    assert not (tmp_path / "seeds" / "executed").exists()


def test_odd_arrays(tmp_path):
    rng, good = random.Random(0), 0
    notations = ["auto", "auto", "matrix", "6d", "euler_xyz", "euler_XYX", "quaternion", "axis_angle_degrees"]
    for _ in range(400):
        np.savez(tmp_path / "x.npz", **odd_arrays(rng))
        rates = [None, 25, 30, 1e-3, 1e9, float("nan"), -1]
        options = ImportOptions(fps=rng.choice(rates), notation=rng.choice(notations), flip=rng.choice([(), (0,)]))
        try:
            motion = import_motion(tmp_path / "x.npz", options).motion
        except UserError:
            continue
        good += 1
        assert motion.exp.shape == (len(motion), 50) and motion.pose.shape == (len(motion), 6)
        assert np.isfinite(motion.exp).all() and np.isfinite(motion.pose).all()
    assert good > 5


BAD_READERS = """
import os, signal, sys, time
from pathlib import Path
import av, numpy
import tests.fuzz
from tests.fuzz import pool
from tests.fuzz.readers import Reader
from tests.fuzz.seeds import Seed
from utils.errors import UserError

def refuse(path): raise UserError("no")
def loop(path):
    while True: time.sleep(0.01)
def hide(path):
    try: raise MemoryError
    except MemoryError as error: raise UserError("damaged") from error
def too_large(path, size=0):
    kept = numpy.empty(size, "u1")
    try: raise av.error.MemoryError(12, "Cannot allocate memory")
    except av.FFmpegError as error: raise UserError("damaged") from error

folder = Path(sys.argv[1])
bad = {
    "good": refuse,
    "raises": lambda path: {}["key"],
    "dies": lambda path: os.kill(os.getpid(), signal.SIGSEGV),
    "memory": lambda path: bytearray(450 << 20),
    "reserves": lambda path: numpy.empty(3 << 30, "u1"),
    "hides": hide,
    "FFmpeg refuses": too_large,
    "FFmpeg hoards": lambda path: too_large(path, 3 << 30),
    "executes": lambda path: eval("1 + 1"),
    "starts": lambda path: os.posix_spawn("/bin/true", ["true"], {}),
    "writes": lambda path: open(folder / "elsewhere", "w").close(),
    "hangs": loop,
}
pool.HANGS = 8.0
calm = lambda read: lambda path: None if path.read_bytes() == b"seed" else read(path)
seeds = lambda folder: [Seed(".x", b"seed")]
readers = [Reader(name, seeds, (lambda data, rng: b"bad",), calm(read)) for name, read in bad.items()]
jobs = [pool.Job(reader, 0, 2, 0, folder / "kept") for reader in readers]
for result in pool.run_all(jobs, 2, folder):
    print(result.reader, result.done, result.n_failed, *result.failures, sep="|")
"""
EXPECTED = {"good": "", "raises": "KeyError", "dies": "died with exit code -11", "memory": "MiB of memory",
            "reserves": "reserved", "hides": "asked for more memory", "FFmpeg refuses": "", "FFmpeg hoards": "reserved",
            "executes": "executed text",
            "starts": "did os.posix_spawn", "writes": "opened", "hangs": "hung"}  # fmt: skip


def test_the_program_notices_what_it_looks_for(tmp_path):
    (tmp_path / "work").mkdir()
    command = [sys.executable, "-c", BAD_READERS, str(tmp_path / "work")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = {line.split("|")[0]: line.split("|")[1:] for line in run.stdout.splitlines()}
    assert found.keys() == EXPECTED.keys()
    for name, (done, failed, *problems) in found.items():
        good = EXPECTED[name] == ""
        assert done == "2" and failed == ("0" if good else "1"), (name, found[name])
        assert not problems if good else EXPECTED[name] in problems[0], (name, problems)
    kept = list((tmp_path / "work" / "kept").iterdir())
    assert len(kept) == len(EXPECTED) - 2 and all(path.name.split("-")[0] in EXPECTED for path in kept)


def test_the_command(tmp_path, capsys):
    from tests.fuzz.__main__ import main

    with pytest.raises(SystemExit) as end:
        main(["--readers", "split_list,nosuch"])
    assert end.value.code == 2 and "nosuch" in capsys.readouterr().err


def test_a_value_that_repeats_itself_without_end():
    nested = []
    for _ in range(60):
        nested = [nested, nested]
    with pytest.raises(UserError, match="nested without end"):
        decode_segment(pickle.dumps({"audio": b"", "coef": nested}), "x")


def test_audio_that_promises_more_than_its_segment_has(tmp_path: Path):
    audio, coefs = clip_content(10)
    flac = bytearray(encode_flac(audio))
    flac[22:26] = b"\x7f\xff\xff\xff"
    segment = encode_segment(Segment(coefs, bytes(flac)))
    with ClipWriter(tmp_path / "s") as writer:
        writer.add_encoded("a/0", {"a/0/000": segment, "a/0/metadata": encode_metadata(n_frames=10)})
    with pytest.raises(UserError, match="2147483647 samples are too many"):
        ClipStore(tmp_path / "s").read_frames("a/0", 0, 10)
