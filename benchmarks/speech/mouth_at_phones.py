"""Does the mouth do what the words need? Lips shut at p, b, m; open at open vowels. On real recordings.

For coefficients that exist already, of this system or another: one npz per recording, named like it, as
`demo.py --save_coef` writes. The phones come from forced alignment of the recordings with their transcripts (align.py).
real_speech.py generates several samples and measures more.

    python -m benchmarks.speech.mouth_at_phones --coefs FOLDER [--audio demo/input/audio] [--json out.json]
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.report import Flags, column, read_flags, table, write_json
from benchmarks.speech.alignment import align_phones, read_transcripts
from models.heads.flame import Flame, load_flame
from models.heads.mouth import opening_mm
from utils.errors import UserError, cli
from utils.media.audio import load_audio
from utils.motion_file import load_motion
from utils.speech import Phone

CLOSED = frozenset(["p", "b", "m"])
OPEN = frozenset(["aa", "ae", "ah", "ao", "aw", "ay"])


@dataclass(frozen=True)
class Rule:
    """What counts as a closure."""

    closed_mm: float = 1.0
    """Largest opening that passes for shut lips, mm."""
    tolerance: int = 1
    """Video frames before and after the phone in which the closure may lie."""


@dataclass(frozen=True)
class MouthScore:
    """Measured on one recording, or pooled over several."""

    name: str = column("recording")
    closures_expected: int = column("p/b/m")
    closures_found: int = column("shut")
    opening_at_closures_mm: float = column("at p/b/m mm", "{:.2f}")
    """Mean over p/b/m of the smallest opening near each; NaN without any."""
    open_vowels: int = column("vowels")
    opening_at_vowels_mm: float = column("at vowels mm", "{:.2f}")
    """Mean over open vowels of the mean opening during each; NaN without any."""
    correlation: float = column("corr.", "{:.2f}")
    """Pearson, opening against a 0/1 track (0 at p/b/m, 1 at open vowels) on those frames; NaN if undefined."""


def near(phone: Phone, opening: np.ndarray, tolerance: int) -> np.ndarray:
    """Openings (k,) on the phone's frames and `tolerance` frames around them; empty beyond the clip."""
    frames = phone.frames()
    return opening[max(frames.start - tolerance, 0) : max(frames.stop + tolerance, 0)]


def score(name: str, phones: list[Phone], opening: np.ndarray, rule: Rule) -> MouthScore:
    """phones, opening (T,) in mm at 25 fps -> MouthScore. Phones beyond the end of the motion are not counted."""
    shut = [piece.min() for p in phones if p.name in CLOSED and len(piece := near(p, opening, rule.tolerance))]
    wide = [piece.mean() for p in phones if p.name in OPEN and len(piece := near(p, opening, 0))]
    found = sum(float(value) <= rule.closed_mm for value in shut)
    mean = [float(np.mean(values)) if values else math.nan for values in (shut, wide)]
    return MouthScore(name, len(shut), found, mean[0], len(wide), mean[1], _contrast(phones, opening))


def _contrast(phones: list[Phone], opening: np.ndarray) -> float:
    values, target = [], []
    for phone in phones:
        if phone.name in CLOSED | OPEN:
            piece = near(phone, opening, 0)
            values.extend(piece)
            target.extend([float(phone.name in OPEN)] * len(piece))
    if len(values) < 3 or np.std(values) < 1e-9 or np.std(target) < 1e-9:
        return math.nan
    return float(np.corrcoef(values, target)[0, 1])


def pool(scores: list[MouthScore]) -> MouthScore:
    """One score over all recordings: counts add up, openings are means over phones, correlations over recordings."""

    def mean(field: str, weight: str) -> float:
        values = [getattr(s, field) for s in scores if getattr(s, weight)]
        weights = [getattr(s, weight) for s in scores if getattr(s, weight)]
        return float(np.average(values, weights=weights)) if values else math.nan

    known = [s.correlation for s in scores if not math.isnan(s.correlation)]
    return MouthScore(
        "all",
        sum(s.closures_expected for s in scores),
        sum(s.closures_found for s in scores),
        mean("opening_at_closures_mm", "closures_expected"),
        sum(s.open_vowels for s in scores),
        mean("opening_at_vowels_mm", "open_vowels"),
        float(np.mean(known)) if known else math.nan,
    )


def read_opening(path: Path, flame: Flame) -> np.ndarray:
    """Coefficients npz with exp, pose and shape -> mouth opening (T,) in mm, head still.

    Raises:
        UserError: unreadable file, missing arrays or wrong sizes.
    """
    motion = load_motion(path)
    if motion.shape is None:
        raise UserError(f"{path}: has no 'shape', which the mouth opening depends on; use demo.py --save_coef")
    return opening_mm(flame, motion)


def score_folder(coefs: Path, audio: Path, rule: Rule, head: Path | None = None) -> list[MouthScore]:
    """Score every recording of `audio`/transcripts.tsv that has a coefficient file in `coefs`.

    Raises:
        UserError: nothing to score, or a file at fault.
    """
    transcripts = read_transcripts(audio / "transcripts.tsv")
    names = [name for name in transcripts if (coefs / f"{name}.npz").is_file()]
    if not names:
        raise UserError(f"{coefs}: no npz named like a recording ({', '.join(transcripts)}); run demo.py --save_coef")
    flame = load_flame(head)
    scores = []
    for name in names:
        phones = align_phones(load_audio(recording(audio, name)), transcripts[name])
        scores.append(score(name, phones, read_opening(coefs / f"{name}.npz", flame), rule))
    return scores


def recording(folder: Path, name: str) -> Path:
    """The audio file of that stem."""
    for suffix in (".flac", ".wav"):
        if (folder / f"{name}{suffix}").is_file():
            return folder / f"{name}{suffix}"
    raise UserError(f"{folder}: no {name}.flac or .wav; transcripts.tsv lists it")


@dataclass(frozen=True, kw_only=True)
class MouthFlags(Flags):
    """What is scored."""

    coefs: Path
    """Folder of generated npz files."""
    audio: Path = Path("demo/input/audio")
    """Recordings and transcripts.tsv."""
    closed_mm: float = Rule.closed_mm
    """Largest opening of shut lips."""
    tolerance: int = Rule.tolerance
    """Frames around the phone."""
    head: Path | None = None
    """Head model; without it the open head."""


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(MouthFlags, __doc__, argv)
    rule = Rule(flags.closed_mm, flags.tolerance)
    scores = score_folder(flags.coefs, flags.audio, rule, flags.head)
    scores.append(pool(scores))
    print(f"closure: opening <= {rule.closed_mm} mm within {rule.tolerance} frames of the phone")
    print(table(scores))
    if flags.json:
        write_json(flags.json, {"rule": vars(rule), "scores": [asdict(s) for s in scores]})


if __name__ == "__main__":
    main()
