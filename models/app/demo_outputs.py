"""Which files demo.py writes for each recording."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.app.demo_flags import DemoFlags
from models.app.speaking import numbered
from models.exports.motion_export import export_path, files_of, parse_formats
from utils.errors import UserError
from utils.media.input_list import Named


def output_paths(flags: DemoFlags, path: Path) -> list[Path]:
    """The videos of one input: its path, or `<stem>_000.mp4`... for several repetitions with a video each."""
    if flags.io.n_repetitions == 1 or flags.picture.side_by_side:
        return [path]
    return [numbered(path.with_suffix(".mp4"), i) for i in range(flags.io.n_repetitions)]


def results(flags: DemoFlags, path: Path) -> list[Path]:
    """The files written for one of `output_paths`; a recording whose files all exist is finished."""
    return [*main_files(flags, path), *(export_path(*one) for one in exports_of(flags, path))]


def main_files(flags: DemoFlags, path: Path) -> list[Path]:
    """The video and the coefficients of one of `output_paths`."""
    videos = [] if flags.picture.no_video else [path.with_suffix(".mp4")]
    coefs = [sample.with_suffix(".npz") for sample in samples_of(flags, path)]
    return [*videos, *(coefs if flags.io.save_coef or flags.picture.no_video else [])]


def samples_of(flags: DemoFlags, path: Path) -> list[Path]:
    """The path of each sample in a video."""
    return [numbered(path, i) for i in range(flags.io.n_repetitions)] if flags.picture.side_by_side else [path]


def exports_of(flags: DemoFlags, path: Path) -> list[tuple[Path, str]]:
    """(path without ending, format) of each export of one of `output_paths`."""
    formats = parse_formats(flags.export.export) if flags.export.export is not None else ()
    return [(sample.with_suffix(""), name) for sample in samples_of(flags, path) for name in formats]


def all_files(flags: DemoFlags, path: Path) -> list[Path]:
    """Every file that may be written for one of `output_paths`, sidecars included."""
    beside = [file for out, name in exports_of(flags, path) for file in files_of(out, (name,))]
    return [*main_files(flags, path), *beside]


def check_distinct(flags: DemoFlags, inputs: Sequence[Named], outputs: Sequence[list[Path]]) -> None:
    """Raises UserError if two recordings would write the same file, such as a_livelink.csv."""
    owner: dict[str, Path] = {}
    for one, paths in zip(inputs, outputs):
        for file in {str(file).casefold() for path in paths for file in all_files(flags, path)}:
            if owner.setdefault(file, one.path) != one.path:
                raise UserError(f"{owner[file].name} and {one.path.name}: both would write {file}; rename one of them")
