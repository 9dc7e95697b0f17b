"""The flags of every program as tables: docs/cli.md, from the dataclasses that --help is made of.

python -m setup.write_cli_docs
"""

from __future__ import annotations

import html
import importlib
import logging
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from utils.atomic import write_text
from utils.config import ROOT, Flag, flag, flags_of, groups_of, read_flags
from utils.errors import cli

log = logging.getLogger(__name__)
# Module -> dataclass of its flags.
PROGRAMS = {
    "demo": "DemoFlags",
    "extract_style": "ExtractFlags",
    "render_motion": "RenderFlags",
    "export_motion": "ExportMotionFlags",
    "web.app": "PageFlags",
    "web.serve": "ServeFlags",
    "web.study.__main__": "StudyFlags",
    "web.study.analyse": "AnalysisFlags",
    "evaluate": "EvaluateFlags",
    "setup.export_onnx": "OnnxFlags",
    "setup.build_static_demo": "StaticFlags",
    "main_se": "Configs",
    "main_dpt": "Configs",
    "scripts_for_dataset.prepare_dataset": "PrepareFlags",
    "scripts_for_dataset.import_coefs": "ImportCoefsFlags",
    "scripts_for_dataset.track_video": "TrackFlags",
    "scripts_for_dataset.combine_mica_and_spectre": "CombineFlags",
    "scripts_for_dataset.fix_pose_prediction": "FixFlags",
    "scripts_for_dataset.make_combined_dataset": "BuildFlags",
    "scripts_for_dataset.generate_split_file": "SplitFlags",
    "scripts_for_dataset.calc_stats_random_sample": "StatsFlags",
    "scripts_for_dataset.train_tongue": "TongueFlags",
    "scripts_for_dataset.harden_front_end": "HardenFlags",
    "scripts_for_dataset.convert_dataset": "ConvertFlags",
    "scripts_for_dataset.inspect_dataset": "InspectFlags",
    "scripts_for_dataset.make_synthetic_speech": "SpeechFlags",
    "scripts_for_dataset.make_synthetic_dataset": "DatasetFlags",
    "scripts_for_dataset.make_style_clips": "StyleClipsFlags",
    "scripts_for_dataset.fit_visemes": "FitFlags",
    "scripts_for_dataset.make_people_dataset": "PeopleFlags",
    "scripts_for_dataset.merge_datasets": "MergeFlags",
    "scripts_for_dataset.index_dataset": "IndexFlags",
}
HEAD = """# Command-line flags

This page is written by `python -m setup.write_cli_docs` from the dataclasses that `--help` is made of; edit the text
below their fields. Every program also takes `--config FILE.json`: a flat object such as `{"seed": 3, "size": 384}`, or
the `config.json` of a training run. Flags on the command line override the file, and `--no-FLAG` undoes one of its
switches.
"""


@dataclass(frozen=True)
class DocsFlags:
    """All flags of the program."""

    output: Path = flag(ROOT / "docs" / "cli.md", "-o")
    """The page."""


def flags_class(module: str) -> type:
    """The dataclass of a program's flags."""
    return getattr(importlib.import_module(module), PROGRAMS[module])


def cells(one: Flag) -> Iterator[str]:
    """One row of a table, in lines of at most 120 characters."""
    if not all(choice in one.help for choice in one.looks.choices):
        one = replace(one, text=f"{one.text.removesuffix('.')}: {{choices}}.")
    names = ", ".join(one.spelled)
    yield f"<tr><td><code>{html.escape(names)}</code></td><td>"
    yield from textwrap.wrap(html.escape(one.help, quote=False), 118, break_long_words=False, break_on_hyphens=False)
    yield "</td></tr>"


def table(title: str, flags: dict[str, Flag]) -> list[str]:
    """A group of flags."""
    rows = [line for one in flags.values() for line in cells(one)]
    return ["", f"**{title}**", "", "<table>", *rows, "</table>"] if rows else []


def page() -> str:
    """All of docs/cli.md."""
    lines = HEAD.splitlines()
    for module in PROGRAMS:
        command = f"python -m {module.removesuffix('.__main__')}" if "." in module else f"python {module}.py"
        lines += ["", f"## {command}"]
        made = flags_class(module)
        for _, title, group in groups_of(made):
            lines += table(title, flags_of(group))
        lines += table("other" if any(groups_of(made)) else "flags", flags_of(made))
    return "\n".join(lines) + "\n"


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(DocsFlags, argv, (__doc__ or " ").splitlines()[0])
    write_text(flags.output, page())
    log.info("wrote %s", flags.output)


if __name__ == "__main__":
    main()
