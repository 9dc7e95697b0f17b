"""Does a tracked style belong to the person? Windows of one half of a person's clips against all people's other halves.

    python -m benchmarks.people.halves --faces FOLDER [--clips 20] [--json FILE]

All clips of a person are fitted together, and their motion is joined. The style of a window (4 s, every second one) of
one half of the clips is compared, by cosine, with each person's mean style of the other half. `found` counts windows
whose own person is the nearest; with lasting values, the face at rest gives people away, so that the second row, where
every half's median is taken off all coefficients, is the one that tells manners of speaking.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.people.tracking import PeopleFlags, people, track
from benchmarks.report import column, publish, read_flags
from models.generation.style_extractor import StyleExtractor
from models.tracking.embedding import LandmarkHead
from models.tracking.film import FilmFitter, Fitted
from utils.errors import UserError, cli
from utils.heads.head_file import load_head_file
from utils.motion_file import Motion
from utils.reports.wording import counted
from utils.runs.run_dir import DEFAULT_EXPERIMENT, find_checkpoint
from utils.timebase import FPS

EVERY = 2 * FPS  # frames from one window to the next


@dataclass(frozen=True)
class Row:
    """All people, with or without their lasting values."""

    motion: str = column("motion")
    found: float = column("found", "{:.0%}")
    chance: float = column("chance", "{:.0%}")
    windows: int = column("windows")


def halves(fits: list[Fitted], lasting: bool) -> tuple[Motion, Motion]:
    """The motion of every second clip, and that of the others; without `lasting`, less each one's median."""
    first, second = (_joined(part, lasting) for part in (fits[::2], fits[1::2]))
    return first, second


def _joined(fits: list[Fitted], lasting: bool) -> Motion:
    exp, pose = (np.concatenate([getattr(fit, name) for fit in fits]) for name in ("exp", "pose"))
    return Motion(exp, pose) if lasting else Motion(exp - np.median(exp, axis=0), pose - np.median(pose, axis=0))


def styles(motion: Motion, style: Callable[[Motion, int], np.ndarray], window: int) -> np.ndarray:
    """Styles (W, F) of a motion's windows, of unit length.

    Raises:
        UserError: the motion is shorter than a window.
    """
    if len(motion) < window:
        raise UserError(f"--clips: half of a person's have {len(motion)} frames, a style needs {window}; give more")
    found = np.stack([style(motion, start) for start in range(0, len(motion) - window + 1, EVERY)])
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def found(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, int]:
    """Share of the windows that are nearest to their own person's other half, and their number."""
    hits = []
    for one, other in ((0, 1), (1, 0)):
        means = np.stack([part[other].mean(axis=0) for part in parts])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        hits += [(part[one] @ means.T).argmax(axis=1) == k for k, part in enumerate(parts)]
    return float(np.concatenate(hits).mean()), sum(map(len, hits))


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(PeopleFlags, __doc__ or "", argv)
    fitter = FilmFitter(LandmarkHead(load_head_file(None)))
    extractor = StyleExtractor.load(find_checkpoint("SE", DEFAULT_EXPERIMENT, None), None, torch.device("cpu"))
    everyone = [[take.fitted for take in track(paths, fitter)[0]]
                for paths in people(flags.faces, flags.clips).values()]  # fmt: skip
    rows, window = [], extractor.encoder.config.n_motions
    for name, lasting in (("as tracked", True), ("less its median", False)):
        both = [halves(fits, lasting) for fits in everyone]
        share, number = found([(styles(a, extractor, window), styles(b, extractor, window)) for a, b in both])
        rows.append(Row(name, share, 1 / len(everyone), number))
    publish(f"styles of {counted(len(everyone), 'person', 'people')}", rows, flags.json)


if __name__ == "__main__":
    main()
