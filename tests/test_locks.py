"""setup/locks against requirements*.txt."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[\w+\])?==([^\s;]+)", re.M)
LOCKS = {"": ("run", "torch"), "-dev": ("run", "dev"), "-bench": ("run", "dev"), "-lint": ("lint",),
         "-pipecat": ("pipecat",), "-web": ("run", "web")}  # fmt: skip


def lock(name: str) -> str:
    return (ROOT / "setup/locks" / f"{name}.txt").read_text()


@pytest.mark.parametrize("kind", LOCKS)
def test_locks_hold_the_required_versions(kind):
    """`make lock` was called after the last change."""
    locked = [pin for name in LOCKS[kind] for pin in PIN.findall(lock(name))]
    pins = PIN.findall((ROOT / f"requirements{kind}.txt").read_text())
    assert pins and set(pins) <= set(locked)


@pytest.mark.parametrize("path", sorted((ROOT / "setup/locks").glob("*.txt")), ids=lambda path: path.stem)
def test_every_locked_package_has_hashes_and_no_address(path):
    text = path.read_text()
    assert "://" not in text and not re.search(r"^-", text, re.M)
    for package in re.split(r"\n(?=\w)", text.strip()):
        assert PIN.match(package) and "--hash=sha256:" in package


def test_torch_and_what_only_it_needs_stand_alone():
    names = {name for name, _ in PIN.findall(lock("torch"))}
    assert {"torch", "triton", "nvidia-cublas"} <= names
    others = {name for kind in ("run", "dev", "web", "lint") for name, _ in PIN.findall(lock(kind))}
    assert not names & others and not [name for name in others if name.startswith("nvidia")]
