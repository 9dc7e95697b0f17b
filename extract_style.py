"""Motion npz -> style vector, for `demo.py --style`.

python extract_style.py -c motion.npz -o mine.npy
python extract_style.py --exp_name SE_NAME --iter 26000 -c motion.npz -o mine.npy -s 50
"""

import logging
from pathlib import Path

import numpy as np

from models.animator import StyleExtractor
from utils.atomic import atomic_path
from utils.config import UserParser
from utils.errors import UserError, cli
from utils.motion_file import load_motion
from utils.run_dir import DEFAULT_EXPERIMENT, ROOT, find_checkpoint
from utils.runtime import pick_device

log = logging.getLogger(__name__)


def make_parser() -> UserParser:
    parser = UserParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--exp_name", default=DEFAULT_EXPERIMENT, help="style encoder in experiments/SE, or a prefix of its name")
    add("--iter", type=int, help="iteration of the checkpoint (default: the last)")
    add("-c", "--coef", required=True, type=Path, help="motion npz with exp (T, 50) and pose (T, 6)")
    add("-o", "--output", required=True, help="npy, in demo/input/style/<SE exp>/<iter>/ unless absolute")
    add("-s", "--start", type=int, default=0, help="first frame of the window used (default: 0)")
    add("--coef_stats", type=Path, help="statistics npz, for published checkpoints")
    add("--device", default="auto", help="cuda, cpu or auto (default: auto)")
    return parser


@cli
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    name = Path(args.output)
    if name.suffix != ".npy":
        raise UserError(f"--output {name}: must end in .npy")
    checkpoint = find_checkpoint("SE", args.exp_name, args.iter)
    motion = load_motion(args.coef)
    extractor = StyleExtractor.load(checkpoint, args.coef_stats, pick_device(args.device))
    style = extractor(motion, args.start)
    folder = ROOT / "demo" / "input" / "style" / checkpoint.parent.parent.name / checkpoint.stem
    path = name if name.is_absolute() else folder / name
    with atomic_path(path) as temporary:
        np.save(temporary, style)
    log.info("wrote %s", path)


if __name__ == "__main__":
    main()
