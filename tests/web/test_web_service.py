"""web/service.py and wish.py: one take with the embedded model, limits, and what visitors may not read."""

import os
import signal
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import soundfile
import torch

from models.app import style_files as motion_style
from models.app.bundled import INPUT
from models.exports.motion_export import export
from tests.support.glb_reader import Glb
from utils.errors import UserError
from utils.motion_file import load_motion
from utils.rendering.looks import SKINS
from utils.runs.run_dir import DEFAULT_EXPERIMENT
from web import app, visitor_files
from web.folders import Uploads, sweep
from web.service import DRAWING, EXPORTING, WELCOME, Studio
from web.visitor_files import MAX_SECONDS
from web.wish import EXAMPLES, Wish, wish_of


@pytest.fixture(scope="module")
def studio(tmp_path_factory) -> Studio:
    return Studio.open(DEFAULT_EXPERIMENT, tmp_path_factory.mktemp("results"), "cpu")


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Path:
    samples, _ = soundfile.read(INPUT / "audio" / "librivox_austen_0890.flac", dtype="float32")
    path = tmp_path_factory.mktemp("speech") / "one.wav"
    soundfile.write(path, samples[:16000], 16000)
    return path


@pytest.fixture(scope="module")
def take(studio, speech):
    reports = []
    wish = Wish(speech, "smile", identity="female_young", steps=2, emotion="surprised", intensity=1)
    made = studio.make(wish, lambda *report: reports.append(report))
    assert [share for share, _ in reports] == sorted(share for share, _ in reports) and len(reports) == 7
    said = {what: share for share, what in reports}
    assert (said["drawing the video"], said["writing the downloads"]) == (DRAWING, EXPORTING)
    return made


def test_a_take_has_everything(take):
    names = {path.name for path in take.downloads()}
    assert names == {"take.mp4", "take.glb", "take.wav", "take.usda", "take_skin.jpg", "take.csv", "take_coef.npz",
                     "take_livelink.csv", "take.zip"}  # fmt: skip
    assert take.video.stat().st_size > 1000
    glb = Glb(take.folder / "take.glb")
    assert len(glb.array(glb.document["animations"][0]["samplers"][0]["input"])) == 25
    with zipfile.ZipFile(take.folder / "take.zip") as archive:
        assert set(archive.namelist()) == names - {"take.zip"}


def test_a_take_has_its_emotion(studio, take):
    made = load_motion(take.folder / "take_coef.npz")
    brows = studio.flame.head.exp_names.index("browOuterUpLeft")
    assert made.exp[:, brows].min() > 0.9


def test_the_model_is_the_drawn_head(studio, take):
    """The 3-D view and the downloads have the video's head: skin and hair of the person, lashes blended."""
    document = Glb(take.folder / "take.glb").document
    (costume,) = (found for choice, found in studio.wardrobe.costumes.items() if choice.person == "female_young")
    assert costume.look.texture == SKINS["fair"]
    corners = sum(document["accessors"][part["indices"]]["count"] for part in document["meshes"][0]["primitives"])
    assert corners == costume.look.drawn.faces.size
    assert [found.get("alphaMode") for found in document["materials"]] == [None, None, None, "BLEND", "BLEND"]
    assert (take.folder / "take_skin.jpg").read_bytes() == SKINS["fair"].read_bytes()


def test_a_style_of_ones_own(studio, speech):
    mine = studio._style(Wish(speech, motion=INPUT / "motion" / "serious.npz"))
    bundled = studio._style(Wish(speech, "serious"))
    other = studio._style(Wish(speech, "big_mouth"))
    assert np.linalg.norm(mine - bundled) < np.linalg.norm(mine - other)


def test_the_style_of_a_video(studio, speech, tmp_path, monkeypatch):
    """The video is as good as what is tracked in it; MediaPipe's part is replaced by the motion of a bundled file."""
    motion = load_motion(INPUT / "motion" / "serious.npz")
    path = tmp_path / "me.mp4"
    path.touch()
    monkeypatch.setattr(visitor_files, "is_installed", lambda: False)
    with pytest.raises(UserError, match="MediaPipe is not installed"):
        studio._style(Wish(speech, motion=path))
    limits = []
    monkeypatch.setattr(visitor_files, "is_installed", lambda: True)

    def track(given, options, progress=False):
        limits.append(options.max_seconds)
        return SimpleNamespace(motion=motion, notes=(), confidence=np.ones(len(motion)))

    monkeypatch.setattr(motion_style, "track_video", track)
    mine, bundled, other = (studio._style(wish) for wish in (
        Wish(speech, motion=path), Wish(speech, "serious"), Wish(speech, "big_mouth")))  # fmt: skip
    assert np.linalg.norm(mine - bundled) < np.linalg.norm(mine - other)
    assert limits == [visitor_files.MAX_VIDEO_SECONDS]
    motion = replace(motion, exp=motion.exp[:50], pose=motion.pose[:50], source=str(path))
    with pytest.raises(UserError, match="^me.mp4: 50 frames are too few"):
        studio._style(Wish(speech, motion=path))


