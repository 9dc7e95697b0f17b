"""The page without a server (web/static_demo): its modules in Node against Python, and what is built around them.

onnxruntime-web comes through npm once and stays in .cache/npm. The browser itself: benchmarks/figures/static_page.py.
"""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from models.app.bundled import DEFAULT_AUDIO, DEFAULT_STYLE, input_folder
from models.app.sampling_flags import own_sampling
from models.generation.animator import Animator
from models.generation.live import LiveConfig, LiveTalker
from models.heads.decode import motion_vertices
from models.heads.flame import Flame, load_flame
from models.mixing.config import MixerConfig
from models.mixing.mixer import Mixer
from models.networks.person import Person
from setup import build_static_demo
from setup.onnx_export.description import styles_of
from utils.errors import UserError
from utils.exports.surface import make_surface
from utils.media.audio import load_audio
from utils.motion_file import Motion, joined, load_motion
from utils.rendering.looks import dress
from utils.runs.run_dir import find_checkpoint

LIVE = LiveConfig(hop=0.2, first_hop=0.2, look_ahead=0.04, short=25, heard=50)  # as in live.js


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("static") / "page"
    build_static_demo.main(["-o", str(folder)])
    (folder / "package.json").write_text('{"type": "module"}')  # for Node; browsers know modules by their tags
    return folder


