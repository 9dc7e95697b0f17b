"""Motion -> style vector for `demo.py --style`. Reads motion npz files, the output of face trackers, and videos.

python extract_style.py -c motion.npz -o mine.npy
python extract_style.py -c tracked_flame_params_30.npz -o mine.npy --fps 30 --window best
python extract_style.py -c me.mp4 -o mine.npy --window best        (needs MediaPipe, docs/data.md)
python extract_style.py -c COEFS -o STYLES --window all            (a folder of <person>/<video>: one npy each)
python extract_style.py --exp_name SE_NAME --iter 26000 -c motion.npz -o mine.npy -s 50
"""

import logging
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out
import utils.startup  # noqa: F401  # isort: skip

import numpy as np

from models.app.bundled import style_files_of
from models.app.style_files import read_motion, style_of, with_head_motion
from models.generation.style_extractor import StyleExtractor
from scripts_for_dataset.preparing.batch import (
    COEFS,
    DONE,
    SKIPPED,
    THERE,
    Outcome,
    find_clips,
    is_current,
    share_out,
    summarise,
)
from utils.atomic import atomic_path, check_apart
from utils.config import flag, read_flags, required
from utils.devices import pick_device
from utils.errors import UserError, cli
from utils.media.video_frames import VIDEO_SUFFIXES
from utils.runs.run_dir import DEFAULT_EXPERIMENT, find_checkpoint
from utils.runs.shards import WorkFlags
from utils.trackers.flags import ImportFlags
from utils.trackers.folders import is_tracked_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ExtractFlags:
    """All flags of the program."""

    exp_name: str = DEFAULT_EXPERIMENT
    """Style encoder in experiments/SE, or a prefix of its name."""
    iter: int | None = None
    """Iteration of the checkpoint (default: the last)."""
    coef: Path = required("-c")
    """Motion npz with exp (T, 50) and pose (T, 6), a tracker's file or folder, or a video (docs/data.md); or a folder
    of many, <person>/<video>."""
    output: Path = required("-o")
    """npy, in demo/input/style/<SE exp>/<iter>/ unless absolute; for a folder of many a folder."""
    start: int | None = flag(None, "-s")
    """First frame of the window (default: 0)."""
    window: str | None = None
    """best: the most typical window; all: the mean over all windows; or a first frame, as --start."""
    coef_stats: Path | None = None
    """Statistics npz, for published checkpoints."""
    device: str = "auto"
    """cuda, cpu or auto."""
    head_motion: Path | None = None
    """Take the head's rotation from this motion (default: the input's; if that has none, the bundled normal motion)."""
    overwrite: bool = False
    """With a folder of many, also replace styles that are newer than their motion."""
    files: ImportFlags
    """input file"""
    work: WorkFlags = WorkFlags()
    """sharing the work, with a folder of many (docs/scale.md)"""

    def check(self) -> None:
        """Raises UserError for contradictions, or an output that is not npy."""
        self.frames()
        if self.output.suffix != ".npy" and not (self.coef.is_dir() and not is_tracked_folder(self.coef)):
            raise UserError(f"--output {self.output}: must end in .npy")

    def frames(self) -> int | str:
        """First frame, "best" or "all".

        Raises:
            UserError: --start and --window contradict each other, or --window is none of these.
        """
        if self.window is None:
            return self.start or 0
        if self.start is not None:
            raise UserError("--start: --window already names the window; leave one of them out")
        if self.window in ("best", "all"):
            return self.window
        try:
            return int(self.window)
        except ValueError:
            raise UserError(f"--window {self.window}: use best, all or the number of a frame") from None


def parse_args(argv: list[str] | None = None) -> ExtractFlags:
    """The flags, checked."""
    return read_flags(ExtractFlags, argv, (__doc__ or " ").splitlines()[0])


@cli
def main(argv: list[str] | None = None) -> None:
    flags = parse_args(argv)
    checkpoint = find_checkpoint("SE", flags.exp_name, flags.iter)
    path = style_files_of(checkpoint) / flags.output
    if path.suffix == ".npy":
        check_apart([path], [flags.coef])
        extract(Job(checkpoint, flags, flags.coef, path))
        log.info("wrote %s", path)
        return
    clips = find_clips(flags.coef, (*COEFS, *VIDEO_SUFFIXES), tracked=True, without=path)
    jobs = {clip: Job(checkpoint, flags, coef, path / f"{clip}.npy") for clip, coef in clips.items()}
    check_apart([job.output for job in jobs.values()], clips.values())
    outcomes = share_out(extract_one, jobs, flags, path, "styles")
    summarise(outcomes, str(path))
    if outcomes and all(outcome.status == SKIPPED for outcome in outcomes):
        raise UserError(f"--coef {flags.coef}: no motion can be used; the first: {outcomes[0].reason}")


@dataclass(frozen=True)
class Job:
    """One motion, and its style's file."""

    checkpoint: Path
    flags: ExtractFlags
    coef: Path
    output: Path


def extract(job: Job) -> None:
    """Write the style of one motion.

    Raises:
        UserError: the motion cannot be read or is too short, or the output cannot be written.
    """
    flags = job.flags
    motion = read_motion(job.coef, flags.files.options())
    if flags.exp_name == DEFAULT_EXPERIMENT and motion.is_flame:
        log.warning("%s: holds FLAME's coefficients, but this style encoder knows the open head's: the style will "
                    "mean little; give --exp_name of an encoder trained on FLAME", job.coef)  # fmt: skip
    motion = with_head_motion(motion, flags.head_motion) if flags.head_motion else motion
    style = style_of(load_extractor(job.checkpoint, flags.coef_stats, flags.device), motion, flags.frames())
    with atomic_path(job.output) as temporary:
        np.save(temporary, style)


@cache
def load_extractor(checkpoint: Path, stats: Path | None, device: str) -> StyleExtractor:
    """Once in each process."""
    return StyleExtractor.load(checkpoint, stats, pick_device(device))


def extract_one(job: Job) -> Outcome:
    """One of many motions (runs in a worker); what cannot be used is an outcome as well."""
    clip = str(job.coef)
    if not job.flags.overwrite and is_current(job.output, [job.coef]):
        return Outcome(clip, THERE)
    try:
        extract(job)
    except UserError as error:
        return Outcome(clip, SKIPPED, str(error))
    return Outcome(clip, DONE)


if __name__ == "__main__":
    main()