def test_a_style_from_a_phones_csv(studio, speech, tmp_path):
    motion = load_motion(INPUT / "motion" / "smile.npz")
    (csv,) = export(motion, studio.flame, ("livelink",), tmp_path / "me")
    mine = visitor_files.style_of_file(csv, studio.extractor)
    distance = {name: np.linalg.norm(mine - studio._style(Wish(speech, name))) for name in studio.style_names()}
    assert min(distance, key=distance.get) == "smile"


def test_the_sliders_change_the_head(studio, speech):
    """Larger, longer and narrower are what they say."""
    size = {}
    for change in ("none", "large", "long", "narrow"):
        shape = torch.from_numpy(replace(Wish(speech), **({} if change == "none" else {change: 2.0})).build())[None]
        with torch.no_grad():
            head = studio.flame(shape, torch.zeros(1, 50), torch.zeros(1, 6))[0].numpy()
        size[change] = np.ptp(head[studio.flame.head.masks["face"]], axis=0)
    assert (size["large"] > size["none"]).all()
    assert size["long"][1] > size["none"][1] and size["narrow"][0] < size["none"][0]


def test_what_may_be_read(studio, take):
    assert studio.served(take.token, "take.glb") == take.folder / "take.glb"
    assert studio.served(take.token, "take_coef.npz") == take.folder / "take_coef.npz"
    (take.folder / "notes.txt").write_text("x")
    refused = [
        (take.token, "notes.txt"), (take.token, "../take.glb"), (take.token, "take_none.npz"), ("..", "take.glb"),
        (take.token.upper() + "/..", "take.glb"), ("0" * 32, "take.glb"), (take.token[:-1], "take.glb"),
        (take.token + "\n", "take.glb"), (take.token, "take.glb\n"), (take.token, "/etc/take.wav"),
    ]  # fmt: skip
    for token, name in refused:
        assert studio.served(token, name) is None, (token, name)
    assert take.folder.stat().st_mode & 0o077 == 0


def test_two_styles_side_by_side(studio, speech):
    take = studio.make(Wish(speech, "serious", other="large_head_movements", steps=1))
    heads = [Glb(take.folder / name) for name in ("take.glb", "take_2.glb")]
    assert (
        heads[0].document["animations"][0] != heads[1].document["animations"][0] or heads[0].binary != heads[1].binary
    )
    first, second = (load_motion(take.folder / f"{stem}_coef.npz") for stem in ("take", "take_2"))
    assert np.abs(first.pose - second.pose).max() > 1e-3
    with av.open(str(take.video)) as video:
        assert video.streams.video[0].width == 2 * video.streams.video[0].height
    with pytest.raises(UserError, match="'angry' is not a choice"):
        studio.make(Wish(speech, "serious", other="angry"))


def test_the_work_ends_where_its_visitor_leaves(studio, speech, tmp_path):
    """Whatever has been written by then is removed."""
    mine, said = replace(studio, results=tmp_path), []

    def report(share, what):
        said.append(what)
        if what == "drawing the video":
            raise InterruptedError

    draft = mine.draft(Wish(speech, steps=1), report, "c" * 32)
    assert mine.served("c" * 32, "take.glb")  # the head can be seen before the video is there
    with pytest.raises(InterruptedError):
        mine.finish(draft, report)
    assert said[-1] == "drawing the video" and not list(tmp_path.iterdir())


def test_the_first_take_is_there_before_anything_is_made(studio, tmp_path):
    mine = replace(studio, results=tmp_path)
    assert mine.welcome() == WELCOME
    sweep(tmp_path, -1)  # it stays as long as the server runs
    motion = Glb(mine.served(WELCOME, "take.glb")).document["animations"][0]
    assert motion["channels"] and mine.served(WELCOME, "take.wav").stat().st_size > 100_000


