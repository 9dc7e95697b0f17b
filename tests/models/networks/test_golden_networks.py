"""Networks, schedules, guidance and samples against the published implementation's numbers (tests/golden)."""

import numpy as np
import pytest
import torch

from models.audio.hubert import pad_audio
from models.diffusion.guidance import DynamicThreshold, Guidance
from models.diffusion.schedule import Schedule
from models.diffusion.window import Conditions
from models.fast.engine import EngineConfig
from models.generation.windows import GenerationConfig
from models.networks.loading import load_style_encoder, load_talker
from models.networks.person import Person
from tests.support.generation import generate_window
from tests.support.golden_weights import HERE, array, legacy_checkpoint

GOLDEN = np.load(HERE / "expected.npz")
GOLDEN_IO = np.load(HERE / "expected_io.npz")
CASES = ["dpt_head", "dpt_nohead", "dpt_nostyle", "dpt_eps", "dpt_wide", "dpt_open"]
SAMPLES = [key for key in GOLDEN.files if "/sample_" in key and not key.endswith("window2")]


def assert_close(actual: torch.Tensor, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    assert actual.shape == expected.shape
    worst = np.abs(actual.numpy() - expected).max() / np.abs(expected).max()
    assert worst <= tolerance, f"off by {worst:.2e} of the maximum"


@pytest.fixture(scope="module")
def talkers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    loaded = {}
    for case in CASES:
        legacy_checkpoint(case, folder / f"{case}.pt")
        loaded[case] = load_talker(folder / f"{case}.pt")[0]
    return loaded


def inputs(case: str, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(array(f"{case.removeprefix('dpt_')}:{name}", shape))


@pytest.mark.parametrize("case,dim", [("se_head", 54), ("se_nohead", 51)])
def test_style_encoder(case, dim, tmp_path):
    legacy_checkpoint(case, tmp_path / "se.pt")
    encoder, checkpoint = load_style_encoder(tmp_path / "se.pt")
    assert checkpoint.step == 26000
    with torch.no_grad():
        assert_close(encoder(torch.from_numpy(array(case, (3, 100, dim)))), GOLDEN[f"{case}/style"])


@pytest.mark.parametrize("kind", ["linear", "quadratic", "sigmoid", "cosine"])
def test_schedule(kind):
    schedule = Schedule.make(kind, 500)
    pairs = {"betas": schedule.betas, "alphas": schedule.alphas, "alpha_bars": schedule.alpha_bars}
    pairs |= {"sigmas_flex": schedule.betas.sqrt(), "sigmas_inflex": schedule.sigmas}
    for name, table in pairs.items():
        np.testing.assert_allclose(table.numpy(), GOLDEN[f"schedule_{kind}/{name}"], rtol=1e-4, atol=0)


@pytest.mark.parametrize("length", [320, 400, 401, 12345, 64000, 64001, 64399, 128000])
def test_pad_audio(length):
    padded = pad_audio(torch.arange(length, dtype=torch.float32)[None])[0].double()
    found = torch.cat([padded[:200], padded[-200:], torch.tensor([float(len(padded))], dtype=torch.float64)])
    np.testing.assert_allclose(found.numpy(), GOLDEN_IO[f"pad_audio/{length}"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_audio_features(talkers, case):
    n = talkers[case].config.n_motions
    with torch.no_grad():
        short = talkers[case].encode_audio(inputs(case, "audio", (2, 640 * n)), n)
        long = talkers[case].encode_audio(inputs(case, "audio_long", (1, 1280 * n)), 2 * n)
    assert_close(short, GOLDEN[f"{case}/audio_feat"])
    assert_close(long, GOLDEN[f"{case}/audio_feat_long"])


@pytest.mark.parametrize("case", CASES)
def test_denoiser(talkers, case):
    config = talkers[case].config
    n, p, dim, width = config.n_motions, config.n_prev_motions, config.layout.motion_dim, config.feature_dim
    person = inputs(case, "pf", (3, 1, 228 if config.has_style else 100))[:, 0]
    motion = torch.cat([inputs(case, "pm", (3, p, dim)), inputs(case, "x", (3, n, dim))], dim=1)
    memory = torch.cat([inputs(case, "pa", (3, p, width)), inputs(case, "af", (3, n, width))], dim=1)
    indicator = torch.ones(3, n)
    indicator[1, n // 2 :] = 0
    with torch.no_grad():
        out = talkers[case].denoising_net(
            motion,
            memory,
            person,
            torch.tensor([1, 7, config.n_diff_steps]),
            indicator if config.use_indicator else None,
        )
    assert_close(out, GOLDEN[f"{case}/denoise"])


@pytest.mark.parametrize("cached", [False, True], ids=["plain", "cached"])
@pytest.mark.parametrize("key", SAMPLES)
def test_samples(talkers, key, cached):
    """The whole reverse process; for two-window samples the second window continues the first."""
    case, kind = key.split("/")[0], key.split("/sample_")[1]
    sampler = GoldenSampler(talkers[case], case, kind, EngineConfig(cached=cached))
    first, features = sampler.first()
    assert_close(first, GOLDEN[key], sampler.tolerance)
    if kind.endswith("window1"):
        second = sampler.second(first, features)
        assert_close(second, GOLDEN[key.replace("window1", "window2")], sampler.tolerance)


class GoldenSampler:
    """Sets up the two windows of golden/README.md."""

    def __init__(self, model, case, kind, engine):
        self.model, self.case, self.kind, self.engine = model, case, kind, engine
        config = model.config
        self.n, self.p, self.dim = config.n_motions, config.n_prev_motions, config.layout.motion_dim
        self.tolerance = 2e-4 if case == "dpt_open" else 1e-5
        self.shape = inputs(case, "shape", (2, 100))
        self.style = inputs(case, "style", (2, 128)) if config.has_style else None

    def run(self, audio, prev_audio, prev_motion, indicator):
        config = self.model.config
        given = Conditions(
            audio, prev_audio, prev_motion, Person(self.shape, self.style), indicator if config.use_indicator else None
        )
        threshold = DynamicThreshold(0.9, 0.1, 4.0) if "_dt" in self.kind else None
        conditions = {"noguidance": (), "styleonly": ("style",)}.get(self.kind, config.conditions)
        guidance = Guidance(
            conditions=conditions,
            mode="independent" if self.kind.startswith("independent") else "incremental",
            scales={"audio": 1.15, "style": 2.0 if self.kind == "styleonly" else 3.0},
            threshold=threshold,
        )
        x_T = inputs(self.case, "x_T", (2, self.n, self.dim))
        schedule = Schedule.make(config.diff_schedule, config.n_diff_steps)
        settings = GenerationConfig(guidance=guidance, engine=self.engine)
        return generate_window(self.model, given, settings, schedule, x_T, self.noise)

    def noise(self, t, like):
        if self.kind == "noisy":
            return inputs(self.case, f"z{t}", (2, self.n, self.dim))
        return torch.zeros_like(like)

    def first(self):
        features = torch.from_numpy(GOLDEN[f"{self.case}/audio_feat"])
        prev_motion, prev_audio = self.model.start(2)
        return self.run(features, prev_audio, prev_motion, torch.ones(2, self.n)), features

    def second(self, motion, features):
        indicator = torch.ones(2, self.n)
        indicator[:, -30:] = 0
        return self.run(features.flip(0), features[:, -self.p :], motion[:, -self.p :], indicator)
