"""My style on another voice: a few seconds of a person's motion + any speech -> a video.

    python -m examples.my_style_on_another_voice
    python -m examples.my_style_on_another_voice me.npz speech.wav -o mine.mp4 --export glb,livelink

The motion is an npz of ours (`demo.py --save_coef`), a Live Link Face csv from a phone, or a MediaPipe table: 4 seconds
or more. Without arguments: a bundled motion and recording, into demo/output.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from models.app.bundled import INPUT, OUTPUT
from models.app.head_film import HeadFilm
from models.app.sampling_flags import FEW_STEPS, own_sampling
from models.app.style_files import encoder_of, style_from_file
from models.exports.formats import ExportOptions
from models.exports.motion_export import check_foreign, export, files_of, parse_formats
from models.generation.animator import Animator
from models.heads.flame import Flame, load_flame
from models.networks.person import Person
from utils.atomic import check_apart
from utils.config import flag, positional, read_flags
from utils.devices import pick_device
from utils.errors import cli
from utils.media.audio import load_audio, own_sound
from utils.media.video import check_video_path
from utils.rendering.looks import dress
from utils.rendering.renderer import RenderStyle
from utils.runs.run_dir import DEFAULT_EXPERIMENT, find_checkpoint

log = logging.getLogger(__name__)
MOTION = INPUT / "motion" / "large_head_movements.npz"
SPEECH = INPUT / "audio" / "sphinx_cards_005.flac"


@dataclass(frozen=True)
class VoiceFlags:
    """All flags."""

    motion: Path = positional(MOTION)
    """Motion that gives the style (default: a bundled one)."""
    speech: Path = positional(SPEECH)
    """Recording to animate (default: a bundled one)."""
    output: Path = flag(OUTPUT / "my_style.mp4", "-o")
    """The video, mp4."""
    export: str | None = None
    """Formats to write besides the video, such as glb,livelink (docs/exports.md)."""
    seed: int = 0
    """Seed of the sample."""
    steps: int = FEW_STEPS
    """Sampling steps."""
    size: int = 512
    """Pixels of the picture."""


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(VoiceFlags, argv, (__doc__ or " ").splitlines()[0])
    check_video_path(flags.output)
    formats = parse_formats(flags.export) if flags.export else ()
    beside = files_of(flags.output.with_suffix(""), formats)
    check_apart([flags.output, *beside], [flags.motion, flags.speech])
    check_foreign(beside)

    # The model, and the style encoder that it was trained with.
    animator = Animator.load(find_checkpoint("DPT", DEFAULT_EXPERIMENT, None), None, pick_device("auto"))
    style, mine = style_from_file(flags.motion, encoder_of(animator))

    # The renderer comes early, so that a missing OpenGL is reported at once.
    head = load_flame(None)
    look = dress(head.head, "skin")
    film = HeadFilm(Flame(look.drawn), RenderStyle(flags.size, texture=look.texture))

    # Speech in this style, on the same person's head if the file says what it looks like.
    speech, config = load_audio(flags.speech), own_sampling(animator.model.config, flags.steps)
    (motion,) = animator(speech, Person(mine.shape_or_average, style), config, [flags.seed])

    # The video, and the files for other programs.
    film.write(
        flags.output,
        [motion],
        len(motion),
        own_sound(flags.speech),
        f"{flags.speech.name}, style of {flags.motion.name}",
    )
    options = ExportOptions(
        texture=look.texture, drawn_head=look.head, dressed=look.dressed, audio=own_sound(flags.speech)
    )
    for path in [flags.output, *export(motion, head, formats, flags.output.with_suffix(""), options)]:
        log.info("wrote %s", path)


if __name__ == "__main__":
    main()
