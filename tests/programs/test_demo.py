"""The two user commands from end to end, on golden checkpoints in the published format."""

import builtins

import av
import numpy as np
import pytest
import soundfile

import demo
import extract_style
from models.app import demo_files
from models.app.bundled import DEFAULT_STYLE
from models.diffusion.guidance import DynamicThreshold
from models.fast.engine import EngineConfig
from models.generation.animator import Animator
from tests.support.demo_workspace import SE_ITER, SE_RUN, STATS
from tests.support.video_probe import probe
from utils.motion_file import Motion

ARGS = ["--exp_name", "head", "-a", "speech.wav", "--coef_stats", str(STATS), "--device", "cpu"]
FOLDER = "head/iter_0110000"


@pytest.fixture
def calls(monkeypatch):
    """What the animator is asked for; the motion it returns tells samples apart by their seeds."""
    seen = []

    def record(self, audio, person, config, seeds):
        seen.append({"audio": audio, "config": config, "seeds": seeds} | vars(person))
        n = len(audio) // 640
        return [Motion(np.full((n, 50), s, np.float32), np.ones((n, 6), np.float32), person.shape) for s in seeds]

    monkeypatch.setattr(Animator, "__call__", record)
    return seen


def read(path):
    with np.load(path) as file:
        return {key: file[key] for key in file.files}


def test_video_with_sound(space):
    """Two samples of 7 frames, drawn, encoded, and their coefficients beside them."""
    demo.main([*ARGS, "-o", "talk.mp4", "-n", "2", "--save_coef", "-s", "smile.npy"])
    assert space.made() == [f"talk_00{i}.{kind}" for i in (0, 1) for kind in ("mp4", "npz")] and not space.written()
    info = probe("talk_001.mp4")
    assert (info.n_frames, info.fps, info.codec, info.audio_codec) == (7, 25, "h264", "aac")
    first, second = (read(f"talk_00{i}.npz") for i in (0, 1))
    named = {name: first.pop(name).item() for name in ("fps", "head_model", "source")}
    assert named == {"fps": 25, "head_model": "open head", "source": "motion"}
    assert {key: value.shape for key, value in first.items()} == {"exp": (7, 50), "pose": (7, 6), "shape": (100,)}
    assert all(np.isfinite(value).all() for value in first.values())
    assert not np.array_equal(first["exp"], second["exp"])


def test_exports_beside_the_video(space):
    """The file holds the video's motion, in the look and from the side that the flags say."""
    demo.main([*ARGS, "-o", "talk.mp4", "--export", "npz,glb", "--size", "64", "--yaw", "30", "--fov", "30"])
    assert space.made() == ["talk.glb", "talk.mp4", "talk.wav", "talk_coef.npz"]
    demo.main([*ARGS, "-o", "again.mp4", "--no_video"])
    exported, saved = (read(name) for name in ("talk_coef.npz", "again.npz"))
    np.testing.assert_array_equal(exported["exp"], saved["exp"])
    info = probe("talk.mp4")
    assert (info.width, info.height, info.n_frames) == (64, 64, 7)


def test_video_and_wav_have_the_recordings_own_sound(space):
    """Stereo at 44.1 kHz, the voice on the left: neither quieter, nor mono, nor without highs."""
    times = np.arange(44_100) / 44_100
    voice = 0.2 * np.sin(2 * np.pi * 500 * times) + 0.2 * np.sin(2 * np.pi * 10_000 * times)
    soundfile.write("stereo.wav", np.stack([voice, 0 * voice], 1), 44_100)
    demo.main([*ARGS, "-a", "stereo.wav", "-o", "talk.mp4", "--export", "glb", "--size", "64"])
    beside, rate = soundfile.read("talk.wav")
    assert rate == 44_100
    np.testing.assert_allclose(beside, soundfile.read("stereo.wav")[0], atol=1e-4)
    with av.open("talk.mp4") as file:
        track = file.streams.audio[0]
        assert (track.rate, track.layout.name) == (48_000, "stereo")
        left, right = np.concatenate([frame.to_ndarray() for frame in file.decode(track)], axis=1)
    assert np.std(left[4800:43_000]) == pytest.approx(np.std(voice), rel=0.02) and np.abs(right).max() < 0.01


