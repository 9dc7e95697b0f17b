"""Damaged and odd files by the hundred: readers of trackers and data sets raise UserError or nothing."""

import io
import pickle
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

from datasets.clip_encoding import Segment, decode_count, decode_segment, encode_metadata, encode_segment
from datasets.clip_store import ClipStore, ClipWriter
from tests.small_store import clip_content
from tests.tracker_files import FLAME_FILES, make_truth, write_csv
from utils.audio import encode_flac
from utils.errors import UserError
from utils.motion_file import load_motion, load_shape
from utils.trackers.to_motion import ImportOptions, import_motion, import_shape

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, removed, put in or copied from elsewhere; sometimes the end is cut off."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 30))):
        at, kind = rng.randrange(len(changed) + 1), rng.random()
        if kind < 0.5:
            changed[at : at + 1] = bytes([rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))])
        elif kind < 0.7:
            del changed[at : at + rng.choice((1, 2, 8, 64, 1000))]
        elif kind < 0.85:
            changed[at:at] = rng.randbytes(rng.choice((1, 2, 8)))
        else:
            start = rng.randrange(len(changed) + 1)
            changed[at : at + 16] = changed[start : start + 16]
    return bytes(changed[: rng.randrange(len(changed) + 1)] if rng.random() < 0.1 else changed)


def mutate_member(data: bytes, rng: random.Random) -> bytes:
    """A zip archive with one damaged member and sound checksums, so that the damage is read."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    name = rng.choice(sorted(members))
    members[name] = mutate(members[name], rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, value in members.items():
            archive.writestr(member, value)
    return buffer.getvalue()


def only_user_errors(call) -> bool:
    try:
        call()
    except UserError:
        return False
    return True


@pytest.mark.parametrize("write", [*FLAME_FILES, write_csv], ids=lambda write: write.__name__.removeprefix("write_"))
def test_damaged_files(tmp_path, write):
    rng = random.Random(write.__name__)
    if write is write_csv:
        names = ("jawOpen", "eyeBlinkLeft", "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight")
        more = ("browInnerUp", "cheekPuff", "jawLeft", "jawRight", "jawForward")
        path = write_csv(tmp_path / "a.csv", {name: np.linspace(0, 1, 5) for name in ("time", *names, *more)})
    else:
        path = write(tmp_path, make_truth(3))
        path = path if path.is_file() else min(p for p in path.rglob("*") if p.is_file())
    data, target = path.read_bytes(), tmp_path / f"damaged{path.suffix}"
    whole = 0
    for _ in range(150):
        inside = data[:2] == b"PK" and rng.random() < 0.7
        target.write_bytes(mutate_member(data, rng) if inside else mutate(data, rng))
        whole += only_user_errors(lambda: import_motion(target))
        only_user_errors(lambda: load_motion(target))
        only_user_errors(lambda: load_shape(target))
    assert whole < 150


NAMES = ["exp", "expr", "pose", "rotation", "neck_pose", "jaw_pose", "jaw", "shape", "fps", "pose_params", "jaw_params",
         "expression_params", "shape_params", "frame", "head_model", "identity"]  # fmt: skip
SETS = [["exp", "pose"], ["exp", "rotation", "jaw"], ["rotation", "neck_pose", "jaw_pose", "expr"], ["shape"],
        ["pose_params", "jaw_params", "expression_params"]]  # fmt: skip
WIDTHS = {"exp": 50, "pose": 6, "expr": 100, "expression_params": 50, "shape": 300, "shape_params": 300}


def odd_arrays(rng: random.Random, numbers: np.random.Generator) -> dict[str, np.ndarray]:
    """Arrays under trackers' names with usual or odd shapes, types and values."""
    n_frames, arrays = rng.choice([1, 2, 7]), {}
    for name in rng.choice(SETS) + rng.sample(NAMES, rng.randrange(4)):
        shape = (n_frames, WIDTHS.get(name, 3))
        shape = rng.choice([shape, shape, shape, (1, *shape), shape[1:], (), (0, 3), (n_frames, 3, 3), (n_frames, 106)])
        values = numbers.standard_normal(shape) * rng.choice([1, 1, 1, 1e-300, 1e30, 1e300])
        if rng.random() < 0.1:
            values = np.full(shape, rng.choice([np.nan, np.inf, 0]))
        with np.errstate(all="ignore"):
            arrays[name] = values.astype(rng.choice(["f8", "f8", "f4", "f2", ">f8", "i4", "b1", "U8"]))
    return arrays


def test_odd_arrays(tmp_path):
    rng, numbers, good = random.Random(0), np.random.default_rng(0), 0
    notations = ["auto", "auto", "matrix", "6d", "euler_xyz", "euler_XYX", "quaternion", "axis_angle_degrees"]
    for _ in range(600):
        np.savez(tmp_path / "x.npz", **odd_arrays(rng, numbers))
        rates = [None, 25, 30, 1e-3, 1e9, float("nan"), -1]
        options = ImportOptions(fps=rng.choice(rates), notation=rng.choice(notations), flip=rng.choice([(), (0,)]))
        only_user_errors(lambda: import_shape(tmp_path / "x.npz"))
        only_user_errors(lambda: load_motion(tmp_path / "x.npz"))
        try:
            motion = import_motion(tmp_path / "x.npz", options).motion
        except UserError:
            continue
        good += 1
        assert motion.exp.shape == (len(motion), 50) and motion.pose.shape == (len(motion), 6)
        assert np.isfinite(motion.exp).all() and np.isfinite(motion.pose).all()
    assert good > 5


@pytest.mark.parametrize("protocol", [None, 2, 4, 5])
def test_damaged_values_of_a_data_set(protocol):
    rng, (audio, coefs) = random.Random(protocol or 0), clip_content(4)
    segment = Segment(coefs, encode_flac(audio))
    value, count = encode_segment(segment), encode_metadata(n_frames=5)
    if protocol:
        value = pickle.dumps({"audio": segment.flac, "coef": coefs}, protocol)
        count = pickle.dumps({"n_frames": 5}, protocol)
    for _ in range(400):
        only_user_errors(lambda: decode_segment(mutate(value, rng), "x"))
        only_user_errors(lambda: decode_count(mutate(count, rng), "n_frames", "x"))


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
