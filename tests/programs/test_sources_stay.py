"""Every command with its outputs beside its inputs, and on top of them: no source changes by a single byte."""

import hashlib
import importlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from models.exports.motion_export import export
from models.heads.flame import load_flame
from setup.write_cli_docs import PROGRAMS
from tests.support.demo_workspace import SE_RUN, STATS, speech
from tests.support.small_store import LEGACY, write_store
from tests.support.tracker_files import make_truth, write_spectre
from utils.atomic import check_apart
from utils.errors import UserError
from utils.media.video import write_video
from utils.motion_file import Motion, load_motion
from utils.runs import run_dir

DEMO = ["--exp_name", "head", "--coef_stats", str(STATS), "--device", "cpu", "--steps", "2", "--sampler", "ddim"]
DEMO += ["--size", "32"]
CSV = ["--export", "livelink,glb"]
FAST = ["--steps", "1", "--size", "32"]
# program, arguments, exit code. Sources: me.wav (48 kHz, 24 bit, stereo), talk.mp4 (with sound), me.npz,
# me_livelink.csv, link.wav (to me.wav), my_skin.jpg, coefs/p/v.npz, audio/p/v.wav, mica/p/identity.npy, store (LMDB).
CASES = [
    ("demo", ["-a", "one/talk.wav", "-o", "one/new.mp4", "--save_coef", *CSV], 0),
    ("demo", ["-a", "me.wav", "-o", "me.mp4", "--export", "glb"], 2),
    ("demo", ["-a", "me.wav", "-o", "../repo/me.mp4", "--export", "glb"], 2),
    ("demo", ["-a", "link.wav", "-o", "me.mp4", "--export", "usd"], 2),
    ("demo", ["-a", "me.wav", "-o", "link.mp4", "--export", "glb", "--no_video"], 2),
    ("demo", ["-a", "audio/p/v.wav", "-o", "me.mp4", "--export", "glb", "--no_video"], 2),  # me.wav is foreign
    ("demo", ["-a", "talk.mp4", "-o", "talk.mp4"], 2),
    ("demo", ["-a", "talk.mp4", "-o", "hard.mp4"], 2),
    ("demo", ["-a", "me.wav", "-c", "me.npz", "-o", "me.mp4", "--save_coef"], 2),
    ("demo", ["-a", "me.wav", "-c", "me.npz", "-o", "me.mp4", "--no_video"], 2),
    ("demo", ["-a", "me.wav", "-c", "me.npz", "-o", "me.npz", "--stream"], 2),
    ("demo", ["-a", "talk.mp4", "-o", "talk.mp4", "--stream"], 2),
    ("demo", ["-a", "one", "-o", "one", "--export", "glb"], 2),
    ("demo", ["-a", "audio/p", "-o", "audio/p", "--no_video"], 0),
    ("render_motion", ["me.npz", "-a", "talk.mp4", "-o", "talk.mp4", "--size", "32"], 2),
    ("render_motion", ["me.npz", "-a", "me.wav", "-o", "me.mp4", "--size", "32", "--motion_fps", "25"], 0),
    ("export_motion", ["me.npz", "-f", "glb", "-a", "me.wav"], 2),
    ("export_motion", ["me.npz", "-f", "glb", "-a", "me.wav", "-o", "link"], 2),
    ("export_motion", ["me.npz", "-f", "all", "-o", "x", "-a", "me.wav", "--motion_fps", "25"], 0),
    ("export_motion", ["me.npz", "-f", "usd", "-o", "my", "-t", "my_skin.jpg"], 2),
    ("export_motion", ["me_livelink.csv", "-f", "csv"], 2),
    ("export_motion", ["me.npz", "-f", "csv"], 2),  # me.csv is the phone's
    ("extract_style", ["-c", "me.npz", "-o", "ROOT/me.npy"], 0),
    ("extract_style", ["-c", "mica/p/identity.npy", "-o", "ROOT/mica/p/identity.npy"], 2),
    ("examples.my_style_on_another_voice", ["me.npz", "me.wav", "-o", "me.mp4", "--export", "glb"], 2),
    ("examples.my_style_on_another_voice", ["me.npz", "talk.mp4", "-o", "talk.mp4"], 2),
    ("examples.one_speech_in_eight_styles", ["talk.mp4", "-o", "talk.mp4"], 2),
    ("examples.drive_avatar", ["me.glb", "me_livelink.csv", "-o", "me.glb"], 2),
    ("examples.drive_avatar", ["me.glb", "me_livelink.csv", "-o", "driven.glb"], 0),
    ("scripts_for_dataset.import_coefs", ["me_livelink.csv", "imported.npz"], 0),
    ("scripts_for_dataset.import_coefs", ["coefs/p/v.npz", "coefs/p/v.npz"], 2),
    ("scripts_for_dataset.import_coefs", ["coefs/p/v.npz", "out.npz", "--shape", "out.npz"], 2),
    ("scripts_for_dataset.combine_mica_and_spectre", ["--spectre", "coefs", "--mica", "mica", "--out", "coefs"], 2),
    ("scripts_for_dataset.combine_mica_and_spectre", ["--spectre", "coefs", "--mica", "mica", "--out", "coefs/c"], 0),
    ("scripts_for_dataset.fix_pose_prediction", ["--coefs", "coefs", "--out", "coefs"], 2),
    ("scripts_for_dataset.fix_pose_prediction", ["--coefs", "coefs", "--out", "coefs/fixed"], 0),
    ("scripts_for_dataset.prepare_dataset", ["--coefs", "coefs", "--audio", "audio", "--out", "coefs"], 2),
    ("scripts_for_dataset.prepare_dataset", ["--coefs", "coefs", "--audio", "audio", "--out", "coefs/set"], 0),
    ("scripts_for_dataset.make_combined_dataset", ["--coefs", "coefs", "--audio", "audio", "--out", "audio"], 2),
    ("scripts_for_dataset.make_combined_dataset", ["--coefs", "coefs", "--audio", "audio", "--out", "audio/set"], 0),
    ("scripts_for_dataset.convert_dataset", ["store", "store"], 2),
    ("scripts_for_dataset.convert_dataset", [str(LEGACY), "store/safe"], 0),
    ("scripts_for_dataset.merge_datasets", ["store", "other", "-o", "store"], 2),
    ("scripts_for_dataset.merge_datasets", ["store", "other", "-o", "store/both"], 0),
    ("scripts_for_dataset.make_people_dataset", ["--data", "store", "--output", "store/../store"], 2),
    ("scripts_for_dataset.inspect_dataset", ["store", "-o", "store/seen", "--no_pictures"], 0),
    ("scripts_for_dataset.calc_stats_random_sample", ["--data_root", "store", "-o", "store/s.npz"], 0),
    ("scripts_for_dataset.calc_stats_random_sample", ["--data_root", "store", "--list", "list.npz", "-o", "list"], 2),
    ("scripts_for_dataset.generate_split_file", ["--data_root", "store"], 2),
    ("scripts_for_dataset.track_video", ["talk.mp4", "-o", "talk.npz", "--overlay", "talk.mp4"], 2),
    ("scripts_for_dataset.track_video", ["videos", "-o", "videos", "--overlay", "videos"], 2),
    ("evaluate", ["--coef_dir", "results", "--data_root", "store", "-o", "results"], 0),
    ("evaluate", ["--coef_dir", "results", "--data_root", "store", "-o", "me.npz"], 2),
    ("main_se", ["--exp_name", "x", "--data_root", "train"], 0),
    ("main_dpt", ["--exp_name", "x", "--data_root", "train"], 0),
    ("scripts_for_dataset.index_dataset", ["store", "other"], 0),
    ("setup.export_onnx", ["-o", "me.npz"], 2),
    ("setup.build_static_demo", ["-o", "one"], 2),
    ("scripts_for_dataset.make_synthetic_speech", ["--output", "me.npz", "--voices", "espeak"], 2),
    ("scripts_for_dataset.make_synthetic_dataset", ["--speech", "speech", "--output", "speech"], 2),
    ("scripts_for_dataset.make_style_clips", ["--speech", "speech", "--output", "me.npz"], 2),
    ("scripts_for_dataset.train_tongue", ["--speech", "speech", "-o", "me.npz"], 2),
    ("scripts_for_dataset.harden_front_end", ["store", "-o", "me.npz"], 2),
    (
        "scripts_for_dataset.fit_visemes",
        ["--motion", "coefs", "--audio", "audio", "--words", "w.json", "--output", "w.json"],
        2,
    ),
]