@pytest.mark.parametrize(
    "flags, reason",
    [
        (["--export", "fbx"], "fbx"),
        (["--export", "glb", "--stream"], "not from a stream"),
        (["--fov", "0"], "--fov"),
        (["--yaw", "270"], "--yaw"),
        (["--size", "33"], "size"),
    ],
)
def test_pictures_and_exports_that_cannot_be(space, calls, capsys, flags, reason):
    with pytest.raises(SystemExit) as end:
        demo.main([*ARGS, *flags])
    assert end.value.code == 2
    assert reason in capsys.readouterr().err
    assert not calls and not space.written()  # known before anything is generated


def test_same_seed_same_motion_and_samples_are_independent(space):
    demo.main([*ARGS, "-o", "a.mp4", "-n", "2", "--no_video", "--seed", "5"])
    demo.main([*ARGS, "-o", "b.mp4", "--no_video", "--seed", "6"])
    pair, single = read("a_001.npz"), read("b.npz")
    assert single["fps"] == 25 and str(single["head_model"]) == "open head"
    for key in ("exp", "pose"):
        np.testing.assert_allclose(single[key], pair[key], atol=1e-5 * np.abs(pair[key]).max())


def test_no_head_leaves_the_jaw(space, calls):
    demo.main([*ARGS, "-o", "a.mp4", "--no_video", "--no_head"])
    pose = read("a.npz")["pose"]
    assert (pose[:, :3] == 0).all()
    assert (pose[:, 3:] == 1).all()


def test_no_head_model_has_no_rotation(space):
    demo.main([*ARGS, "--exp_name", "nohead", "-o", "a.mp4", "--no_video"])
    pose = read("a.npz")["pose"]
    assert (pose[:, :3] == 0).all()
    assert (pose[:, 3] != 0).all()


def test_output_names(space, calls, tmp_path):
    demo.main([*ARGS, "--no_video"])
    assert space.written() == [f"{FOLDER}/speech.npz"]
    demo.main([*ARGS, "--no_video", "-o", "sub/x.MP4"])
    assert (space.root / "sub" / "x.npz").is_file()
    demo.main([*ARGS, "--no_video", "-o", "sub/z.npz"])
    assert sorted(p.name for p in (space.root / "sub").iterdir()) == ["x.npz", "z.npz"]
    demo.main([*ARGS, "--no_video", "-o", "twice/z.npz", "-n", "2"])
    assert sorted(p.name for p in (space.root / "twice").iterdir()) == ["z_000.npz", "z_001.npz"]
    demo.main([*ARGS, "--no_video", "-o", str(tmp_path / "elsewhere" / "y.mp4"), "-n", "2"])
    assert sorted(p.name for p in (tmp_path / "elsewhere").iterdir()) == ["y_000.npz", "y_001.npz"]
    assert calls[-1]["seeds"] == [0, 1]


@pytest.mark.parametrize("name", ["smile.npy", f"{SE_RUN}/{SE_ITER}/smile.npy", "absolute"])
def test_style_paths(space, calls, name):
    path = str(space.styles / "smile.npy") if name == "absolute" else name
    demo.main([*ARGS, "--no_video", "-s", path])
    np.testing.assert_array_equal(calls[0]["style"], np.load(space.styles / "smile.npy"))


def test_a_style_that_has_lost_its_folder_is_warned_of(space, calls, tmp_path, caplog):
    demo.main([*ARGS, "--no_video", "-s", "smile.npy"])
    assert "does not say which one made it" not in caplog.text
    np.save(tmp_path / "lost.npy", np.load(space.styles / "smile.npy"))
    demo.main([*ARGS, "--no_video", "-s", str(tmp_path / "lost.npy")])
    assert caplog.text.count("does not say which one made it") == 1


def test_without_style_the_default_or_the_null_style(space, calls):
    demo.main([*ARGS, "--no_video"])
    assert calls[-1]["style"] is None
    np.save(space.styles / DEFAULT_STYLE, np.ones(128, np.float32))
    demo.main([*ARGS, "--no_video"])
    assert (calls[-1]["style"] == 1).all()
    demo.main([*ARGS, "--no_video", "--exp_name", "nostyle"])
    assert calls[-1]["style"] is None


