"""Which files demo.py reads and writes: the model, the head, style, shape and speech; what each recording becomes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.app import bundled
from models.app.bundled import DEFAULT_STYLE, find_input
from models.app.demo_flags import DemoFlags, ModelFlags
from models.app.speaking import numbered
from models.exports.motion_export import check_foreign, export_path, files_of, parse_formats
from models.generation.animator import Animator
from utils.atomic import check_apart
from utils.config import paths_of
from utils.devices import pick_device
from utils.errors import UserError
from utils.media.input_list import Named
from utils.media.live_audio import STDIN
from utils.media.sound_file import check_sound_file
from utils.motion_file import load_shape, load_style
from utils.runs.run_dir import ROOT, find_checkpoint, style_folder

log = logging.getLogger(__name__)
FLAME_FILES = (ROOT / "models" / "data" / "flame.npz", ROOT / "models" / "data" / "generic_model.pkl")


@dataclass(frozen=True)
class Model:
    """A loaded talker and the folders of its files."""

    animator: Animator
    folder: Path  # <exp>/iter_XXXXXXX
    styles: Path | None  # <SE exp>/iter_XXXXXXX
    published: bool

    @classmethod
    def load(cls, flags: ModelFlags) -> Model:
        checkpoint = find_checkpoint("DPT", flags.exp_name, flags.iter)
        animator = Animator.load(checkpoint, flags.coef_stats, pick_device(flags.device))
        style_enc = animator.model.config.style_enc_ckpt
        styles = style_folder(style_enc) if style_enc else None
        return cls(animator, Path(checkpoint.parent.parent.name) / checkpoint.stem, styles, animator.published)


def choose_head(path: Path | None, published: bool) -> Path | None:
    """`--head`, else the FLAME file in models/data for published models, if it exists, else None (the open head)."""
    if path is not None or not published:
        return path
    for candidate in FLAME_FILES:
        if candidate.is_file():
            return candidate
    log.warning(
        "this model moves FLAME, whose coefficients mean nothing on the open head: the video will look wrong; "
        "give --head generic_model.pkl (setup/README.md explains how to get it)"
    )
    return None


def read_style(name: str | None, model: Model) -> np.ndarray | None:
    """The style vector, or None for the null style.

    Raises:
        UserError: see `style_file`; or the file has the wrong size.
    """
    path = style_file(name, model)
    if path is None:
        return None
    style = load_style(path, model.animator.model.config.d_style)
    if not path.resolve().parent.name.startswith("iter_"):
        log.warning("--style %s: taken for a style of encoder %s, since its folder does not say which one made it",
                    path, model.styles)  # fmt: skip
    return style


def style_file(name: str | None, model: Model) -> Path | None:
    """The file of the style, or None for the null style.

    Raises:
        UserError: a missing file, a file of another style encoder, or a model without style input.
    """
    if model.styles is None:
        if name is not None:
            raise UserError(f"--style {name}: {model.folder} was trained without a style encoder; leave out --style")
        return None
    styles = bundled.input_folder("style")
    folder = styles / model.styles
    if name is None:
        default = folder / DEFAULT_STYLE
        return default if default.is_file() else None
    path = find_input(name, [folder, styles])
    made_by = path.resolve().parent
    if made_by.name.startswith("iter_") and Path(made_by.parent.name, made_by.name) != model.styles:
        raise UserError(
            f"--style {path}: comes from style encoder {made_by.parent.name}/{made_by.name}, but {model.folder} needs "
            f"{model.styles}; extract it again with extract_style.py"
        )
    return path


def shape_of(flags: DemoFlags) -> np.ndarray:
    """(100,) the head shape of `--coef`."""
    return load_shape(shape_file(flags))


def shape_file(flags: DemoFlags) -> Path:
    """`--coef`, a file or the name of a bundled one."""
    return find_input(flags.io.coef, [bundled.input_folder("coef")])


def find_speech(name: str) -> Path:
    """`--audio`, a file or the name of a bundled one.

    Raises:
        UserError: there is no such file, or it is a pipe or an address.
    """
    if name == STDIN:
        raise UserError("--audio -: standard input is read with --stream; add it, or give a file")
    path = Path(name)
    if "://" in name or (path.exists() and not path.is_dir()):
        check_sound_file(path)
    return find_input(name, [bundled.input_folder("audio")])


def endings(flags: DemoFlags) -> tuple[str, ...]:
    """What the name of one output may end in: .mp4, and with --no_video also .npz."""
    return (".mp4", ".npz") if flags.picture.no_video else (".mp4",)


def check_ending(flags: DemoFlags, output: Path) -> None:
    """Raises UserError if this name of one output ends otherwise."""
    if output.suffix.lower() in endings(flags):
        return
    if flags.picture.no_video:
        raise UserError(f"--output {output}: must end in .npz")
    reason = "--no_video writes an npz alone" if output.suffix.lower() == ".npz" else "--export writes other formats"
    raise UserError(f"--output {output}: must end in .mp4; --save_coef writes an npz beside it, and {reason}")


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


def check_sources(flags: DemoFlags, model: Model, recordings: list[Path], videos: list[Path]) -> None:
    """Raises UserError if a file that will be written is one that is read, or a sidecar would replace a foreign one."""
    written = [file for path in videos for file in all_files(flags, path)]
    named = [Path(flags.io.audio), shape_file(flags), style_file(flags.io.style, model)]
    named = [path for path in named if path is not None and not path.is_dir()]  # of a folder, the recordings count
    others = [file for _, paths in paths_of(flags) for file in paths]
    check_apart(written, [*recordings, *named, *others])
    check_foreign(written)
