"""Motion npz -> video; several of them side by side with labels.

python render_motion.py motion.npz -o motion.mp4 --look skin --yaw 25
python render_motion.py smile.npz serious.npz big_mouth.npz -a speech.wav -o styles.mp4 --size 384
"""

import logging
from dataclasses import replace
from pathlib import Path

from models.app.head_film import HeadFilm
from models.heads.flame import Flame, load_flame
from utils.atomic import check_output
from utils.config import UserParser
from utils.errors import UserError, cli
from utils.media.audio import load_audio
from utils.media.panels import AUDIO_NAME
from utils.motion_file import Motion, load_motion, load_shape
from utils.rendering.looks import LOOKS, dress
from utils.rendering.renderer import RENDERERS, RenderStyle

log = logging.getLogger(__name__)


def make_parser() -> UserParser:
    parser = UserParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("motions", type=Path, nargs="+", help="npz with exp (T, 50) and pose (T, 6)")
    add("-o", "--output", type=Path, required=True, help="mp4")
    add("-a", "--audio", type=Path, help="speech (default: none, a silent video)")
    add("-c", "--coef", type=Path, help="head shape for all: npy, or npz with 'shape' (default: each motion's own)")
    add("--head", type=Path, help="FLAME pkl or npz that the coefficients belong to (default: the open head)")
    add("--labels", help="comma separated, one per motion (default: the files' names, if there are several)")
    add("--caption", nargs="?", const=AUDIO_NAME, help=f"a line of text at the bottom, in which {AUDIO_NAME} is the "
        "name of the speech's file (without a text: that name)")  # fmt: skip
    add("--columns", type=int, help="motions per row (default: up to 3 in one row, else a square)")
    add("--look", choices=LOOKS, default="clay", help="clay or, on the open head, skin (default: clay)")
    add("-t", "--texture", type=Path, help="image on the look's UVs")
    add("--size", type=int, default=640, help="pixels of each picture (default: 640)")
    add("--yaw", type=float, default=0, help="camera round the head, degrees to the person's left (default: 0)")
    add("--pitch", type=float, default=0, help="camera upwards, degrees (default: 0)")
    add(
        "--renderer",
        choices=RENDERERS,
        default="fast",
        help="fast or, with the same pictures, pyrender (default: fast)",
    )
    add("--black_bg", action="store_true", help="black background")
    add("--no_head", action="store_true", help="leave out the head motion")
    return parser


def read_motions(args) -> list[Motion]:
    """The motions with the shapes to use.

    Raises:
        UserError: unreadable files.
    """
    given = None if args.coef is None else load_shape(args.coef)
    found = []
    for path in args.motions:
        motion = load_motion(path)
        motion = motion.without_head_motion() if args.no_head else motion
        found.append(motion if given is None else replace(motion, shape=given))
    return found


def labels(args) -> list[str]:
    """A text per motion.

    Raises:
        UserError: not as many as there are motions.
    """
    if args.labels is None:
        return [path.stem.replace("_", " ") for path in args.motions] if len(args.motions) > 1 else [""]
    texts = [text.strip() for text in args.labels.split(",")]
    if len(texts) != len(args.motions):
        raise UserError(f"--labels: {len(texts)} for {len(args.motions)} motions; give one each")
    return texts


def caption(args) -> str:
    """The line at the bottom; `{audio}` in it is the name of the speech's file.

    Raises:
        UserError: it names the speech, but there is none.
    """
    text = args.caption or ""
    if AUDIO_NAME in text and args.audio is None:
        raise UserError(f"--caption {text}: there is no speech to name; give --audio, or a text")
    return text.replace(AUDIO_NAME, "" if args.audio is None else args.audio.name)


def make_film(args, flame: Flame) -> HeadFilm:
    """What draws the pictures, as the flags say."""
    look = dress(flame.head, args.look, args.texture)
    style = RenderStyle(args.size, args.black_bg, look.texture, renderer=args.renderer)
    return HeadFilm(Flame(look.head), style, args.yaw, args.pitch)


@cli
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    if args.output.suffix.lower() != ".mp4":
        raise UserError(f"--output {args.output}: must end in .mp4")
    if args.columns is not None and args.columns < 1:
        raise UserError(f"--columns {args.columns}: must be at least 1")
    check_output(args.output)
    texts, line = labels(args), caption(args)
    film, motions = make_film(args, load_flame(args.head)), read_motions(args)
    audio = None if args.audio is None else load_audio(args.audio)
    film.write_together(args.output, list(zip(texts, motions)), audio, args.columns, line)
    log.info("wrote %s", args.output)


if __name__ == "__main__":
    main()
