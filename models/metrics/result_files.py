"""Motion npz files of other programs, matched to the clips of a data set by name."""

from __future__ import annotations

from pathlib import Path

from utils.errors import UserError


def find_results(folder: Path, clip: str) -> list[Path]:
    """Samples of `<person>/<video>` in a folder; empty if there is none.

    `<person>/<video>.npz` or `<person>_<video>.npz` is one sample; `..._000.npz`, `..._001.npz` and so on, as demo.py
    and evaluate.py write them, are several.
    """
    for stem in (clip, clip.replace("/", "_")):
        path = folder / f"{stem}.npz"
        if path.is_file():
            return [path]
        several = sorted(path.parent.glob(f"{_escaped(path.stem)}_[0-9][0-9][0-9].npz"))
        if several:
            return several
    return []


def match_results(folder: Path, clips: list[str]) -> dict[str, list[Path]]:
    """Clip -> its files, for the clips that have any.

    Raises:
        UserError: no such folder, or no file is named like a clip.
    """
    if not folder.is_dir():
        raise UserError(f"--coef_dir {folder}: no such folder; give one with npz files")
    found = {clip: files for clip in clips if (files := find_results(folder, clip))}
    if not found:
        raise UserError(
            f"--coef_dir {folder}: no npz is named like a clip of the split; name them {clips[0]}.npz or "
            f"{clips[0].replace('/', '_')}.npz"
        )
    return found


def _escaped(name: str) -> str:
    """The name with glob's special characters escaped."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