def test_every_command_is_tried():
    """But servers, which write nothing beside what a flag names."""
    assert {name for name in PROGRAMS if not name.startswith("web.")} <= {program for program, _, _ in CASES}


@pytest.fixture(scope="module")
def avatar(tmp_path_factory):
    motion = load_motion(Path(__file__).parents[2] / "demo/input/motion/smile.npz").cut(5)
    (path,) = export(motion, load_flame(None), ("glb",), tmp_path_factory.mktemp("avatar") / "me")
    return path.read_bytes()


@pytest.fixture
def sources(space, avatar):
    """Everything that a user may have in one folder."""
    root, stereo = space.root, np.stack([speech(0.4), 0.5 * speech(0.4)], axis=1)
    for name in ("one", "audio/p", "coefs/p", "mica/p", "videos"):
        (root / name).mkdir(parents=True)
    soundfile.write(root / "me.wav", np.stack([speech(13.2), 0.5 * speech(13.2)], axis=1), 48_000, subtype="PCM_24")
    soundfile.write(root / "one" / "talk.wav", stereo, 48_000)
    soundfile.write(root / "audio/p/v.wav", 0.1 * np.random.default_rng(0).standard_normal(220 * 640), 16_000)
    write_video(root / "talk.mp4", [np.full((32, 32, 3), 99, np.uint8)] * 10, 10, 25, speech(0.4))
    (root / "videos" / "talk.mp4").write_bytes((root / "talk.mp4").read_bytes())
    (root / "link.wav").symlink_to(root / "me.wav")
    os.link(root / "talk.mp4", root / "hard.mp4")
    random = np.random.default_rng(0)
    exp, pose = random.standard_normal((110, 50)) * 0.3, random.standard_normal((110, 6)) * 0.05
    motion = Motion(exp.astype(np.float32), pose.astype(np.float32), np.zeros(100, np.float32))
    for name in ("me.npz", "out.npz"):
        motion.save(root / name)
    export(load_motion(root / "me.npz"), load_flame(None), ("livelink",), root / "me")
    (root / "me.csv").write_bytes((root / "me_livelink.csv").read_bytes())
    (root / "me.glb").write_bytes(avatar)
    skin = Path(__file__).parents[2] / "models/data/open_head_skin.jpg"
    (root / "my_skin.jpg").write_bytes(skin.read_bytes())
    write_spectre(root, make_truth(220)).rename(root / "coefs/p/v.npz")
    np.save(root / "mica/p/identity.npy", make_truth(1).shape.astype(np.float32))
    (root / "list.npz").write_text("a/0\n")
    for name, clips in {"store": ("a/0", "b/0", "c/0"), "other": ("d/0", "e/0", "f/0")}.items():
        write_store(root / name, dict.fromkeys(clips, 130))
        for split, clip in zip(("train", "val", "test"), clips):
            (root / name / f"{split}.txt").write_text(f"{clip}\n")
    (root / "results" / "c").mkdir(parents=True)
    np.savez(root / "results" / "c" / "0.npz", exp=exp[:100].repeat(2, axis=0)[:130], pose=pose.repeat(2, axis=0)[:130])
    (root / "w.json").write_text('{"clip": "p/v", "words": []}\n')
    shutil.copytree(LEGACY, root / "train")
    return root


