"""Motion npz -> video; several motions side by side with labels.

python render_motion.py motion.npz -o motion.mp4 --look skin --yaw 25
python render_motion.py smile.npz serious.npz big_mouth.npz -a speech.wav -o styles.mp4 --size 384
"""

import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out
import utils.startup  # noqa: F401  # isort: skip

import numpy as np

from models.app.head_film import HeadFilm, LookFlags
from models.app.recording import Recording
from models.heads.flame import Flame, load_flame
from models.mixing.config import MixerConfig
from models.mixing.mixer import Mixer
from utils.atomic import check_output
from utils.config import check_least, flag, positional, read_flags, required
from utils.errors import UserError, cli
from utils.exports.arkit import warn_of_other_head
from utils.media.audio import SoundPart
from utils.media.motion_length import check_length, from_rate
from utils.media.panels import AUDIO_NAME
from utils.motion_file import Motion, load_motion, load_shape
from utils.rendering.renderer import RENDERERS, RenderStyle
from utils.timebase import FPS, samples_per_frame

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RenderFlags:
    """All flags of the program."""

    motions: tuple[Path, ...] = positional()
    """npz with exp (T, 50) and pose (T, 6)."""
    output: Path = required("-o")
    """mp4."""
    audio: Path | None = flag(None, "-a")
    """Speech (default: a silent video)."""
    motion_fps: float | None = None
    """Frames per second of the motions (default: 25, which the speech's length must confirm)."""
    audio_track: int | None = None
    """Number of the audio track, from 1 (default: the first that is not silent)."""
    coef: Path | None = flag(None, "-c")
    """Head shape of all motions: npy, or npz with 'shape' (default: each motion's own)."""
    head: Path | None = None
    """FLAME pkl or npz that the coefficients belong to (default: the open head)."""
    labels: str | None = None
    """Comma separated labels, one per motion (default: the files' names, if there are several)."""
    caption: str = flag("", const=AUDIO_NAME)
    """A line of text at the bottom; {audio} in it becomes the name of the speech's file (without a text: that name)."""
    columns: int | None = None
    """Motions per row (default: up to 3 in one row, more in a square)."""
    size: int = 640
    """Width and height of each picture, pixels."""
    yaw: float = 0
    """Turn of the camera around the head, degrees towards the person's left."""
    pitch: float = 0
    """Turn of the camera upwards, degrees."""
    renderer: str = flag("fast", choices=RENDERERS)
    """fast, or pyrender, which draws the same pictures."""
    black_bg: bool = False
    """Black background."""
    no_head: bool = False
    """Leave out the head motion."""
    looks: LookFlags = LookFlags()
    """look"""
    mix: MixerConfig = MixerConfig()
    """mixer (docs/mixer.md)"""

    def check(self) -> None:
        """Raises UserError for an output that is not mp4, or fewer than 1 column."""
        if self.output.suffix.lower() != ".mp4":
            raise UserError(f"--output {self.output}: must end in .mp4")
        check_least(self, columns=1, audio_track=1)


def read_motions(flags: RenderFlags) -> list[Motion]:
    """The motions with the shapes to use.

    Raises:
        UserError: unreadable files.
    """
    given = None if flags.coef is None else load_shape(flags.coef, open_head=flags.head is None)
    found = []
    for path in flags.motions:
        motion = from_rate(load_motion(path), FPS if flags.motion_fps is None else flags.motion_fps)
        motion = motion.without_head_motion() if flags.no_head else motion
        found.append(motion if given is None else replace(motion, shape=given))
    return found


def labels(flags: RenderFlags) -> list[str]:
    """One label per motion.

    Raises:
        UserError: another number of labels than of motions.
    """
    if flags.labels is None:
        return [path.stem.replace("_", " ") for path in flags.motions] if len(flags.motions) > 1 else [""]
    texts = [text.strip() for text in flags.labels.split(",")]
    if len(texts) != len(flags.motions):
        raise UserError(f"--labels: {len(texts)} labels for {len(flags.motions)} motions; give one each")
    return texts


def caption(flags: RenderFlags) -> str:
    """The caption; `{audio}` in it becomes the name of the speech's file.

    Raises:
        UserError: it names the speech, but there is none.
    """
    text = flags.caption
    if AUDIO_NAME in text and flags.audio is None:
        raise UserError(f"--caption {text}: there is no speech to name; give --audio, or a text")
    return text.replace(AUDIO_NAME, "" if flags.audio is None else flags.audio.name)


def make_film(flags: RenderFlags, flame: Flame, shape: np.ndarray | None) -> HeadFilm:
    """The renderer that the flags describe; skin and hair go by default with the head `shape` (100,)."""
    look = flags.looks.dress(flame.head, shape)
    style = RenderStyle(flags.size, flags.black_bg, look.texture, renderer=flags.renderer)
    return HeadFilm(Flame(look.drawn), style, flags.yaw, flags.pitch)


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(RenderFlags, argv, (__doc__ or " ").splitlines()[0])
    check_output(flags.output)
    texts, line = labels(flags), caption(flags)
    motions = read_motions(flags)
    flame = load_flame(flags.head)
    for motion in motions:
        warn_of_other_head(motion, flame.head)
    motions = [Mixer(flags.mix, flame.head).push(motion) for motion in motions]
    heard = None if flags.audio is None else Recording.read(flags.audio, SoundPart(flags.audio_track))
    if heard is not None:
        longest = max(motions, key=len)
        advice = "" if flags.motion_fps else "give --motion_fps {fps} if that is right, or other speech"
        check_length(len(longest), heard.scale.n_samples / samples_per_frame(), longest.source, advice)
    film = make_film(flags, flame, motions[0].shape)
    audio = None if heard is None else heard.sound()
    film.write_together(flags.output, list(zip(texts, motions)), audio, flags.columns, line)
    log.info("wrote %s", flags.output)


if __name__ == "__main__":
    main()