def in_node(page: Path, task: str, work: Path, asked: dict, **arrays: np.ndarray) -> np.ndarray:
    """What tests/web/static_demo.mjs makes of arrays, float32."""
    (work / "asked.json").write_text(json.dumps(asked))
    for name, values in arrays.items():
        (work / name).write_bytes(np.ascontiguousarray(values, np.float32).tobytes())
    script = str(Path(__file__).with_name("static_demo.mjs"))
    done = subprocess.run(build_static_demo.node(script, str(page), task, str(work)), capture_output=True, text=True,
                          timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return np.frombuffer((work / "made").read_bytes(), np.float32)


@pytest.mark.parametrize("task", ["speak", "live"])
def test_the_browser_makes_pythons_coefficients(page, tmp_path, task):
    """One recording, one noise: level, padding, windows, style and statistics in JavaScript, graphs in WebAssembly."""
    animator = Animator.load(find_checkpoint("DPT", "embedded-fast", None), None, torch.device("cpu"))
    animator.know_head(load_flame().head)
    audio, config = load_audio(input_folder("audio") / DEFAULT_AUDIO), own_sampling(animator.model.config)
    person = Person(np.zeros(100, np.float32), styles_of(animator.model.config)["smile"])
    if task == "live":
        wanted = joined(list(LiveTalker(animator, person, config, LIVE, seed=7).talk([audio])))
    else:
        (wanted,) = animator(audio, person, config, [7])
    generator, size = torch.Generator().manual_seed(7), 25 if task == "live" else 100
    noise = torch.cat([torch.randn(size, 54, generator=generator) for _ in range(40)]).numpy()
    made = in_node(page, task, tmp_path, {"style": "smile"}, audio=audio, noise=noise).reshape(-1, 58)
    assert len(made) == len(wanted) > 100 and wanted.tongue.max(0).min() > 0.3
    for mine, theirs in ((made[:, :50], wanted.exp), (made[:, 50:56], wanted.pose), (made[:, 56:], wanted.tongue)):
        assert np.abs(mine - theirs).max() < 1e-3 * np.abs(theirs).max()


def test_the_head_moves_as_the_videos_do(page, tmp_path):
    motion = spoken()
    look = dress(load_flame().head, "skin", person="average")
    frames = [10, 30, 55]
    vertices = np.concatenate(list(motion_vertices(Flame(look.drawn), motion)))[frames]
    expand = make_surface(look.drawn, look.texture).expand
    coefficients = table_of(motion)
    asked = {"times": [frame / 25 for frame in frames]}
    made = in_node(page, "pose", tmp_path, asked, coefficients=coefficients).reshape(3, -1, 3)
    still = in_node(page, "pose", tmp_path, asked, coefficients=0 * coefficients).reshape(3, -1, 3)
    assert np.abs(made - vertices[:, expand]).max() < 5e-5  # metres
    assert np.abs(made - still).max() > 0.005
    mute = in_node(page, "pose", tmp_path, asked, coefficients=table_of(replace(motion, tongue=0 * motion.tongue)))
    assert np.abs(made - mute.reshape(made.shape)).max() > 0.005


def spoken() -> Motion:
    """A bundled motion whose tongue goes in and out."""
    motion = load_motion(input_folder("motion") / Path(DEFAULT_STYLE).with_suffix(".npz"))
    time = np.arange(len(motion))[:, None] / 25
    return replace(motion, tongue=(0.5 + 0.5 * np.sin((3, 4) * time)).astype(np.float32))


def table_of(motion: Motion) -> np.ndarray:
    """(T, 58), as the page has it."""
    return np.hstack([motion.exp, motion.pose, motion.tongue])


SCHEDULE = "seconds, happy,gain.head,offset.gaze_left\n0.2,0.1,1,\n1,1,0.3,-0.2\n\n1.5,0,2,0.5\n"
EVERYTHING = MixerConfig(
    emotion=("surprised=0.4", "sad=0.3", "neutral=0.2"),
    gain=("brows=1.5", "mouth=1.2", "tongue=0.7", "smile=0"),
    offset=("smile=-0.3", "lids=0.2", "mouth=0.1", "head_pitch=-6", "head_yaw=9", "head_roll=4", "jawLeft=0.3"),
    smooth=("head=0.3", "mouth=0.08", "tongue=0.1"),
    mirror=("gaze", "head", "mouth"),
    eye_contact=0.5,
)


@pytest.mark.parametrize("configs", [[EVERYTHING], [MixerConfig(emotion=("angry",)), EVERYTHING, MixerConfig()]])
def test_the_browser_mixes_as_python_does(page, tmp_path, configs):
    """Every kind of value, a schedule, pieces of an odd size, and changes that glide."""
    motion = spoken()
    (tmp_path / "a.csv").write_text(SCHEDULE)
    configs[0] = replace(configs[0], mix_schedule=tmp_path / "a.csv")
    stages = [{"config": {"values": one.values(), "smooth": one.seconds(), "mirror": one.mirror}, "n": 30,
               "schedule": SCHEDULE if one.mix_schedule else None} for one in configs]  # fmt: skip
    mixer, wanted = Mixer(configs[0]), []
    for k, config in enumerate(configs):
        if k:
            mixer.change(config)
        wanted.append(table_of(mixer.push(motion.cut(slice(30 * k, 30 * k + 30)))))
    made = in_node(page, "mix", tmp_path, {"stages": stages}, coefficients=table_of(motion)[: 30 * len(configs)])
    made, wanted = made.reshape(-1, 58), np.concatenate(wanted)
    assert np.abs(made - wanted).max() < 1e-5
    assert np.abs(wanted - table_of(motion)[: len(wanted)]).max() > 0.5


def test_the_browser_refuses_schedules_in_pythons_words(page, tmp_path):
    files = {
        "a.csv": "seconds,hapy\n0,1\n", "b.csv": "seconds,happy\n0,2\n", "c.csv": "seconds,happy\n1,0\n0,1\n",
        "d.csv": "seconds,happy\n0,much\n", "e.csv": "seconds,happy\n0,1,2\n", "f.csv": "time,happy\n0,1\n",
        "g.csv": "seconds,happy\n0,\n", "h.csv": "seconds,offset.head_yaw\n0,90\n", "i.json": "{}",
        "j.json": '[{"seconds": 0, "happy": [1]}]', "k.csv": "seconds,smooth.head\n0,1\n",
    }  # fmt: skip
    good = [("l.json", '[{"seconds": 0, "gain": {"head": 0.5}}]'), ("m.csv", SCHEDULE)]
    in_node(page, "schedules", tmp_path, {"files": [*files.items(), *good]})
    *said, one, many = json.loads((tmp_path / "said.json").read_text())
    for (name, text), words in zip(files.items(), said, strict=True):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError) as error:
            MixerConfig(mix_schedule=tmp_path / name).check()
        assert str(error.value).removeprefix(f"{tmp_path}/").split(";")[0] == words.split(";")[0]
    assert one == {"gain.head": [[0, 0.5]]} and set(many) == {"happy", "gain.head", "offset.gaze_left"}


