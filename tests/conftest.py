"""Fixtures of several tests; without a GPU, Triton's interpreter for our CUDA kernels, asked for before its import.

Triton is imported before any test draws: with the LLVM of Mesa's software renderer in the process its import crashes.
"""

import contextlib
import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
with contextlib.suppress(ImportError):
    import triton  # noqa: F401


@pytest.fixture(autouse=True)
def usual_products():
    """A training sets the precision of its process for good; here the next test shares the process."""
    yield
    torch.set_float32_matmul_precision("highest")


# Imported late: most tests need none of this.


@pytest.fixture(scope="session")
def open_head_space():
    """What vertex losses measure on the open head; it takes seconds to make."""
    from models.heads.flame import load_flame
    from models.training.vertex_space import VertexSpace

    return VertexSpace(load_flame(None))


@pytest.fixture(scope="module")
def experiments(tmp_path_factory):
    from tests.support.demo_workspace import write_experiments

    return write_experiments(tmp_path_factory.mktemp("experiments"))


@pytest.fixture
def space(tmp_path, experiments, monkeypatch):
    """The folders of demo.py and extract_style.py, with small models and inputs."""
    from tests.support.demo_workspace import write_workspace

    found = write_workspace(tmp_path / "repo", experiments)
    found.use(monkeypatch)
    return found


@pytest.fixture
def refused(space, capsys):
    """Run a command; it must end with exit code 2, one line that has all of `expected`, and no file written."""

    def check(main, argv, *expected):
        before = sorted(p for p in space.input.rglob("*"))
        with pytest.raises(SystemExit) as end:
            main(argv)
        assert end.value.code == 2
        shown = capsys.readouterr().err.replace("\r", "\n").splitlines()
        lines = [line for line in shown if line.strip() and "frame/s]" not in line]  # progress bars may stay
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
        for part in expected:
            assert str(part) in lines[0], lines[0]
        assert space.written() == []
        assert sorted(p for p in space.input.rglob("*")) == before
        return lines[0]

    return check


@pytest.fixture
def no_generation(monkeypatch):
    """Fail if a mistake is only found after the slow part."""
    from models.generation.animator import Animator

    monkeypatch.setattr(Animator, "batch", lambda *_: pytest.fail("generation had already begun"))
