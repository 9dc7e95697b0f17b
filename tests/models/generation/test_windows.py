"""Properties of the window loop (the golden numbers are in test_golden_networks)."""

import pytest
import torch

from models.diffusion.guidance import Guidance
from models.diffusion.plain import guided_denoiser
from models.diffusion.solvers import SamplerConfig
from models.diffusion.window import Conditions
from models.fast.engine import Engine, EngineConfig
from models.generation.speech import encode_speech, pad_to_windows
from models.generation.windows import GenerationConfig
from models.networks.person import Person
from tests.support.generation import generate
from tests.support.golden_weights import array
from tests.support.tiny_talker import make_talker
from utils.timebase import plan_windows

FAST = GenerationConfig(sampler=SamplerConfig("ddim", 2))
PLAIN = GenerationConfig(sampler=SamplerConfig("ddim", 2), engine=EngineConfig(cached=False))


def run(model, n_samples, seeds=(0,), style=True, config=FAST, audio=None):
    audio = torch.from_numpy(array("generation:audio", (n_samples,))) if audio is None else audio
    shape = torch.from_numpy(array("generation:shape", (1, 100))).expand(len(seeds), -1)
    styles = torch.from_numpy(array("generation:style", (1, 128))).expand(len(seeds), -1) if style else None
    return generate(model, audio, Person(shape, styles), config, list(seeds))


