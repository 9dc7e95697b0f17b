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

from models.app.style_files import read_motion, style_of
from models.generation.style_extractor import StyleExtractor
from utils.atomic import atomic_path
from utils.config import UserParser
from utils.devices import pick_device
from utils.errors import UserError, cli
from utils.runs.run_dir import DEFAULT_EXPERIMENT, ROOT, find_checkpoint
from utils.trackers.flags import add_import_flags, import_options

log = logging.getLogger(__name__)


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


@cli
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    window, options = find_window(args), import_options(args)
    name = Path(args.output)
    if name.suffix != ".npy":
        raise UserError(f"--output {name}: must end in .npy")
    checkpoint = find_checkpoint("SE", args.exp_name, args.iter)
    motion = read_motion(args.coef, options)
    if args.exp_name == DEFAULT_EXPERIMENT and motion.is_flame:
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