def test_the_caption_names_the_style_that_is_used(space):
    flags = demo.parse_args([*ARGS, "--caption", "{style}"])
    model = demo.Model.load(flags.model)
    assert demo.titles(flags, model).caption == "none"
    np.save(space.styles / DEFAULT_STYLE, np.ones(128, np.float32))
    assert demo.titles(flags, model).caption == "normal"


def test_prefix_of_the_experiment_and_last_iteration(space, calls):
    demo.main([*ARGS, "--exp_name", "nos", "--no_video"])
    assert space.written() == ["nostyle/iter_0110000/speech.npz"]


def test_shape_from_npz_takes_the_first_frame(space, calls):
    shape = np.arange(600, dtype=np.float32).reshape(2, 300)
    np.savez(space.root / "person.npz", shape=shape)
    demo.main([*ARGS, "--no_video", "-c", "person.npz"])
    np.testing.assert_array_equal(calls[0]["shape"], shape[0, :100])


# Flags


def test_published_defaults(space, calls):
    demo.main([*ARGS, "--no_video"])
    config = calls[0]["config"]
    assert [config.guidance.scales[name] for name in ("audio", "style")] == [1.15, 3.0]
    assert (config.guidance.mode, config.guidance.guided) == ("incremental", ("audio", "style"))
    assert config.guidance.threshold is None
    assert config.whole_audio
    assert (config.sampler.name, config.sampler.steps) == ("ddpm", None)


def test_every_flag_reaches_the_sampler(space, calls):
    flags = "-ss 2 -sa 1.5 -dtr 0.9 -dtmin 0.5 -dtmax 3 --cfg_mode independent --cfg_cond style,audio"
    demo.main([*ARGS, "--no_video", *flags.split(), "--no_context_audio_feat", "--sampler", "ddim", "--steps", "4"])
    config = calls[0]["config"]
    assert [config.guidance.scales[name] for name in ("audio", "style")] == [1.5, 2.0]
    assert (config.guidance.mode, config.guidance.guided) == ("independent", ("audio", "style"))
    assert config.guidance.threshold == DynamicThreshold(0.9, 0.5, 3.0)
    assert not config.whole_audio
    assert (config.sampler.name, config.sampler.steps) == ("ddim", 4)
    assert config.engine == EngineConfig()


@pytest.mark.parametrize("sampler", ["ddpm", "dpmpp_2m"])
def test_any_solver_takes_few_steps(space, calls, sampler):
    demo.main([*ARGS, "--no_video", "--sampler", sampler, "--steps", "3", "--precision", "bf16"])
    config = calls[0]["config"]
    assert (config.sampler.name, config.sampler.steps, config.engine.precision) == (sampler, 3, "bf16")


@pytest.mark.parametrize("flag", ["-dtr", "--dtr", "--dynamic_threshold_ratio"])
def test_three_names_of_dynamic_thresholding(flag):
    assert demo.parse_args([flag, "0.95"]).sampling.dtr == 0.95


def test_every_published_flag_parses():
    line = (
        "--exp_name N --iter 110000 -a x.wav -c s.npy -s st.npy -o o.mp4 -n 3 -ss 3 -sa 1.15 "
        "-dtr 0.9 -dtmin 1 -dtmax 4 --no_context_audio_feat --save_coef --black_bg --no_head -t t.png "
        "--cfg_mode incremental --cfg_cond audio,style --coef_stats f.npz --device cpu --mode interactive"
    )
    flags = demo.parse_args(line.split())
    assert (flags.model.exp_name, flags.model.iter, flags.io.n_repetitions) == ("N", 110000, 3)
    assert flags.mode == "interactive"
    assert all((flags.sampling.no_context_audio_feat, flags.io.save_coef, flags.picture.black_bg))
    assert flags.picture.no_head
    long = (
        "--audio x.wav --coef s.npy --style st.npy --output o.mp4 --n_repetitions 3 --scale_style 3 --scale_audio 1.15"
    )
    assert demo.parse_args(long.split()).sampling.scale_audio == 1.15
    line = "--exp_name N --iter 1 -c m.npz -o n.npy -s 7 --device cpu"
    args = extract_style.parse_args(line.split())
    assert (args.iter, args.start) == (1, 7)