def test_a_preview_is_the_motion_on_another_head(studio, take, tmp_path):
    for large in (0, 3):
        (tmp_path / f"{large}.glb").write_bytes(studio.preview(take.token, Wish(None, large=large)))
    plain, larger = (Glb(tmp_path / f"{large}.glb") for large in (0, 3))
    height = [np.ptp(glb.array(glb.document["meshes"][0]["primitives"][0]["attributes"]["POSITION"])[:, 1])
              for glb in (plain, larger)]  # fmt: skip
    assert height[1] > height[0] * 1.02
    for token, wish, message in (("0" * 32, Wish(None), "no longer here"), (take.token, Wish(None, large=9), "large")):
        with pytest.raises(UserError, match=message):
            studio.preview(token, wish)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio": None}, "record something"),
        ({"style": "../normal"}, "not a choice"),
        ({"style": "angry"}, "not a choice"),
        ({"style": ["smile"]}, "not a choice"),
        ({"identity": "../../motion/smile"}, "not a choice"),
        ({"look": "wood"}, "^look: 'wood' is not a choice"),
        ({"hair": "mohawk"}, "^hair: 'mohawk' is not a choice; use one of goes with the head, bald, short, bob$"),
        ({"skin": "../tan"}, "^skin: '../tan' is not a choice"),
        ({"emotion": "bored"}, "^emotion: 'bored' is not a choice"),
        ({"intensity": 1.5}, "intensity"),
        ({"eye_contact": -1}, "eye contact"),
        ({"steps": 0}, "steps"),
        ({"steps": 10**6}, "steps"),
        ({"scale_audio": float("nan")}, "audio guidance"),
        ({"scale_style": 50}, "style guidance"),
        ({"seed": -1}, "seed"),
        ({"seed": None}, "seed"),
        ({"large": 3.1}, "large"),
        ({"narrow": float("inf")}, "narrow"),
    ],
)
def test_settings_are_checked_here_too(studio, speech, change, message):
    """The sliders of a page bind only those who use the page."""
    before = set(studio.results.iterdir())
    with pytest.raises(UserError, match=message):
        studio.make(replace(Wish(speech), **change))
    assert set(studio.results.iterdir()) == before


def test_unusable_files_are_named_without_their_folders(studio, tmp_path):
    (tmp_path / "song.wav").write_bytes(b"RIFF nonsense")
    np.savez(tmp_path / "m.npz", a=np.zeros(3))
    (tmp_path / "m.pkl").write_bytes(b"\x80\x04N.")
    flame = load_motion(INPUT / "motion" / "smile.npz")
    np.savez(tmp_path / "flame.npz", exp=flame.exp, pose=flame.pose, head_model="FLAME 2020")
    wishes = [Wish(tmp_path / "song.wav", motion=tmp_path / name) for name in ("m.npz", "m.pkl", "flame.npz")]
    for wish in (Wish(tmp_path / "song.wav"), *wishes):
        with pytest.raises(UserError) as raised:
            studio.make(wish)
        assert str(tmp_path) not in str(raised.value)
        assert "song.wav" in str(raised.value) or wish.motion.name in str(raised.value)


@pytest.mark.parametrize(("seconds", "message"), [(MAX_SECONDS + 1, "too long"), (0.3, "shorter")])
def test_length_of_speech(studio, tmp_path, seconds, message):
    samples = np.random.default_rng(0).normal(0, 0.1, int(seconds * 16000))
    soundfile.write(tmp_path / "a.wav", samples, 16000)
    with pytest.raises(UserError, match=message):
        studio.make(Wish(tmp_path / "a.wav"))


def test_old_takes_are_swept(tmp_path):
    old, new, foreign = tmp_path / ("a" * 32), tmp_path / ("b" * 32), tmp_path / "notes"
    for folder in (old, new, foreign):
        folder.mkdir()
    (old / "take.glb").write_bytes(b"x")
    for folder in (old, foreign):
        os.utime(folder, (time.time() - 7200,) * 2)
    (tmp_path / ("c" * 32)).symlink_to("nothing")  # as one that is removed meanwhile
    assert sweep(tmp_path, 3600) == 1
    (tmp_path / ("c" * 32)).unlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b" * 32, "notes"]


def test_a_failed_take_leaves_nothing(studio, speech, tmp_path, monkeypatch):
    mine = replace(studio, results=tmp_path)
    monkeypatch.setattr("web.service.export", lambda *a, **k: (_ for _ in ()).throw(UserError("no")))
    with pytest.raises(UserError, match="no"):
        mine.make(Wish(speech, steps=1))
    assert not list(tmp_path.iterdir())


def test_without_its_packages_one_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        app.main([])
    assert ended.value.code == 2 and "requirements-web.txt" in capsys.readouterr().err


def test_a_request_is_a_wish(speech, tmp_path):
    """Names are those of fields; files are examples and uploads, never paths."""
    uploads = Uploads(tmp_path)
    values = {name: getattr(Wish(None), name) for name in Wish.__dataclass_fields__}
    assert wish_of(values, uploads) == Wish(None)
    assert wish_of({"audio": next(iter(EXAMPLES)), "seed": 3}, uploads).audio.is_file()
    mine = uploads.place("../../my speech?.wav")
    mine.write_bytes(b"x")
    assert mine.name == "my speech_.wav" and mine.parent.parent == tmp_path
    assert wish_of({"audio": mine.parent.name}, uploads) == Wish(mine)
    for bad in (str(speech), "0" * 32, "..", 7, [1], f"../{tmp_path.name}"):
        with pytest.raises(UserError, match="no longer here"):
            wish_of({"audio": bad}, uploads)
    with pytest.raises(UserError, match="setting: 'colour' is not a choice"):
        wish_of({"colour": 1}, uploads)
