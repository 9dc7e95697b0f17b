"""Rules on the code itself: layers, sizes, names that bite."""

import ast
from pathlib import Path

import pytest

import datasets

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("utils", "models", "datasets", "scripts_for_dataset", "setup", "benchmarks", "web", "examples", "tests")
# Who may import whom, among the project's own packages.
ALLOWED = {"utils": {"utils"}, "models": {"models", "utils"}, "datasets": {"datasets", "utils"}}
SCRIPTS = sorted(path.stem for path in ROOT.glob("*.py"))
OURS = {*FOLDERS, *SCRIPTS}
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")) + sorted(ROOT.glob("*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(tree: ast.AST) -> set[str]:
    """Top-level packages of all imports, those inside functions too."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("layer", ALLOWED)
def test_imports_point_down_only(layer):
    wrong = {}
    for path in (ROOT / layer).rglob("*.py"):
        upwards = (imported(ast.parse(path.read_text())) & OURS) - ALLOWED[layer]
        if upwards:
            wrong[name(path)] = upwards
    assert not wrong
    assert len(list((ROOT / layer).rglob("*.py"))) > 5


def test_nothing_imports_a_script():
    for path in SOURCES:
        if path.parts[-2] != "tests":
            assert not imported(ast.parse(path.read_text())) & set(SCRIPTS), name(path)


def test_functions_are_short():
    long = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > 60:
                    long[f"{name(path)}:{node.name}"] = lines
    assert not long


def test_modules_have_docstrings():
    modules = [path for path in SOURCES if path.parent.name != "tests" and path.read_text().strip()]
    assert [name(path) for path in modules if ast.get_docstring(ast.parse(path.read_text())) is None] == []


def test_datasets_is_ours():
    """Hugging Face has a package of this name; `datasets/__init__.py` makes ours win."""
    assert Path(datasets.__file__) == ROOT / "datasets" / "__init__.py"


def test_demo_is_a_script_not_a_package():
    """demo/__init__.py would hide demo.py."""
    assert not (ROOT / "demo" / "__init__.py").exists()
    assert (ROOT / "demo.py").is_file()


def test_training_imports_only_what_it_uses():
    """Optional or heavy packages are imported where they are needed, never by the training core."""
    heavy = {"av", "soxr", "pyrender", "transformers", "cv2", "trimesh", "gradio", "tensorboard"}
    core = ["utils/trainer.py", "utils/runtime.py", "utils/audio.py", "models/talker.py", "models/objective.py",
            "models/audio_encoder.py", "models/losses.py", "demo.py"]  # fmt: skip
    for file in core:
        body = ast.Module(ast.parse((ROOT / file).read_text()).body, [])
        top = [node for node in body.body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert not imported(ast.Module(top, [])) & heavy, file


@pytest.mark.parametrize("word", ["allow_pickle=True", "weights_only=False", "shell=True", "os.system"])
def test_no_dangerous_calls(word):
    found = [name(p) for p in SOURCES if p.parts[-2] != "tests" and word in p.read_text()]
    assert not found
