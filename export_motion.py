"""Motion npz -> Live Link Face csv, GLB, USD, npz for FLAME tools, OBJ or PLY sequences, csv.

python export_motion.py motion.npz
python export_motion.py motion.npz --format livelink,glb -o take.glb --audio speech.wav
"""

import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out
import utils.startup  # noqa: F401  # isort: skip

from models.app.head_film import LookFlags
from models.app.recording import Recording
from models.exports.formats import FORMATS, ExportOptions
from models.exports.motion_export import check_foreign, export, files_of, parse_formats
from models.heads.flame import load_flame
from models.mixing.config import MixerConfig
from models.mixing.mixer import Mixer
from utils.atomic import check_apart
from utils.config import check_least, flag, paths_of, positional, read_flags
from utils.errors import UserError, cli
from utils.media.audio import SoundPart
from utils.media.motion_length import check_length, from_rate
from utils.motion_file import Motion, load_motion, load_shape
from utils.timebase import FPS, samples_per_frame

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportMotionFlags:
    """All flags of the program."""

    motion: Path = positional()
    """npz with exp (T, 50) and pose (T, 6), as demo.py --save_coef writes."""
    format: str = flag("glb,livelink", "-f", known=tuple(FORMATS))
    """Comma separated: {known}, or all (default: glb,livelink)."""
    output: Path | None = flag(None, "-o")
    """Path of the files; an ending is removed (default: the motion's path)."""
    motion_fps: float | None = None
    """Frames per second of the motion (default: 25, which the speech's length must confirm)."""
    coef: Path | None = flag(None, "-c")
    """Head shape: npy, or npz with 'shape' (default: the motion's own, else the average head)."""
    head: Path | None = None
    """FLAME pkl or npz that the coefficients belong to (default: the open head)."""
    audio: Path | None = flag(None, "-a")
    """Speech, written as a wav beside glb and usd."""
    audio_track: int | None = None
    """Number of the audio track, from 1 (default: the first that is not silent)."""
    fps: float = FPS
    """Frames per second of the files."""
    match: Path | None = None
    """Landmarks for livelink of a FLAME head without any: flame_static_embedding.pkl, or npz with lmk68, or with
    open_head and head (docs/exports.md)."""
    no_head: bool = False
    """Leave out the head motion."""
    looks: LookFlags = LookFlags()
    """look, in glb and usd"""
    mix: MixerConfig = MixerConfig()
    """mixer (docs/mixer.md)"""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        check_least(self, audio_track=1)


def read_motion(flags: ExportMotionFlags) -> Motion:
    """The motion with the shape to use, and without head rotation if --no_head is given.

    Raises:
        UserError: unreadable files.
    """
    motion = from_rate(load_motion(flags.motion), FPS if flags.motion_fps is None else flags.motion_fps)
    if flags.coef is not None:
        motion = replace(motion, shape=load_shape(flags.coef, open_head=flags.head is None))
    return motion.without_head_motion() if flags.no_head else motion


def output_stem(flags: ExportMotionFlags) -> Path:
    """The path of `-o`, or of the motion, without its ending.

    Raises:
        UserError: `-o` is a folder.
    """
    out = flags.output or flags.motion
    if out.is_dir():
        raise UserError(f"--output {out}: is a folder; give a name in it, such as {out / flags.motion.stem}")
    known = {".usd", ".mp4", ".wav"} | {row.suffix for row in FORMATS.values()}
    return out.with_suffix("") if out.suffix.lower() in known else out


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(ExportMotionFlags, argv, (__doc__ or " ").splitlines()[0])
    formats, out = parse_formats(flags.format), output_stem(flags)
    files = [file for file in files_of(out, formats) if flags.audio is not None or file.suffix != ".wav"]
    check_foreign(files)
    check_apart(files, [path for name, paths in paths_of(flags) if name != "output" for path in paths])
    motion, flame = read_motion(flags), load_flame(flags.head)
    heard = None if flags.audio is None else Recording.read(flags.audio, SoundPart(flags.audio_track))
    if heard is not None:
        advice = "" if flags.motion_fps else "give --motion_fps {fps} if that is right, or other speech"
        check_length(len(motion), heard.scale.n_samples / samples_per_frame(), str(flags.motion), advice)
    audio = None if heard is None else heard.sound()
    motion = Mixer(flags.mix, flame.head).push(motion)
    look = flags.looks.dress(flame.head, motion.shape)
    options = ExportOptions(flags.fps, look.texture, look.head, look.dressed, audio, flags.match)
    for path in export(motion, flame, formats, out, options):
        log.info("wrote %s", path)


if __name__ == "__main__":
    main()
