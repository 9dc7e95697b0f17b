"""Motion -> style vector, for `demo.py --style`. Reads motion npz, the output of face trackers, and videos.

python extract_style.py -c motion.npz -o mine.npy
python extract_style.py -c tracked_flame_params_30.npz -o mine.npy --fps 30 --window best
python extract_style.py -c me.mp4 -o mine.npy --window best        (needs MediaPipe, docs/data.md)
python extract_style.py --exp_name SE_NAME --iter 26000 -c motion.npz -o mine.npy -s 50
"""

import argparse
import logging
from pathlib import Path

import numpy as np

from models.animator import StyleExtractor
from utils.atomic import atomic_path
from utils.config import UserParser
from utils.errors import UserError, cli
from utils.motion_file import Motion, load_motion
from utils.run_dir import DEFAULT_EXPERIMENT, ROOT, find_checkpoint
from utils.runtime import pick_device
from utils.timebase import FPS
from utils.trackers.content import load_content
from utils.trackers.flags import add_import_flags, import_options
from utils.trackers.to_motion import ImportOptions, from_content
from utils.trackers.video import track_video
from utils.video_frames import VIDEO_SUFFIXES

log = logging.getLogger(__name__)
HOP, MAX_WINDOWS = FPS, 240  # windows begin a second apart; of a long motion so many, evenly spread
MOVING = 0.5  # windows with less than this share of the usual motion are pauses, and no model of a style


def make_parser() -> UserParser:
    parser = UserParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--exp_name", default=DEFAULT_EXPERIMENT, help="style encoder in experiments/SE, or a prefix of its name")
    add("--iter", type=int, help="iteration of the checkpoint (default: the last)")
    add("-c", "--coef", required=True, type=Path, help="motion npz with exp (T, 50) and pose (T, 6), a tracker's "
        "file or folder, or a video (docs/data.md)")  # fmt: skip
    add("-o", "--output", required=True, help="npy, in demo/input/style/<SE exp>/<iter>/ unless absolute")
    add("-s", "--start", type=int, help="first frame of the window used (default: 0)")
    add("--window", help="best: the window most like all; all: the mean over all; or its first frame, as --start")
    add("--coef_stats", type=Path, help="statistics npz, for published checkpoints")
    add("--device", default="auto", help="cuda, cpu or auto (default: auto)")
    add_import_flags(parser)
    return parser


def read_motion(path: Path, options: ImportOptions) -> Motion:
    """A motion npz as it is; a video through `track_video`, the output of a tracker through `import_motion`, with the
    notes in the log.

    Raises:
        UserError: neither, or damaged.
    """
    as_it_is = options == ImportOptions()
    if as_it_is and not path.exists():
        raise UserError(f"{path}: no such file; check the path")
    if as_it_is and path.suffix.lower() in VIDEO_SUFFIXES:
        tracked = track_video(path, progress=True)
        for note in tracked.notes:
            log.info("%s: %s", path, note)
        log.info("%s: %d frames, confidence %.2f on average", path, len(tracked.motion), tracked.confidence.mean())
        return tracked.motion
    content = load_content(path)
    arrays = content.columns
    if as_it_is and path.suffix == ".npz" and ("exp" in arrays or "pose" in arrays):
        return load_motion(path)
    imported = from_content(content, options)
    for note in imported.notes:
        log.info("%s: %s", path, note)
    log.info("%s: %d frames of %s", path, len(imported.motion), imported.format)
    return imported.motion


def find_window(args: argparse.Namespace) -> int | str:
    """First frame, "best" or "all".

    Raises:
        UserError: --start and --window contradict each other, or --window is none of these.
    """
    if args.window is None:
        return args.start or 0
    if args.start is not None:
        raise UserError("--start: --window says which window already; leave one of them out")
    if args.window in ("best", "all"):
        return args.window
    try:
        return int(args.window)
    except ValueError:
        raise UserError(f"--window {args.window}: use best, all or the number of a frame") from None


def style_of(extractor: StyleExtractor, motion: Motion, window: int | str) -> np.ndarray:
    """Style vector (d,) of one window or of several; says which were used."""
    length = extractor.encoder.config.n_motions
    if isinstance(window, int):
        log.info("style of frames %d to %d", window, window + length - 1)
        return extractor(motion, window)
    last = max(len(motion) - length, 0)
    starts = np.unique(np.linspace(0, last, min(last // HOP + 1, MAX_WINDOWS)).round().astype(int))
    starts = moving_windows(motion, starts, length)
    styles = np.stack([extractor(motion, int(start)) for start in starts])
    mean = styles.mean(axis=0)
    likeness = styles @ mean / np.maximum(np.linalg.norm(styles, axis=1) * np.linalg.norm(mean), 1e-12)
    if window == "all":
        log.info("mean style of %d windows between frames 0 and %d; likeness to it %.2f to %.2f (cosine)",
                 len(starts), starts[-1] + length - 1, likeness.min(), likeness.max())  # fmt: skip
        return mean.astype(styles.dtype)
    best = int(likeness.argmax())
    log.info("style of frames %d to %d, of %d windows the one most like their mean (cosine %.2f)",
             starts[best], starts[best] + length - 1, len(starts), likeness[best])  # fmt: skip
    return styles[best]


def moving_windows(motion: Motion, starts: np.ndarray, length: int) -> np.ndarray:
    """The windows in which the face moves about as much as usual: without the pauses."""
    face = np.concatenate([motion.exp, motion.pose[:, 3:4]], axis=1)
    face = face / np.maximum(face.std(axis=0), 1e-6)
    moved = np.array([face[start : start + length].std(axis=0).mean() for start in starts])
    return starts[moved >= MOVING * np.median(moved)]


@cli
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    window, options = find_window(args), import_options(args)
    name = Path(args.output)
    if name.suffix != ".npy":
        raise UserError(f"--output {name}: must end in .npy")
    checkpoint = find_checkpoint("SE", args.exp_name, args.iter)
    motion = read_motion(args.coef, options)
    if args.exp_name == DEFAULT_EXPERIMENT and motion.head_model.startswith("FLAME"):
        log.warning("%s: are FLAME's coefficients, but this style encoder knows the open head's: the style will mean "
                    "little; give --exp_name of an encoder trained on FLAME", args.coef)  # fmt: skip
    extractor = StyleExtractor.load(checkpoint, args.coef_stats, pick_device(args.device))
    style = style_of(extractor, motion, window)
    folder = ROOT / "demo" / "input" / "style" / checkpoint.parent.parent.name / checkpoint.stem
    path = name if name.is_absolute() else folder / name
    with atomic_path(path) as temporary:
        np.save(temporary, style)
    log.info("wrote %s", path)


if __name__ == "__main__":
    main()
