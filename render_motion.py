"""Motion npz -> video; several of them side by side with labels.

python render_motion.py motion.npz -o motion.mp4 --look skin --yaw 25
python render_motion.py smile.npz serious.npz big_mouth.npz -a speech.wav -o styles.mp4 --size 384
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from models.flame import Flame, load_flame
from models.head_film import HeadFilm, vertices
from utils.atomic import check_output
from utils.audio import load_audio
from utils.config import UserParser
from utils.errors import UserError, cli
from utils.looks import LOOKS, dress, pivot, seen_from
from utils.motion_file import Motion, load_motion, load_shape
from utils.panels import Panel, captioned, side_by_side
from utils.timebase import FPS, SAMPLE_RATE

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
    add("--caption", help="a line of text at the bottom")
    add("--columns", type=int, help="motions per row (default: up to 3 in one row, else a square)")
    add("--look", choices=LOOKS, default="clay", help="clay or, on the open head, skin (default: clay)")
    add("-t", "--texture", type=Path, help="image on the look's UVs")
    add("--size", type=int, default=640, help="pixels of each picture (default: 640)")
    add("--yaw", type=float, default=0, help="camera round the head, degrees to the person's left (default: 0)")
    add("--pitch", type=float, default=0, help="camera upwards, degrees (default: 0)")
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
        shape = given if given is not None else motion.shape
        pose = motion.pose * np.array([0, 0, 0, 1, 1, 1], np.float32) if args.no_head else motion.pose
        found.append(replace(motion, pose=pose, shape=np.zeros(100, np.float32) if shape is None else shape))
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


def pictures(args, flame: Flame, motion: Motion) -> Iterator[np.ndarray]:
    """The frames of one motion, uint8 (size, size, 3)."""
    from utils.renderer import RenderStyle

    look = dress(flame.head, args.look, args.texture)
    film = HeadFilm(Flame(look.head), RenderStyle(args.size, args.black_bg, look.texture))
    centre = pivot(flame.head)
    for chunk in vertices(flame, motion):
        yield from film.renderer.frames(seen_from(chunk, centre, args.yaw, args.pitch))


def write(args, motions: list[Motion], flame: Flame) -> None:
    """Draw and encode."""
    from utils.media import write_video

    audio = None if args.audio is None else load_audio(args.audio)
    n_frames = max(map(len, motions))
    panels = [Panel(pictures(args, flame, m), text) for m, text in zip(motions, labels(args))]
    frames = side_by_side(panels, args.columns, args.black_bg)
    if args.caption:
        frames = captioned(frames, args.caption, args.black_bg)
    with tqdm(frames, total=n_frames, desc=f"rendering {args.output.name}", unit="frame") as shown:
        write_video(args.output, shown, n_frames, FPS, audio, SAMPLE_RATE)


@cli
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    if args.output.suffix.lower() != ".mp4":
        raise UserError(f"--output {args.output}: must end in .mp4")
    if args.columns is not None and args.columns < 1:
        raise UserError(f"--columns {args.columns}: must be at least 1")
    check_output(args.output)
    labels(args)
    seen_from(np.zeros((1, 3)), np.zeros(3), args.yaw, args.pitch)  # angles out of range show at once
    write(args, read_motions(args), load_flame(args.head))
    log.info("wrote %s", args.output)


if __name__ == "__main__":
    main()
