"""Example inputs: a motion clip of every named style (for extract_style.py) and a few identities.

    python -m scripts_for_dataset.make_style_clips --speech data/speech --voice flite-slt

Writes `<output>/motion/<style>.npz` (exp (n, 50), pose (n, 6), shape (n, 100), at least 8 s) and
`<output>/coef/<identity>.npy` (100,).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scripts_for_dataset.synthetic.clips import join_sentences
from scripts_for_dataset.synthetic.corpus import Row, read_rows
from scripts_for_dataset.synthetic.motion import Speech, speech_motion
from scripts_for_dataset.synthetic.style import named_style, style_names
from utils.atomic import atomic_path, write_npz
from utils.config import check_least, read_flags
from utils.errors import UserError, cli
from utils.timebase import FPS, SAMPLE_RATE

log = logging.getLogger(__name__)
MIN_SECONDS = 8.0
# Seeds of `identity.sample_shape`, named after the faces that they give; None is the mean head.
IDENTITIES = {
    "average": None, "female_young": 24, "female_slender": 32, "female_round": 7, "male_young": 34, "male_broad": 25,
    "male_narrow": 28, "male_older": 35,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StyleClipsFlags:
    """All flags of the program."""

    speech: Path
    """Folder made by make_synthetic_speech."""
    voice: str | None = None
    """Voice whose sentences are used (default: the first)."""
    output: Path = Path("demo/input")
    """Folder that gets motion/ and coef/."""
    seconds: float = 14.0
    """Length of the motion clips, at least 8."""
    seed: int = 0
    """Seed of the blinks and turns of the head."""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        check_least(self, seconds=MIN_SECONDS, seed=0)


def identities() -> dict[str, np.ndarray]:
    """Name -> shape coefficients (100,) float32."""
    from scripts_for_dataset.synthetic.identity import sample_shape
    from utils.coefs import N_SHAPE

    return {
        name: np.zeros(N_SHAPE, np.float32) if seed is None else sample_shape(np.random.default_rng(seed))
        for name, seed in IDENTITIES.items()
    }


def pick_speech(rows: list[Row], seconds: float, rng: np.random.Generator) -> Speech:
    """Sentences from the start of `rows` joined to at least `seconds`.

    Raises:
        UserError: they are not long enough.
    """
    chosen, length = [], 0.0
    for row in rows:
        chosen.append(row)
        length += row.n_samples / SAMPLE_RATE
        if length >= seconds:
            return join_sentences(tuple(chosen), rng)
    raise UserError(f"--voice: has {length:.1f} s of speech, --seconds {seconds:g} need more; choose another voice")


def style_clip(
    speech: Speech, style: str, shape: np.ndarray, close_factor: float, seed: int = 0
) -> dict[str, np.ndarray]:
    """Motion of a named style on the given speech: exp (n, 50), pose (n, 6), shape (n, 100), float32.

    The same seed gives all styles the same blinks and turns of the head, so that only the style differs.
    """
    motion = speech_motion(speech, named_style(style), np.random.default_rng(seed), close_factor)
    return motion | {"shape": np.repeat(shape[None], speech.n_frames, axis=0)}


def write_clips(flags: StyleClipsFlags) -> None:
    from models.heads.flame import Flame
    from scripts_for_dataset.synthetic.identity import close_factors
    from utils.heads.head_file import load_head_file

    rows = read_rows(flags.speech)
    voice = flags.voice or sorted(rows)[0]
    if voice not in rows:
        raise UserError(f"--voice {voice}: not in {flags.speech}; it has {', '.join(sorted(rows)[:5])} ...")
    speech = pick_speech(rows[voice], flags.seconds, np.random.default_rng(flags.seed))
    faces = identities()
    factor = float(close_factors(Flame(load_head_file()), faces["average"][None])[0])
    for style in style_names():
        path = flags.output / "motion" / f"{style}.npz"
        write_npz(path, style_clip(speech, style, faces["average"], factor, flags.seed))
        log.info("%s: %.1f s", path, speech.n_frames / FPS)
    for name, shape in faces.items():
        with atomic_path(flags.output / "coef" / f"{name}.npy") as temporary:
            np.save(temporary, shape)
    log.info("%s: %d identities", flags.output / "coef", len(faces))


@cli
def main(argv: list[str] | None = None) -> None:
    write_clips(read_flags(StyleClipsFlags, argv, __doc__ or ""))


if __name__ == "__main__":
    main()
