"""My style on another voice: a few seconds of somebody's motion + anybody's speech -> a video.

    python -m examples.my_style_on_another_voice
    python -m examples.my_style_on_another_voice me.npz speech.wav -o mine.mp4 --export glb,livelink

The motion is an npz of ours (`demo.py --save_coef`), a Live Link Face csv from a phone, or a MediaPipe table: 4 seconds
or more. Without arguments: a bundled motion and recording, into demo/output.
"""

from __future__ import annotations

import logging
from pathlib import Path

from models.app.bundled import INPUT, OUTPUT
from models.app.head_film import HeadFilm
from models.app.sampling_flags import FEW_STEPS, own_sampling
from models.app.style_files import encoder_of, style_from_file
from models.exports.formats import ExportOptions
from models.exports.motion_export import export, parse_formats
from models.generation.animator import Animator
from models.heads.flame import Flame, load_flame
from models.networks.person import Person
from utils.config import UserParser
from utils.devices import pick_device
from utils.errors import cli
from utils.media.audio import load_audio
from utils.media.video import check_video_path
from utils.rendering.looks import dress
from utils.rendering.renderer import RenderStyle
from utils.runs.run_dir import DEFAULT_EXPERIMENT, find_checkpoint

log = logging.getLogger(__name__)
MOTION = INPUT / "motion" / "large_head_movements.npz"
SPEECH = INPUT / "audio" / "sphinx_cards_005.flac"


def make_parser() -> UserParser:
    parser = UserParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("motion", type=Path, nargs="?", default=MOTION, help="whose style is taken (default: a bundled motion)")
    add("speech", type=Path, nargs="?", default=SPEECH, help="who speaks (default: a bundled recording)")
    add("-o", "--output", type=Path, default=OUTPUT / "my_style.mp4", help="mp4 (default: in demo/output)")
    add("--export", help="also glb,livelink,... beside the video (docs/exports.md)")
    add("--seed", type=int, default=0, help="of the sample (default: 0)")
    add("--steps", type=int, default=FEW_STEPS, help=f"of the sampler (default: {FEW_STEPS})")
    add("--size", type=int, default=512, help="pixels of the picture (default: 512)")
    return parser


@cli
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    check_video_path(args.output)
    formats = parse_formats(args.export) if args.export else ()

    # The model, and the style encoder that it was trained with.
    animator = Animator.load(find_checkpoint("DPT", DEFAULT_EXPERIMENT, None), None, pick_device("auto"))
    style, mine = style_from_file(args.motion, encoder_of(animator))

    # What draws; a machine without OpenGL shows at once.
    head = load_flame(None)
    look = dress(head.head, "skin")
    film = HeadFilm(Flame(look.drawn), RenderStyle(args.size, texture=look.texture))

    # Speech in this style, on the same person's head if the file says what it looks like.
    speech, config = load_audio(args.speech), own_sampling(animator.model.config, args.steps)
    (motion,) = animator(speech, Person(mine.shape_or_average, style), config, [args.seed])

    # The video, and the files for other programs.
    film.write(args.output, [motion], len(motion), speech, f"{args.speech.name}, style of {args.motion.name}")
    options = ExportOptions(texture=look.texture, drawn_head=look.head, dressed=look.dressed, audio=speech)
    for path in [args.output, *export(motion, head, formats, args.output.with_suffix(""), options)]:
        log.info("wrote %s", path)


if __name__ == "__main__":
    main()