def test_default_ddim_on_a_model_with_fewer_steps(space):
    demo.main([*ARGS, "--no_video", "--sampler", "ddim"])
    assert np.isfinite(read(space.output / FOLDER / "speech.npz")["exp"]).all()


def test_help_lists_defaults(capsys):
    for main in (demo.main, extract_style.main):
        with pytest.raises(SystemExit) as end:
            main(["--help"])
        assert end.value.code == 0
        assert "--exp_name" in capsys.readouterr().out


# Interactive


@pytest.fixture
def answer(monkeypatch):
    """Answer the prompts from a list, then signal the end of input; returns the prompts."""

    def use(*answers):
        left, prompts = list(answers), []

        def reply(prompt=""):
            prompts.append(prompt)
            if not left:
                raise EOFError
            return left.pop(0)

        monkeypatch.setattr(builtins, "input", reply)
        return prompts

    return use


def test_interactive_keeps_answers_and_survives_mistakes(space, calls, answer, capsys):
    prompts = answer(
        *("speech.wav", "smile.npy", "", "one.mp4"), *("nosuch.wav", "", "", ""), *("speech.wav", "", "", "two.mp4"), ""
    )
    demo.main([*ARGS, "--mode", "interactive", "--no_video"])
    assert space.made() == ["one.npz", "two.npz"]
    assert "smile.npy" in prompts[5]  # offered again
    assert (calls[1]["style"] == calls[0]["style"]).all()
    assert "error: nosuch.wav" in capsys.readouterr().out


def test_interactive_ends_with_the_input(space, calls, answer):
    answer("speech.wav", "smile.npy")
    demo.main([*ARGS, "--mode", "interactive", "--no_video"])
    assert calls == []


# extract_style


EXTRACT = ["--exp_name", SE_RUN, "-c", "motion.npz", "--coef_stats", str(STATS), "--device", "cpu"]


def test_extracted_style_drives_the_demo(space, calls):
    extract_style.main([*EXTRACT, "-o", "mine.npy"])
    style = np.load(space.styles / "mine.npy")
    assert (style.shape, style.dtype) == ((128,), np.float32)
    demo.main([*ARGS, "--no_video", "-s", "mine.npy"])
    np.testing.assert_array_equal(calls[0]["style"], style)


def test_start_selects_the_window(space):
    with np.load("motion.npz") as motion:
        np.savez("later.npz", exp=motion["exp"][20:], pose=motion["pose"][20:])
    extract_style.main([*EXTRACT, "-o", "a.npy", "-s", "20"])
    extract_style.main([*EXTRACT, "-o", "b.npy", "-c", "later.npz"])
    extract_style.main([*EXTRACT, "-o", str(space.root / "c.npy")])
    a, b, c = np.load(space.styles / "a.npy"), np.load(space.styles / "b.npy"), np.load(space.root / "c.npy")
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 1e-3


def test_wider_expressions_are_cut_to_fifty(space):
    with np.load("motion.npz") as motion:
        np.savez("wide.npz", exp=np.pad(motion["exp"], ((0, 0), (0, 50)), constant_values=9.0), pose=motion["pose"])
    extract_style.main([*EXTRACT, "-o", "a.npy"])
    extract_style.main([*EXTRACT, "-o", "b.npy", "-c", "wide.npz"])
    np.testing.assert_array_equal(np.load(space.styles / "a.npy"), np.load(space.styles / "b.npy"))


def test_published_models_take_the_users_flame(tmp_path, monkeypatch, caplog):
    flame = tmp_path / "flame.npz"
    monkeypatch.setattr(demo_files, "FLAME_FILES", (flame,))
    assert demo.choose_head(None, published=True) is None
    assert "--head" in caplog.text
    flame.touch()
    assert demo.choose_head(None, published=True) == flame
    assert demo.choose_head(None, published=False) is None
    assert demo.choose_head(tmp_path / "mine.pkl", published=True) == tmp_path / "mine.pkl"
