"""Which solver is taken if nobody names one."""

from dataclasses import replace

import pytest

import demo
import models.generation.live
from models.app.sampling_flags import SamplingFlags, generation_config, own_sampling
from models.networks.talker import TalkerConfig
from utils.config import read_flags
from utils.errors import UserError

MODEL = TalkerConfig(style_enc_ckpt="any")
DISTILLED = replace(MODEL, distilled_steps=4)


def chosen(words: str, model: TalkerConfig = MODEL, published: bool = False) -> tuple[str, int | None]:
    sampler = generation_config(read_flags(SamplingFlags, words.split(), ""), model, published).sampler
    return sampler.name, sampler.steps


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", ("dpmpp_2m", 12)),
        ("--steps 5", ("dpmpp_2m", 5)),
        ("--sampler ddim", ("ddim", 12)),
        ("--sampler ddpm", ("ddpm", None)),
    ],
)
def test_our_models(words, expected):
    assert chosen(words) == expected


def test_published_models_take_all_steps_of_ddpm():
    assert chosen("", published=True) == ("ddpm", None)
    assert chosen("--sampler dpmpp_2m", published=True) == ("dpmpp_2m", 12)


def test_distilled_models_take_their_own():
    assert chosen("", DISTILLED) == ("ddim", 4)
    with pytest.raises(UserError, match="distilled to 4 ddim steps"):
        chosen("--sampler dpmpp_2m", DISTILLED)


def test_models_without_styles_have_no_scale_for_them():
    plain = replace(MODEL, style_enc_ckpt=None)
    assert chosen("-sa 1.3", plain) == ("dpmpp_2m", 12)
    with pytest.raises(UserError, match="--scale_style 2: this model has no style input"):
        chosen("-ss 2", plain)


def test_models_with_few_steps():
    assert chosen("", replace(MODEL, n_diff_steps=6)) == ("dpmpp_2m", 6)
    with pytest.raises(UserError, match="--steps 7"):
        chosen("--steps 7", replace(MODEL, n_diff_steps=6))


def test_programs_without_the_flags():
    assert own_sampling(MODEL).sampler.name == "dpmpp_2m"
    assert own_sampling(MODEL, 3).sampler.steps == 3
    assert (own_sampling(DISTILLED).sampler.name, own_sampling(DISTILLED).sampler.steps) == ("ddim", 4)


@pytest.mark.parametrize(("flags", "expected"), [([], ("ddim", 4)), (["--sampler", "dpmpp_2m"], ("dpmpp_2m", 4))])
def test_streams_of_our_models(monkeypatch, flags, expected):
    found = []

    def talker(animator, person, config, live, seed):
        found.append((config.sampler.name, config.sampler.steps))
        raise UserError("enough")

    monkeypatch.setattr(models.generation.live, "LiveTalker", talker)
    with pytest.raises(SystemExit):
        demo.main(["--stream", "--device", "cpu", "-a", "librivox_austen_0890.flac", *flags])
    assert found == [expected]


def test_a_stream_without_steps(capsys):
    with pytest.raises(SystemExit):
        demo.main(["--stream", "--device", "cpu", "-a", "librivox_austen_0890.flac", "--steps", "0"])
    assert "--steps 0" in capsys.readouterr().err
