"""Recordings of people joined to training clips, and data sets merged."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets.clip_store import ClipStore, ClipWriter
from datasets.splits import read_list, split_of
from models.heads.flame import load_flame
from models.tracking.embedding import LandmarkHead
from scripts_for_dataset import make_people_dataset, merge_datasets
from scripts_for_dataset.people.clips import Piece, at_speed, emphasis, joined, mirrored, opening_on, with_mouth
from scripts_for_dataset.people.plan import plan_takes, talker_shares
from scripts_for_dataset.synthetic import arkit
from scripts_for_dataset.synthetic.style import SpeakerStyle
from utils.coefs import CoefStats
from utils.errors import UserError

FRAMES = 75


@pytest.fixture(scope="module")
def head() -> LandmarkHead:
    return LandmarkHead(load_flame().head)


def recording(rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Three seconds: silence, a voice that opens the mouth, silence."""
    talk = np.zeros(FRAMES)
    talk[20:55] = np.abs(np.sin(np.arange(35) * 0.5))
    time = np.arange(FRAMES * 640) / 16000
    audio = np.repeat(talk, 640) * np.sin(2 * np.pi * 120 * time) * 0.3 + 1e-4 * rng.standard_normal(len(time))
    motion = arkit.neutral(FRAMES)
    motion["pose"][:, 3] = 0.1 * talk
    motion["pose"][:, 1] = 0.02
    arkit.add(motion["exp"], "mouthLowerDown", 0.2 * talk)
    motion["exp"][:, arkit.unit("browInnerUp")] = 0.3
    return audio.astype(np.float32), motion | {"shape": np.zeros(100, np.float32)}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    with ClipWriter(folder) as writer:
        for person, count in (("ann", 60), ("bob", 24), ("eve", 10)):
            for k in range(count):
                writer.add_clip(f"{person}/{k:03d}", *recording(rng))
    return folder


def make(data: Path, output: Path, *more: str) -> ClipStore:
    flags = ["--data", str(data), "--output", str(output), "--hours", "0.05", "--held", "eve", "--workers", "1", *more]
    make_people_dataset.main(flags)
    return ClipStore(output)


def test_splits_are_by_hash_and_held_talkers_are_only_tested():
    lengths = {f"{person}/{k}": FRAMES for person in ("ann", "eve") for k in range(200)}
    takes = plan_takes(lengths, 0.5, ("eve",), 0.5, 0)
    for take in takes:
        for clip in take.recordings:
            assert take.split == ("test" if clip.startswith("eve") else split_of(clip))
    counts = [sum(split_of(clip) == split for clip in lengths) / len(lengths) for split in ("train", "val", "test")]
    assert np.abs(np.array(counts) - [0.9, 0.05, 0.05]).max() < 0.04
    train = [take for take in takes if take.split == "train"]
    assert len({take.name.split("/")[0] for take in train}) == len(train)  # every one another person


def test_no_talker_has_more_than_its_share():
    assert talker_shares({"a": 900, "b": 90, "c": 10}, 0.5) == {"a": 0.5, "b": 0.25, "c": 0.25}
    assert talker_shares({"a": 6, "b": 4}, 0.7) == {"a": 0.6, "b": 0.4}
    assert talker_shares({"a": 8, "b": 2}, 0.3) == {"a": 0.5, "b": 0.5}
    assert talker_shares({"a": 6}, 0.5) == {"a": 1.0}


def test_unknown_held_talker_is_refused():
    with pytest.raises(UserError, match="--held zoe: has no recordings"):
        plan_takes({"ann/0": FRAMES}, 1, ("zoe",), 0.5, 0)


def test_a_join_has_no_step_and_leaves_the_rest_alone():
    one, two = (Piece(np.zeros(640 * 40), np.full((40, 50), v), np.full((40, 6), v)) for v in (0.2, 0.6))
    both = joined([one, two])
    assert np.abs(np.diff(both.exp[:, 0])).max() < 0.08 and np.abs(np.diff(both.pose[:, 0])).max() < 0.08
    assert np.allclose(both.exp[:30], 0.2) and np.allclose(both.exp[50:], 0.6)


def test_mirroring_twice_is_nothing_and_sides_change():
    rng = np.random.default_rng(1)
    piece = Piece(np.zeros(640), rng.random((1, 50)), rng.random((1, 6)))
    once = mirrored(piece)
    assert once.exp[0, arkit.unit("mouthSmileLeft")] == piece.exp[0, arkit.unit("mouthSmileRight")]
    assert once.exp[0, arkit.unit("jawLeft")] == piece.exp[0, arkit.unit("jawRight")]
    assert once.exp[0, arkit.unit("browInnerUp")] == piece.exp[0, arkit.unit("browInnerUp")]
    assert np.allclose(mirrored(once).exp, piece.exp) and np.allclose(mirrored(once).pose, piece.pose)