@pytest.mark.parametrize("n_samples", [640, 1600, 63999, 64000, 64001, 64639, 64640, 70000, 128000, 200123])
def test_length_of_the_motion(n_samples):
    motion = run(make_talker(), n_samples)
    assert motion.shape == (1, n_samples * 25 // 16000, 54)
    assert torch.isfinite(motion).all()


def test_ten_minutes_are_planned_in_windows():
    plan = plan_windows(600 * 16000, 100)
    assert (plan.n_frames, plan.n_windows, plan.padded_frames) == (15000, 150, 15000)


def test_long_audio_costs_one_window_of_network_at_a_time(monkeypatch):
    model, sizes = make_talker(), []
    forward = model.denoising_net.forward
    monkeypatch.setattr(
        model.denoising_net, "forward", lambda m, *rest: sizes.append(tuple(m.shape)) or forward(m, *rest)
    )
    assert run(model, 60 * 16000, config=PLAIN).shape[1] == 1500
    assert set(sizes) == {(3, 110, 54)}
    assert len(sizes) == 15 * 2


def test_windows_are_joined_by_their_context(monkeypatch):
    """Window 2 sees the last 10 frames and features of window 1; x_T is the same for both."""
    seen = []
    inner = Engine.run

    def record(self, given, steps, x_T, noise):
        motion = inner(self, given, steps, x_T, noise)
        seen.append((given, x_T, motion))
        return motion

    monkeypatch.setattr(Engine, "run", record)
    model = make_talker()
    motion = run(model, 640 * 230)
    assert len(seen) == 3
    assert torch.equal(seen[0][0].prev_motion, model.start_motion_feat)
    assert torch.equal(seen[0][0].prev_audio, model.start_audio_feat)
    for (before, x_T, produced), (after, x_T2, _) in zip(seen, seen[1:]):
        assert torch.equal(after.prev_motion, produced[:, -10:])
        assert torch.equal(after.prev_audio, before.audio[:, -10:])
        assert torch.equal(x_T, x_T2)
    assert torch.equal(motion, torch.cat([produced for *_, produced in seen], dim=1)[:, :230])
    assert [given.indicator.sum().item() for given, *_ in seen] == [100, 100, 30]
    assert seen[2][0].indicator[0, :30].all()


def test_a_model_without_indicator_gets_none(monkeypatch):
    model = make_talker(use_indicator=False)
    assert run(model, 640 * 30).shape == (1, 30, 54)


def test_seeds():
    model = make_talker()
    pair, again = run(model, 640 * 130, (4, 9)), run(model, 640 * 130, (4, 9))
    assert torch.equal(pair, again)
    assert (pair[0] - pair[1]).abs().max() > 0.1
    for seed, sample in zip((4, 9), pair):
        torch.testing.assert_close(run(model, 640 * 130, (seed,))[0], sample, atol=1e-5, rtol=1e-5)


def test_seeds_with_ancestral_noise():
    """Every step's noise belongs to the sample too."""
    model, config = make_talker(), GenerationConfig()
    pair = run(model, 640 * 130, (4, 9), config=config)
    torch.testing.assert_close(run(model, 640 * 130, (9,), config=config)[0], pair[1], atol=1e-5, rtol=1e-5)


def test_null_style_is_the_learnt_vector():
    model = make_talker()
    null = model.null_style_feat.detach()[0].expand(1, -1)
    shape, audio = torch.zeros(1, 100), torch.from_numpy(array("generation:audio", (6400,)))
    torch.testing.assert_close(
        generate(model, audio, Person(shape), FAST, [0]), generate(model, audio, Person(shape, null), FAST, [0])
    )
    assert (run(model, 6400) - run(model, 6400, style=False)).abs().max() > 1e-3


def test_audio_and_style_scales_matter_only_if_guided():
    model = make_talker()

    def at(conditions, **scales):
        return run(model, 6400, config=GenerationConfig(Guidance(conditions, scales=scales), SamplerConfig("ddim", 2)))

    assert torch.equal(at((), audio=1), at((), audio=5, style=9))
    assert torch.equal(at(("audio",), style=1), at(("audio",), style=9))
    assert not torch.equal(at(("audio",), audio=1), at(("audio",), audio=2))


def test_null_audio_replaces_the_current_features_only():
    model = make_talker()
    given = Conditions(
        torch.from_numpy(array("generation:af", (1, 100, 16))),
        torch.from_numpy(array("generation:pa", (1, 10, 16))),
        torch.from_numpy(array("generation:pm", (1, 10, 54))),
        Person(torch.zeros(1, 100), torch.zeros(1, 128)), torch.ones(1, 100),
    )  # fmt: skip
    memories = []
    net = model.denoising_net
    net.register_forward_pre_hook(lambda module, inputs: memories.append(inputs[1]))
    with torch.no_grad():
        guided_denoiser(model, given, Guidance())(torch.zeros(1, 100, 54), 3)
    null, audio, both = memories[0]
    assert torch.equal(null[:10], given.prev_audio[0])
    assert torch.equal(null[10:], model.null_audio_feat[0].expand(100, -1))
    assert torch.equal(audio, both)
    assert torch.equal(audio, torch.cat([given.prev_audio, given.audio], dim=1)[0])


def test_whole_file_or_window_by_window():
    """The stub's features tell how much audio the encoder saw."""
    model = make_talker()
    audio = torch.from_numpy(array("generation:audio", (1, 640 * 150)))
    plan = plan_windows(640 * 150, 100)
    with torch.no_grad():
        whole, pieces = (encode_speech(model, audio, plan, whole=flag) for flag in (True, False))
    assert [x.shape for x in whole] == [x.shape for x in pieces] == [(1, 100, 3)] * 2
    lengths = [call.shape[1] for call in model.audio_encoder.calls]
    assert lengths == [640 * 200, 640 * 100, 640 * 100]
    assert not torch.allclose(whole[0], pieces[0])


@pytest.mark.parametrize("mode,tail", [("zero", 0.0), ("replicate", 7.0)])
def test_padding_to_whole_windows(mode, tail):
    audio = torch.full((1, 640 * 100 + 5), 7.0)
    plan = plan_windows(640 * 101, 100)
    padded = pad_to_windows(audio, plan, 640, mode)
    assert padded.shape == (1, 128000)
    assert (padded[:, :64005] == 7).all()
    assert (padded[:, 64005:] == tail).all()


def test_samples_short_of_a_frame_are_cut():
    plan = plan_windows(64639, 100)
    assert pad_to_windows(torch.ones(1, 64639), plan, 640, "zero").shape == (1, 64000)
