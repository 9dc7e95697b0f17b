"""--config of every program, and docs/cli.md."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

import demo
import main_dpt
import main_se
from setup.write_cli_docs import PROGRAMS, flags_class, page
from utils.config import ROOT, all_flags, read_flags
from utils.devices import PRECISION_SPELLINGS
from utils.errors import UserError
from utils.training.run_config import _differences

OUTPUTS = {"extract_style": "x.npy", "render_motion": "x.mp4", "scripts_for_dataset.harden_front_end": "x.safetensors"}


def values(module: str) -> dict:
    """Each flag with its default, required ones with something, as they stand in a JSON file."""
    found = {}
    for name, one in all_flags(flags_class(module)).items():
        value = one.default
        if one.required:
            value = OUTPUTS.get(module, "x") if name == "output" else ["x"] if one.many else "x"
        found[name] = str(value) if isinstance(value, Path) else value
    return found


def written(folder: Path, content: object) -> Path:
    path = folder / "config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def words(module: str) -> list[str]:
    """The shortest command line."""
    flags = [(one, values(module)[name]) for name, one in all_flags(flags_class(module)).items() if one.required]
    told = [[f"--{one.name}"] * (not one.looks.positional) + ["x" if one.many else value] for one, value in flags]
    return [word for part in sorted(told, key=len) for word in part]


@pytest.mark.parametrize("module", PROGRAMS)
def test_a_file_says_what_a_command_line_says(module, tmp_path):
    path, made = written(tmp_path, values(module)), flags_class(module)
    assert read_flags(made, ["--config", str(path)], "") == read_flags(made, words(module), "")
    grouped = {"run": values(module)}
    assert read_flags(made, [f"--config={written(tmp_path, grouped)}"], "") == read_flags(made, words(module), "")


def numbers(module):
    """Numbers and switches; first those with a default other than 0, because others may be shares."""
    found = [one for one in all_flags(flags_class(module)).values() if one.kind in (int, float, bool)]
    return sorted((one for one in found if one.name != "iter"), key=lambda one: (one.kind is bool, not one.default))


@pytest.mark.parametrize("module", list(filter(numbers, PROGRAMS)))
def test_the_command_line_overrides_the_file(module, tmp_path):
    made, one = flags_class(module), numbers(module)[0]
    given = True if one.kind is bool else one.kind(one.default or 10)
    path = written(tmp_path, values(module) | {one.name: given})
    other = [f"--no-{one.name}"] if one.kind is bool else [f"--{one.name}", str(given + 1)]
    found = read_flags(made, ["--config", str(path), *other], "")
    assert found != read_flags(made, ["--config", str(path)], "")
    assert found == read_flags(made, [*words(module), *([] if one.kind is bool else other)], "")


@pytest.mark.parametrize("module", PROGRAMS)
@pytest.mark.parametrize("content", ['{"nosuch": 1}', "{", "[1]", '{"run": {"nosuch": 1}}', None])
def test_what_is_wrong_with_a_file_is_one_line(module, content, tmp_path, capsys):
    path = tmp_path / "config.json" if content is None else written(tmp_path, content)
    with pytest.raises(SystemExit) as end:
        importlib.import_module(module).main(["--config", str(path)])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line


@pytest.mark.parametrize("module", PROGRAMS)
def test_values_of_another_type_are_refused(module, tmp_path):
    for name, one in all_flags(flags_class(module)).items():
        wrong = "yes" if one.kind in (bool, int, float) or one.many else 5
        with pytest.raises(UserError, match=f"config.json: {name} is {wrong!r}"):
            read_flags(flags_class(module), ["--config", str(written(tmp_path, {name: wrong}))], "")


@pytest.mark.parametrize(("name", "words"), [("seed", "an int"), ("fov", "a float"), ("mix_schedule", "a path")])
def test_the_type_that_is_wanted_has_its_article(name, words, tmp_path):
    with pytest.raises(UserError, match=f", not {words}; see --help"):
        demo.parse_args(["--config", str(written(tmp_path, {name: ["x"]}))])


def test_choices_and_ranges_of_a_file_are_checked(tmp_path):
    for content, message in (({"look": "gold"}, "--look: 'gold'"), ({"n_repetitions": 0}, "--n_repetitions 0"),
                             ({"stream": True, "side_by_side": True}, "--side_by_side")):  # fmt: skip
        with pytest.raises(UserError, match=message):
            demo.parse_args(["--config", str(written(tmp_path, content))])


def test_long_names_of_flags_and_switches_that_are_undone(tmp_path):
    path = str(written(tmp_path, {"dynamic_threshold_ratio": 0.9, "dtmin": 2, "no_head": True, "size": 64}))
    flags = demo.parse_args(["--config", path])
    assert (flags.sampling.dtr, flags.sampling.dynamic_threshold_min, flags.picture.no_head) == (0.9, 2, True)
    assert demo.parse_args(["--config", path, "--no-no_head"]).picture == replace(flags.picture, no_head=False)


def test_a_runs_own_config_is_its_command_line_again(tmp_path):
    configs = main_dpt.parse_args(
        ["--exp_name", "x", "--use_indicator", "--scheduler", "Warmup", "--l_vel", "3", "--head", "h.npz"]
    )
    path = str(written(tmp_path, configs.resolved()))
    assert main_dpt.parse_args(["--config", path]) == configs
    assert main_dpt.parse_args(["--config", path, "--lr", "0.5"]).run == replace(configs.run, lr=0.5)
    with pytest.raises(UserError, match="'audio_model_path' is not a flag of this program"):
        main_se.parse_args(["--config", path])


def test_precisions_have_one_vocabulary(tmp_path):
    for spelled, name in PRECISION_SPELLINGS.items():
        for program in (demo, main_dpt):
            flags = program.parse_args(["--precision", spelled, *(["--exp_name", "x"] if program is main_dpt else [])])
            assert (flags.model if program is demo else flags.run).precision == name
        assert demo.parse_args(["--config", str(written(tmp_path, {"precision": spelled}))]).model.precision == name
        written(tmp_path, {"run": {"precision": spelled, "lr": 1.0}})
        assert not _differences(tmp_path, {"run": {"precision": name, "lr": 1.0}})
        assert _differences(tmp_path, {"run": {"precision": "tf32", "lr": 1.0}}) == {"--precision": (name, "tf32")}


def test_the_page_of_flags_is_up_to_date():
    assert (ROOT / "docs" / "cli.md").read_text() == page(), "run `python -m setup.write_cli_docs`"
