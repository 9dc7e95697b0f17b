"""One speech in eight styles, side by side in one video: the bundled ones, or one of your own in place of natural.

    python -m examples.one_speech_in_eight_styles
    python -m examples.one_speech_in_eight_styles speech.wav --motion me.npz -o styles.mp4

Every head starts from the same noise, so what differs is the style. Without arguments: a bundled recording, into
demo/output.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from models.app.bundled import INPUT, OUTPUT, style_files_of
from models.app.head_film import HeadFilm
from models.app.sampling_flags import FEW_STEPS, own_sampling
from models.app.style_files import encoder_of, style_from_file
from models.generation.animator import Animator
from models.heads.flame import Flame, load_flame
from models.networks.person import Person
from utils.config import flag, positional, read_flags
from utils.devices import pick_device
from utils.errors import cli
from utils.media.audio import load_audio, own_sound
from utils.media.video import check_video_path
from utils.motion_file import load_style
from utils.rendering.looks import dress
from utils.rendering.renderer import RenderStyle
from utils.runs.run_dir import DEFAULT_EXPERIMENT, find_checkpoint

log = logging.getLogger(__name__)
SPEECH = INPUT / "audio" / "sphinx_cards_005.flac"
COLUMNS = 4


@dataclass(frozen=True)
class StylesFlags:
    """All flags."""

    speech: Path = positional(SPEECH)
    """Recording to animate (default: a bundled one)."""
    motion: Path | None = flag(None, "-m")
    """Motion whose style is shown instead of natural."""
    output: Path = flag(OUTPUT / "eight_styles.mp4", "-o")
    """The video, mp4."""
    seed: int = 0
    """Seed of all samples."""
    steps: int = FEW_STEPS
    """Sampling steps."""
    size: int = 320
    """Pixels of each picture."""


def styles_of(animator: Animator, motion: Path | None) -> dict[str, np.ndarray]:
    """Label -> style vector.

    Raises:
        UserError: the motion cannot be used.
    """
    folder = style_files_of(animator.model.config.style_enc_ckpt)
    size = animator.model.config.d_style
    styles = {path.stem.replace("_", " "): load_style(path, size) for path in sorted(folder.glob("*.npy"))}
    if motion is None:
        return styles
    del styles["natural"]
    return styles | {motion.stem: style_from_file(motion, encoder_of(animator))[0]}


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(StylesFlags, argv, (__doc__ or " ").splitlines()[0])
    check_video_path(flags.output)
    animator = Animator.load(find_checkpoint("DPT", DEFAULT_EXPERIMENT, None), None, pick_device("auto"))
    styles, speech = styles_of(animator, flags.motion), load_audio(flags.speech)

    look = dress(load_flame(None).head, "skin")
    film = HeadFilm(Flame(look.drawn), RenderStyle(flags.size, texture=look.texture))

    config, average = own_sampling(animator.model.config, flags.steps), np.zeros(100, np.float32)
    takes = []
    for label, style in tqdm(styles.items(), desc="generating", unit="style"):
        takes += [(label, animator(speech, Person(average, style), config, [flags.seed])[0])]
    film.write_together(flags.output, takes, own_sound(flags.speech), COLUMNS, caption=flags.speech.name)
    log.info("wrote %s", flags.output)


if __name__ == "__main__":
    main()