def test_speed_keeps_sound_and_motion_in_step():
    audio, motion = recording(np.random.default_rng(0))
    fast = at_speed(Piece(audio, motion["exp"], motion["pose"]), 1.15)
    assert len(fast.audio) == 640 * len(fast.exp) and len(fast.exp) == int(FRAMES / 1.15)
    loud = np.abs(fast.audio).reshape(len(fast.exp), 640).max(1)
    assert np.corrcoef(loud, fast.pose[:, 3])[0, 1] > 0.8


@pytest.mark.parametrize("gain", [0.6, 1.5])
def test_openings_scale_and_shut_lips_stay_shut(head: LandmarkHead, gain: float):
    audio, motion = recording(np.random.default_rng(0))
    silence = motion["pose"][:, 3] == 0
    motion["exp"][silence, arkit.unit("mouthClose")] = 0.05  # pressed
    piece = Piece(audio, motion["exp"], motion["pose"])

    def opening(p: Piece) -> np.ndarray:
        exp, jaw = torch.from_numpy(p.exp.astype(float)), torch.from_numpy(p.pose[:, 3].astype(float))
        return opening_on(head, torch.zeros(100).double(), exp, jaw).numpy()

    plain = opening(with_mouth(piece, head, ~silence, SpeakerStyle(smile=0), 0.8))
    use = emphasis(np.random.default_rng(1))
    scaled = opening(with_mouth(piece, head, ~silence, SpeakerStyle(jaw=gain, smile=0.3), 0.8, use))
    wide = plain > 3
    assert wide.sum() > 10 and np.abs(scaled[wide] / plain[wide] - gain).max() < 0.02
    assert (plain[silence] < -0.5).all() and np.abs(scaled[silence] - plain[silence]).max() < 0.05


def test_data_set_from_recordings(recordings: Path, tmp_path: Path):
    store = make(recordings, tmp_path / "one")
    train = read_list(tmp_path / "one" / "train.txt")
    assert {clip.split(".")[0] for clip in train} == {"ann", "bob"}
    assert all(clip.startswith("eve.test/") for clip in read_list(tmp_path / "one" / "test.txt") if "eve" in clip)
    again = make(recordings, tmp_path / "two", "--seed", "0")
    for clip in train[:3]:
        first, second = (s.read_frames(clip, 0, s.n_frames(clip)) for s in (store, again))
        assert np.array_equal(first.audio, second.audio) and np.array_equal(first.coefs["exp"], second.coefs["exp"])
        assert first.coefs["pose"][:, :3].std() > 0.005  # a head by rule: the recordings' does not move
        assert first.coefs["exp"][:, arkit.unit("browInnerUp")].min() < 0.01  # the lasting 0.3 is gone
    own = make(recordings, tmp_path / "own", "--own_heads", "--no_augment")
    assert own.read_coefs(train[0])["pose"][:, :3].std(axis=0).max() < 1e-6
    with pytest.raises(SystemExit):
        make(recordings, tmp_path / "one", "--seed", "1")


def test_flame_coefficients_are_refused(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    flame = tmp_path / "flame"
    shutil.copytree(recordings, flame)
    (flame / "preparation.json").write_text(json.dumps({"clips": [], "head_models": {"FLAME 2020": 3}}))
    with pytest.raises(SystemExit) as refused:
        make(flame, tmp_path / "out")
    assert refused.value.code == 2 and "FLAME 2020's coefficients" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_merged_data_set_has_all_clips_and_lists(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    make(recordings, tmp_path / "one")
    make_people_dataset.main(
        ["--data", str(recordings), "--output", str(tmp_path / "two"), "--hours", "0.02", "--workers", "1"]
    )
    folders = [str(tmp_path / name) for name in ("one", "two")]
    with pytest.raises(SystemExit) as refused:
        merge_datasets.main([*folders, "-o", str(tmp_path / "both")])
    assert refused.value.code == 2 and "is in" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        merge_datasets.main([folders[0], "-o", str(tmp_path / "alone")])
    assert "name two or more" in capsys.readouterr().err and not (tmp_path / "alone").exists()
    source = ClipStore(tmp_path / "one")
    with ClipWriter(tmp_path / "three") as writer:
        for clip in read_list(tmp_path / "one" / "train.txt")[:4]:
            frames = source.read_frames(clip, 0, source.n_frames(clip))
            writer.add_clip(f"copy.{clip}", frames.audio, frames.coefs)
    (tmp_path / "three" / "train.txt").write_text((tmp_path / "three" / "keys.txt").read_text())
    merge_datasets.main([folders[0], str(tmp_path / "three"), "-o", str(tmp_path / "both")])
    merged = ClipStore(tmp_path / "both")
    train = read_list(tmp_path / "both" / "train.txt")
    assert len(train) == len(read_list(tmp_path / "one" / "train.txt")) + 4
    for clip in train:
        plain = clip.removeprefix("copy.")
        assert np.array_equal(merged.read_coefs(clip)["exp"], source.read_coefs(plain)["exp"])
    assert CoefStats.load(tmp_path / "both" / "stats_train.npz").exp_std.max() > 0
