"""Motion npz -> Live Link Face csv, GLB, USD, npz of FLAME tools, OBJ or PLY sequence, csv.

python export_motion.py motion.npz
python export_motion.py motion.npz --format livelink,glb -o take.glb --audio speech.wav
"""

import logging
from dataclasses import replace
from pathlib import Path

from models.exports.formats import FORMATS, ExportOptions
from models.exports.motion_export import export, parse_formats
from models.heads.flame import load_flame
from utils.config import UserParser
from utils.errors import UserError, cli
from utils.media.audio import load_audio
from utils.motion_file import Motion, load_motion, load_shape
from utils.rendering.looks import LOOKS, dress
from utils.timebase import FPS

log = logging.getLogger(__name__)


def make_parser() -> UserParser:
    parser = UserParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("motion", type=Path, help="npz with exp (T, 50) and pose (T, 6), as demo.py --save_coef writes")
    add("-f", "--format", default="glb,livelink", help=f"comma separated: {', '.join(FORMATS)}, or all "
        "(default: glb,livelink)")  # fmt: skip
    add("-o", "--output", type=Path, help="path without ending, or with one, which is cut (default: the motion's name)")
    add(
        "-c", "--coef", type=Path, help="head shape: npy, or npz with 'shape' (default: the motion's own, else average)"
    )
    add("--head", type=Path, help="FLAME pkl or npz that the coefficients belong to (default: the open head)")
    add("-a", "--audio", type=Path, help="speech; a wav is put beside glb and usd")
    add("--fps", type=float, default=FPS, help=f"frames per second of the files (default: {FPS})")
    add("--look", choices=LOOKS, default="clay", help="clay: the head's own colours; skin: a painted texture, for the "
        "open head (default: clay)")  # fmt: skip
    add("-t", "--texture", type=Path, help="png or jpg on the look's UVs, for glb and usd")
    add("--match", type=Path, help="for livelink of a FLAME head without landmarks: flame_static_embedding.pkl, or npz "
        "with lmk68, or with open_head and head (docs/exports.md)")  # fmt: skip
    add("--no_head", action="store_true", help="leave out the head motion")
    return parser


def read_motion(args) -> Motion:
    """The motion with the shape to use, without head rotation if that is asked for.

    Raises:
        UserError: unreadable files.
    """
    motion = load_motion(args.motion)
    if args.coef is not None:
        motion = replace(motion, shape=load_shape(args.coef))
    return motion.without_head_motion() if args.no_head else motion


def output_stem(args) -> Path:
    """`-o` or the motion's path, without ending.

    Raises:
        UserError: `-o` is a folder.
    """
    out = args.output or args.motion
    if out.is_dir():
        raise UserError(f"--output {out}: is a folder; give a name in it, such as {out / args.motion.stem}")
    known = {".usd", ".mp4", ".wav"} | {row.suffix for row in FORMATS.values()}
    return out.with_suffix("") if out.suffix.lower() in known else out


@cli
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    formats, out = parse_formats(args.format), output_stem(args)
    motion, flame = read_motion(args), load_flame(args.head)
    audio = None if args.audio is None else load_audio(args.audio)
    look = dress(flame.head, args.look, args.texture)
    options = ExportOptions(args.fps, look.texture, look.head, audio, args.match)
    for path in export(motion, flame, formats, out, options):
        log.info("wrote %s", path)


if __name__ == "__main__":
    main()
