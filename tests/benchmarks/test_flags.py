"""Every benchmark, builder and example takes --config, and the flags of a benchmark are checked before any work."""

import importlib

import pytest

from benchmarks.report import read_flags
from benchmarks.speed.data import DataFlags
from setup.convert_flame import FlameFlags
from utils import config
from utils.errors import UserError
from utils.runs.run_dir import ROOT

FILES = [path for folder in ("benchmarks", "setup", "examples") for path in sorted((ROOT / folder).rglob("*.py"))]
PROGRAMS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FILES if "\ndef main(" in path.read_text()
]


@pytest.mark.parametrize("module", PROGRAMS)
def test_every_program_takes_a_config_file(module, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        importlib.import_module(module).main(["--config", str(tmp_path / "none.json")])
    assert caught.value.code == 2
    assert "none.json: no such file" in capsys.readouterr().err


def test_each_of_several_values_must_be_a_choice():
    assert read_flags(DataFlags, "Data.", ["--parts", "reading", "loading"]).parts == ("reading", "loading")
    with pytest.raises(UserError, match="--parts: 'writing' is not a choice"):
        read_flags(DataFlags, "Data.", ["--parts", "reading", "writing"])


def test_a_repeated_flag_of_several_values_gathers_them():
    words = ["model.pkl", "-o", "x.npz", "--landmark", "chin=1", "nose_tip=2", "--landmark", "left=3"]
    assert config.read_flags(FlameFlags, words, "").landmark == ("chin=1", "nose_tip=2", "left=3")
