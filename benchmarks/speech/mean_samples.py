"""Average the samples of each clip, to see how much of an error is the model's and how much is chance.

    python evaluate.py --data_root D --limit 32 -n 10 --save_coef -o OUT
    python -m benchmarks.speech.mean_samples OUT/coef MEANS
    python evaluate.py --data_root D --limit 32 --coef_dir MEANS -o OUT2

What speech and style leave open (when an eye shuts, how wide exactly a mouth opens) differs from sample to sample. A
mean over samples leaves that out: it looks dull, but its lip vertex error is what would be left if the network guessed
nothing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.report import read_flags
from utils.config import positional
from utils.errors import UserError, cli
from utils.motion_file import Motion, load_motion


@dataclass(frozen=True)
class MeanFlags:
    """All flags."""

    samples: Path = positional()
    """Folder of evaluate.py --save_coef."""
    output: Path = positional()
    """Folder of the means."""


def by_clip(folder: Path) -> dict[str, list[Path]]:
    """`<clip>_NNN.npz` below a folder, by clip.

    Raises:
        UserError: there are none.
    """
    found = defaultdict(list)
    for path in sorted(folder.rglob("*_[0-9][0-9][0-9].npz")):
        found[str(path.relative_to(folder))[: -len("_000.npz")]].append(path)
    if not found:
        raise UserError(f"{folder}: holds no <clip>_000.npz; make them by evaluate.py --save_coef")
    return found


def mean_of(motions: list[Motion]) -> Motion:
    """Coefficients averaged frame by frame (axis-angles as well, for rotations are small)."""
    first = motions[0]
    exp, pose = (np.mean([getattr(m, name) for m in motions], axis=0) for name in ("exp", "pose"))
    return Motion(exp.astype(np.float32), pose.astype(np.float32), first.shape)


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(MeanFlags, __doc__, argv)
    for clip, paths in tqdm(by_clip(flags.samples).items(), unit="clip"):
        target = flags.output / f"{clip}.npz"
        target.parent.mkdir(parents=True, exist_ok=True)
        mean_of([load_motion(path) for path in paths]).save(target)


if __name__ == "__main__":
    main()
