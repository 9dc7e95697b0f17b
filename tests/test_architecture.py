"""Rules on the code itself: layers, sizes, names that bite."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import datasets

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("utils", "models", "datasets", "scripts_for_dataset", "setup", "benchmarks", "web", "examples", "tests")
# What stands in one room may import its own room, and those named before it. A module is in the longest room that fits.
ORDER = (
    *("utils.errors", "utils.timebase", "utils.reading", "utils", "utils.heads", "utils.runs", "utils.rendering"),
    *("utils.media", "utils.training", "utils.reports", "utils.exports", "utils.trackers"),
    "datasets",
    *("models.heads", "models.mixing", "models.tracking", "models.audio", "models.networks", "models.diffusion"),
    *("models.fast", "models.exports", "models.generation", "models.metrics", "models.training", "models.app"),
)
MOST_FILES = 12  # of a folder, `__init__.py` apart
MANY_FILES = {"models/metrics", "utils/trackers", "scripts_for_dataset", "scripts_for_dataset/synthetic",
              "setup/open_head"}  # fmt: skip
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


def room(module: str) -> str:
    return max((name for name in ORDER if f"{module}.".startswith(f"{name}.")), key=len)


def edges() -> list[tuple[str, str]]:
    """(importing module, imported one) inside models/, utils/ and datasets/; imports inside functions too."""
    found = []
    for path in SOURCES:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if module.split(".")[0] not in ("models", "utils", "datasets"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [one if is_module(one) else node.module for one in names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            found += [(module, one) for one in names if one.split(".")[0] in OURS]
    return found


def is_module(dotted: str) -> bool:
    path = ROOT.joinpath(*dotted.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def test_imports_point_down_only():
    outside = [(a, b) for a, b in edges() if b.split(".")[0] not in ("models", "utils", "datasets")]
    assert not outside
    upwards = [(a, b) for a, b in edges() if ORDER.index(room(b)) > ORDER.index(room(a))]
    assert not upwards
    assert not [(a, b) for a, b in edges() if a.startswith("models.") and b.startswith("datasets.")]
    assert len(edges()) > 300


def test_no_import_circle():
    graph: dict[str, set[str]] = {}
    for a, b in edges():
        graph.setdefault(a, set()).add(b)
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_plain_code_does_not_import_its_fast_form():
    assert not [(a, b) for a, b in edges() if a.startswith("models.diffusion.") and b.startswith("models.fast")]


def test_folders_are_small():
    folders = {path.parent for path in SOURCES if path.parts[len(ROOT.parts)] != "tests"} - {ROOT}
    crowded = {
        name(folder): n
        for folder in folders
        if (n := len([path for path in folder.glob("*.py") if path.name != "__init__.py"])) > MOST_FILES
    }
    assert set(crowded) <= MANY_FILES, crowded


def test_nothing_imports_a_script():
    for path in SOURCES:
        if path.relative_to(ROOT).parts[0] != "tests":
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
    modules = [path for path in SOURCES if path.read_text().strip() and not path.name.startswith("test_")]
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
    heavy = {"av", "soxr", "pyrender", "transformers", "cv2", "trimesh", "starlette", "tensorboard"}
    core = ["utils/training/trainer.py", "utils/training/run_config.py", "utils/media/audio.py",
            "models/networks/talker.py", "models/training/objective.py", "models/training/losses.py",
            "models/audio/hubert.py", "demo.py"]  # fmt: skip
    for file in core:
        body = ast.Module(ast.parse((ROOT / file).read_text()).body, [])
        top = [node for node in body.body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert not imported(ast.Module(top, [])) & heavy, file


@pytest.mark.parametrize("word", ["allow_pickle=True", "weights_only=False", "shell=True", "os.system"])
def test_no_dangerous_calls(word):
    found = [name(p) for p in SOURCES if p.relative_to(ROOT).parts[0] != "tests" and word in p.read_text()]
    assert not found