def test_sound_is_resampled_as_soxr_does_it(page, tmp_path):
    audio = load_audio(input_folder("audio") / DEFAULT_AUDIO)
    fast = soxr.resample(audio, 16000, 44100, quality="VHQ")
    files = []
    for name, rate in (("a.wav", 22050), ("b.flac", 44100), ("c.ogg", 48000)):
        soundfile.write(tmp_path / name, np.zeros(4800, np.float32), rate)
        files.append(str(tmp_path / name))
    asked = {"rate": 44100, "files": files, "seed": 5, "count": 20000}
    made = in_node(page, "sound", tmp_path, asked, audio=fast)
    wanted = soxr.resample(fast, 44100, 16000, quality="VHQ")
    assert abs(len(made) - len(wanted)) <= 1
    n = min(len(made), len(wanted))
    assert np.sqrt(np.mean((made[:n] - wanted[:n]) ** 2)) < 0.003 * np.sqrt(np.mean(wanted**2))
    assert json.loads((tmp_path / "rates.json").read_text()) == [22050, 44100, None]
    noise = np.frombuffer((tmp_path / "noise").read_bytes(), np.float32)
    assert abs(noise.mean()) < 0.03 and abs(noise.std() - 1) < 0.03 and np.abs(noise).max() < 6


def test_the_page_is_small_and_needs_no_other_host(page):
    files = [path for path in page.rglob("*") if path.is_file() and path.name != "package.json"]
    assert sum(path.stat().st_size for path in files) < 40_000_000
    ours = [path for path in files if path.suffix in (".js", ".html", ".css")]
    assert len(ours) >= 9 and not [path.name for path in ours if "://" in path.read_text()]
    html = (page / "index.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', html, re.S)[1]
    assert "default-src 'self'" in policy and "http" not in policy
    code = "".join(path.read_text() for path in ours)
    named = re.findall(r"(?:from '\./|addModule\(')([\w.]+)'", code)
    assert len(named) >= 8 and all((page / name).is_file() for name in named)
    ids = set(re.findall(r"\bat\('(\w+)'\)", (page / "page.js").read_text()))
    assert ids and all(f'id="{name}"' in html for name in ids)
    sizes = json.loads((page / "talker.json").read_text())["sizes"]
    assert all((page / name).stat().st_size == size for name, size in sizes.items() if name != "talker.json")


def test_only_a_page_is_replaced(page, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(SystemExit) as ended:
        build_static_demo.main(["-o", str(tmp_path)])
    assert ended.value.code == 2 and "holds other files" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    build_static_demo.StaticFlags(page).check()


def test_webgpu_can_be_left_out(tmp_path):
    build_static_demo.unpack(build_static_demo.RUNTIME, tmp_path / "ort", ("webgpu", "asyncify"))
    assert {path.name for path in (tmp_path / "ort").iterdir()} == set(build_static_demo.RUNTIME.files[:3])


def test_another_archive_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build_static_demo, "CACHE", tmp_path / "cache")
    (tmp_path / "cache").mkdir()
    archive = tmp_path / "cache" / "onnxruntime-web-1.30.0.tgz"
    archive.write_bytes(b"not the one")
    with pytest.raises(SystemExit):
        build_static_demo.main(["-o", str(tmp_path / "page")])
    assert "not the pinned one" in capsys.readouterr().err
    assert not archive.exists() and not (tmp_path / "page").exists()
    monkeypatch.setattr(build_static_demo, "node", lambda *_: ["false"])
    with pytest.raises(SystemExit):
        build_static_demo.main(["-o", str(tmp_path / "page")])
    assert "npm could not fetch it (no reason given); check the network" in capsys.readouterr().err