def checksums(root: Path) -> dict[str, str]:
    """All files but LMDB's table of readers."""
    files = [p for p in sorted(root.rglob("*")) if p.is_file() and p.name not in ("lock.mdb", "writer.lock")]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


TINY = ["--feature_dim", "16", "--n_heads", "1", "--n_layers", "1", "--batch_size", "2", "--max_iter", "1"]
TINY += ["--num_workers", "0", "--device", "cpu"]
TALKER = "--audio_model whisper --n_motions 20 --n_prev_motions 5 --val_clips 0 --l_vert=0 --l_vel=0 --l_smooth=0"
EXTRA = {
    "evaluate": ["--exp_name", "head", "--coef_stats", str(STATS), "--device", "cpu", "--no_pictures", "-n", "1"],
    "main_se": TINY,
    "main_dpt": [*TINY, *TALKER.split()],
    "demo": DEMO,
    "extract_style": ["--exp_name", SE_RUN, "--coef_stats", str(STATS), "--device", "cpu"],
    "examples.my_style_on_another_voice": FAST,
    "examples.one_speech_in_eight_styles": FAST,
    **{
        f"scripts_for_dataset.{name}": ["--workers", "1"]
        for name in ("combine_mica_and_spectre", "fix_pose_prediction", "prepare_dataset", "make_combined_dataset")
    },
}


@pytest.mark.parametrize(("program", "arguments", "code"), CASES, ids=lambda value: str(value)[:60])
def test_no_source_changes(sources, capsys, monkeypatch, program, arguments, code):
    if program.startswith("main_"):
        monkeypatch.setattr(run_dir, "EXPERIMENTS", sources / "runs")
    before = checksums(sources)
    arguments = [word.replace("ROOT", str(sources)) for word in arguments]
    try:
        importlib.import_module(program).main([*arguments, *EXTRA.get(program, [])])
        ended = 0
    except SystemExit as end:
        ended = end.code
    shown = capsys.readouterr().err
    assert ended == code, shown
    after = checksums(sources)
    assert {name: after.get(name) for name in before} == before
    if code:
        assert len([line for line in shown.splitlines() if line.startswith("error: ")]) == 1
        assert set(after) == set(before), "something was written"
    else:
        assert len(after) > len(before)


def test_findings_are_not_written_over_a_rater(tmp_path, capsys):
    (tmp_path / "r.json").write_text("{}")
    with pytest.raises(SystemExit):
        importlib.import_module("web.study.analyse").main([str(tmp_path), "--json", str(tmp_path / "r.json")])
    assert "r.json: is read here and would be overwritten" in capsys.readouterr().err


def test_what_was_made_here_may_be_made_again(sources):
    for _ in range(2):
        importlib.import_module("export_motion").main(["me.npz", "-f", "csv,glb,livelink", "-o", "new", "-a", "me.wav"])


def test_links_and_dots_lead_to_the_file(tmp_path):
    (tmp_path / "a").mkdir()
    source = tmp_path / "a" / "x.wav"
    source.write_bytes(b"x")
    (tmp_path / "soft.wav").symlink_to(source)
    os.link(source, tmp_path / "hard.wav")
    for name in ("soft.wav", "hard.wav", "a/../a/x.wav", "a"):
        with pytest.raises(UserError, match=r"x\.wav|soft|hard"):
            check_apart([tmp_path / name], [source, None])
        with pytest.raises(UserError):
            check_apart([source], [tmp_path / name])
    check_apart([tmp_path / "y.wav", None, Path("x" * 5000)], [source, tmp_path / "missing"])
