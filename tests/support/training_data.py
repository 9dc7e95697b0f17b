"""A small data set for the training scripts: persons with one or two clips, lists, statistics."""

import shutil
from pathlib import Path

from tests.support.small_store import LEGACY, write_store


def make_data(folder: Path, persons: int = 8, n_frames: int = 215) -> Path:
    """A store of one clip per person; the last two persons are validation and test."""
    clips = [f"person{i:02d}/000" for i in range(persons)]
    write_store(folder, dict.fromkeys(clips, n_frames))
    shutil.copy(LEGACY / "stats_train.npz", folder)
    for split, part in {"train": clips[:-2], "val": clips[-2:], "test": clips[-2:]}.items():
        (folder / f"{split}.txt").write_text("".join(clip + "\n" for clip in part))
    return folder
