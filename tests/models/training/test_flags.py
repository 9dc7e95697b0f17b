"""The training scripts' flags, made from dataclasses."""

import argparse
import dataclasses
import json

import pytest

import main_dpt
import main_se
from models.networks.style_encoder import StyleEncoderConfig
from models.networks.talker import TalkerConfig
from models.training import flags as training_flags
from models.training.losses import LossConfig
from models.training.objective import ObjectiveConfig
from utils.arguments import UserParser, field_docs
from utils.config import add_flags, check_choice, from_args, to_plain
from utils.errors import UserError

CONFIGS = [
    main_se.StyleRunConfig, StyleEncoderConfig, training_flags.TalkerRunConfig, TalkerConfig, ObjectiveConfig,
    LossConfig,
]  # fmt: skip


WITH_CHOICES = {
    *("target", "cfg_mode", "diff_schedule", "audio_model", "pad_mode", "criterion"),
    *("mode", "precision", "scheduler"),
}


@pytest.mark.parametrize("config", CONFIGS)
def test_every_field_is_a_documented_flag(config):
    parser = UserParser()
    add_flags(parser, config, "group")
    for field in dataclasses.fields(config):
        action = parser._option_string_actions[f"--{field.name}"]
        assert len(field_docs(config)[field.name]) > 10, field.name
        assert action.help
        if field.default is not dataclasses.MISSING:
            assert action.default == field.default, field.name


@pytest.mark.parametrize("config", CONFIGS)
def test_flags_and_back(config):
    parser = UserParser()
    add_flags(parser, config, "group")
    required = [f"--{f.name}=x" for f in dataclasses.fields(config) if f.default is dataclasses.MISSING]
    made = from_args(config, parser.parse_args(required))
    for field in dataclasses.fields(config):
        if field.default is not dataclasses.MISSING:
            assert getattr(made, field.name) == field.default
    json.dumps(to_plain(made))
    parser.format_help()


def test_every_published_flag_of_the_denoiser_parses():
    from tests.support.golden_weights import NAMES

    published = NAMES["dpt_head/args"]
    argv = []
    for name, value in published.items():
        if isinstance(value, bool):
            argv += [f"--{name}"] * value
        elif value is not None:
            argv += [f"--{name}", str(value)]
    configs = main_dpt.parse_args(argv)
    parts = (configs.run, configs.model, configs.objective, configs.loss)
    for name, value in published.items():
        if name in ("architecture", "rot_repr"):
            continue
        owner = next(part for part in parts if hasattr(part, name))
        found = getattr(owner, name)
        assert (str(found) if isinstance(value, str) else found) == value, name


def test_published_defaults_of_the_denoiser():
    configs = main_dpt.parse_args(["--exp_name", "x"])
    assert (configs.model.feature_dim, configs.model.n_layers, configs.model.n_diff_steps) == (512, 8, 500)
    assert (configs.run.batch_size, configs.run.lr, configs.run.max_iter) == (16, 1e-4, 200_000)
    assert (configs.run.save_iter, configs.run.val_iter, configs.run.warm_iter) == (10_000, 5000, 5000)
    assert not configs.model.use_indicator


def test_published_flags_of_the_style_encoder():
    line = (
        "--exp_name L4 --data_root d --stats_file s.npz --rot_repr aa --feature_dim 128 --n_heads 4 --n_layers 4 "
        "--mlp_ratio 4 --n_motions 100 --fps 25 --batch_size 32 --num_workers 4 --max_iter 100000 --lr 1e-4 "
        "--temperature 0.1 --save_iter 2000 --val_iter 2000 --log_iter 50 --log_smooth_win 50 "
        "--mode train --iter 100000"
    )
    config, options = (lambda found: (found.run, found.style_encoder))(main_se.parse_args(line.split()))
    assert options == StyleEncoderConfig()
    defaults = main_se.parse_args(["--exp_name", "L4"]).run
    assert config.iter == 100_000  # to test; by default the last one
    assert (
        dataclasses.replace(config, data_root=defaults.data_root, stats_file=defaults.stats_file, iter=None) == defaults
    )


@pytest.mark.parametrize("flag", sorted(WITH_CHOICES))
def test_unknown_choice_names_the_flag(flag):
    with pytest.raises(UserError, match=f"--{flag}: 'nonsense'.*use one of"):
        main_dpt.parse_args(["--exp_name", "x", f"--{flag}", "nonsense"])


@pytest.mark.parametrize("main", [main_se.main, main_dpt.main])
@pytest.mark.parametrize(
    "line",
    [
        "",
        "--exp_name x --lr fast",
        "--exp_name x --nosuch",
        "--exp_name x --mode play",
        "--exp_name x --scheduler Cosine",
    ],
)
def test_bad_command_lines_end_in_one_line(main, line, capsys):
    with pytest.raises(SystemExit) as end:
        main(line.split())
    assert end.value.code == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert error[0].startswith("error: ")


def test_a_flag_shared_by_two_dataclasses_is_one_flag():
    parser = argparse.ArgumentParser()
    add_flags(parser, StyleEncoderConfig, "a")
    add_flags(parser, TalkerConfig, "b")
    assert parser.parse_args(["--fps", "30"]).fps == 30


def test_weights_for_a_frozen_audio_encoder_are_refused():
    with pytest.raises(UserError, match="--audio_model_path w.safetensors: whisper is frozen.*leave this flag out"):
        main_dpt.parse_args(["--exp_name", "x", "--audio_model", "whisper", "--audio_model_path", "w.safetensors"])


def test_check_choice():
    check_choice("--x", "a", ("a", "b"))
    with pytest.raises(UserError, match="--x: 'c' is not a choice; use one of a, b"):
        check_choice("--x", "c", ("a", "b"))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--guiding_conditions", "audio,stlye"], "'stlye' is not a condition"),
        (["--guiding_conditions", "audio,audio"], "'audio' is named twice"),
        (["--guiding_conditions", "audio,style"], "needs a style encoder"),
        (["--guiding_conditions", "style"], "needs a style encoder"),
    ],
)
def test_conditions_that_cannot_be_are_refused_before_anything_is_read(words, reason):
    with pytest.raises(UserError, match=reason) as refusal:
        training_flags.parse_args(["--exp_name", "x", *words])
    assert "--guiding_conditions" in str(refusal.value)


def test_conditions_are_those_that_the_model_has():
    assert training_flags.parse_args(["--exp_name", "x"]).model.guiding_conditions == "audio"
    styled = ["--exp_name", "x", "--style_enc_ckpt", "a.pt"]
    assert training_flags.parse_args(styled).model.guiding_conditions == "audio,style"
    asked = training_flags.parse_args([*styled, "--guiding_conditions", "style, audio"])
    assert asked.model.conditions == ("audio", "style")
    assert training_flags.parse_args([*styled, "--guiding_conditions", ""]).model.conditions == ()
