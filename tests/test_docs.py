"""Links and commands of README and docs: their files, headings, modules and flags exist."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLACES = ("", "docs", "docs/lab", "demo/input/audio", "setup")
PAGES = sorted(page for place in PLACES for page in (ROOT / place).glob("*.md"))
CURRENT = [page for page in PAGES if page.name != "CHANGELOG.md"]  # which may name what is gone
FENCE = re.compile(r"^```.*?^```", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")
IN_CODE = re.compile(r"`([\w-]+/[\w./-]+\.(?:py|json|npz|html|sh|js|md))`")
FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"experiments", "data"}
COMMAND = re.compile(r"(?<![\w-])python (?:-m )?([\w./]+)((?:\\\n|[^\n`#|])*)")
FLAG = re.compile(r"(?<![\w-])--?[a-zA-Z]\w*")


@cache
def headings(page: Path) -> set[str]:
    """As GitHub names them in addresses."""
    found = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@cache
def flags_of_programs() -> dict[str, set[str]]:
    """Module -> the flags that docs/cli.md lists, which another test compares with the programs."""
    parts = (ROOT / "docs" / "cli.md").read_text().split("\n## python ")[1:]
    rows = {part.split("\n")[0]: re.findall(r"<td><code>(.*?)</code>", part) for part in parts}
    return {
        name.removeprefix("-m ").removesuffix(".py"): {"--config", "--help", *", ".join(found).split(", ")}
        for name, found in rows.items()
    }


def test_links_lead_to_files_and_headings():
    links = [(page, target) for page in PAGES for target in LINK.findall(FENCE.sub("", page.read_text()))]
    links = [(page, *target.partition("#")) for page, target in links if "://" not in target]
    broken = []
    for page, name, _, heading in links:
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or heading and heading not in headings(file):
            broken.append(f"{page.relative_to(ROOT)}: {name}#{heading}")
    assert len(links) > 50 and not broken


@pytest.mark.parametrize("page", CURRENT, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_commands_exist(page):
    """Files by their whole path; programs, and their flags as far as docs/cli.md has them."""
    text = page.read_text()
    paths = [name for name in IN_CODE.findall(text) if name.split("/")[0] in FOLDERS]
    assert [name for name in paths if not (ROOT / name).exists()] == []
    for program, line in COMMAND.findall(text):
        path = ROOT / program if program.endswith(".py") else ROOT.joinpath(*program.split("."))
        assert any(p.is_file() for p in (path, path.with_suffix(".py"), path / "__main__.py")), program
        known = flags_of_programs().get(program.removesuffix(".py"))
        assert known is None or set(FLAG.findall(line)) <= known, (program, line)
