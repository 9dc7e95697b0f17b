"""Real recordings through a model: are the lips shut at p, b, m, open at vowels, and in time?

    python -m benchmarks.speech.real_speech [--exp_name embedded] [--iter N] [--samples 10] [--json out.json]
    python -m benchmarks.speech.real_speech --coefs FOLDER [--closed_mm 1] [--tolerance 1]

Every recording of transcripts.tsv is force-aligned (alignment.py), animated `--samples` times in the style normal, and
scored (speech_scores.py has the formulas). Quick look: --samples 2. Other recordings: --audio FOLDER, which holds wav
or flac files and a transcripts.tsv of `file<TAB>words` lines under a heading. `--coefs` scores motion that exists
already, of this system or another: one npz per recording, named like it, as `demo.py --save_coef` writes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.report import Spread, read_flags, table, text_table, write_json
from benchmarks.speech.speech_scores import (
    CLOSED_MM,
    MEASURES,
    Clip,
    ClipScore,
    MouthScore,
    pool,
    pool_mouths,
    score_clip,
    score_mouth,
    summary,
    viseme_track,
)
from benchmarks.subject import INPUT, ModelFlags, Session, Subject
from models.generation.windows import GenerationConfig
from models.heads.flame import Flame, load_flame
from models.heads.mouth import opening_mm
from models.metrics.lips import ClosureRule
from utils.errors import UserError, cli
from utils.media.alignment import align_phones, read_transcripts
from utils.media.audio import load_audio
from utils.motion_file import Motion, load_motion
from utils.reports.wording import counted

COLUMNS = ("recall_1", "chance_1", "recall_2", "chance_2", "vowel_mm", "correlation", "lag", "energy_correlation")
PERCENT = frozenset(["recall_1", "recall_2", "chance_1", "chance_2"])


@dataclass(frozen=True, kw_only=True)
class SpeechFlags(ModelFlags):
    """What is generated."""

    samples: int = 10
    """Samples of each clip."""
    audio: Path = INPUT / "audio"
    """Folder of recordings and transcripts.tsv."""
    recordings: str | None = None
    """Only these, comma separated."""
    style: str = "normal"
    """Bundled style."""
    coefs: Path | None = None
    """Instead of generating: folder of npz files."""
    closed_mm: float = ClosureRule.closed_mm
    """With --coefs: largest opening of shut lips."""
    tolerance: int = ClosureRule.tolerance
    """With --coefs: frames around the phone."""
    head: Path | None = None
    """With --coefs: head model; without it the open head."""


def recording(folder: Path, name: str) -> Path:
    """The audio file of that stem."""
    for suffix in (".flac", ".wav"):
        if (folder / f"{name}{suffix}").is_file():
            return folder / f"{name}{suffix}"
    raise UserError(f"{folder}: no {name}.flac or .wav; transcripts.tsv lists it")


def read_clips(folder: Path, recordings: str | None = None) -> list[Clip]:
    """Align every recording of the folder's transcripts.tsv, or those named, which commas separate.

    Raises:
        UserError: no list, an unknown name, or a recording that does not fit its words.
    """
    transcripts = read_transcripts(folder / "transcripts.tsv")
    names = recordings.split(",") if recordings else list(transcripts)
    unknown = [name for name in names if name not in transcripts]
    if unknown or not transcripts:
        raise UserError(
            f"--recordings {unknown[0] if unknown else folder}: not in transcripts.tsv; it has {', '.join(transcripts)}"
        )
    clips = []
    for name in names:
        audio = load_audio(recording(folder, name))
        clips.append(Clip(name, audio, align_phones(audio, transcripts[name])))
    return clips


def run_clip(subject: Subject, clip: Clip, style: str, config: GenerationConfig, samples: int) -> list[ClipScore]:
    """All samples of a clip, scored."""
    return score_motions(subject, clip, subject.motions(clip.audio, subject.style(style), config, samples))


def score_motions(subject: Subject, clip: Clip, motions: list[Motion]) -> list[ClipScore]:
    """Score the samples of a clip."""
    truth = viseme_track(clip, subject.flame, subject.shape)
    return [score_clip(clip, opening, truth) for opening in subject.openings(motions)]


def reference(subject: Subject, clips: list[Clip]) -> dict[str, Spread]:
    """The measures of the viseme track itself: what a perfect pupil of the corpus would reach."""
    scores = []
    for clip in clips:
        truth = viseme_track(clip, subject.flame, subject.shape)
        scores.append(score_clip(clip, truth, truth))
    return summary([scores])


def misses(by_clip: dict[str, list[ClipScore]]) -> list[dict]:
    """Bilabials that were not shut (+-1 frame) in at least one sample, worst first."""
    rows = []
    for name, scores in by_clip.items():
        shut = np.stack([score.shut[1] for score in scores])
        for k, phone in enumerate(scores[0].clip.bilabials()[: shut.shape[1]]):
            open_mm = shut[shut[:, k] > CLOSED_MM, k]  # of the samples that missed it
            if len(open_mm):
                row = {"clip": name, "phone": phone.name, "start": phone.start, "end": phone.end}
                rows.append({**row, "missed": len(open_mm) / len(shut), "opening_mm": float(open_mm.mean())})
    return sorted(rows, key=lambda row: -row["missed"])


def cell(name: str, spread: Spread) -> str:
    """A measure as text; shares in per cent."""
    return spread.text(0, 100) if name in PERCENT else spread.text(2)


def measure_table(rows: dict[str, dict[str, Spread]], columns: tuple[str, ...] = COLUMNS) -> str:
    """{row name: measures} -> text."""
    heading = ("", *(f"{name} %" if name in PERCENT else name for name in columns))
    return text_table([heading, *((row, *(cell(c, values[c]) for c in columns)) for row, values in rows.items())])


def evaluate(subject: Subject, clips: list[Clip], style: str, config: GenerationConfig, samples: int) -> dict:
    """Everything as plain data: model, definitions, totals, clips, misses."""
    by_clip = {
        clip.name: run_clip(subject, clip, style, config, samples)
        for clip in tqdm(clips, desc=subject.name, unit="clip")
    }
    rows = {name: summary([[score] for score in scores]) for name, scores in by_clip.items()}
    total = [list(scores) for scores in zip(*by_clip.values())]
    return {
        "model": subject.name,
        "style": style,
        "samples": samples,
        "bilabials": len(np.concatenate([score.shut[1] for score in total[0]])),
        "definitions": MEASURES,
        "all": summary(total),
        "per_sample": [pool(scores) for scores in total],
        "viseme_track": reference(subject, clips) if all(clip.phones for clip in clips) else None,
        "clips": rows,
        "misses": misses(by_clip),
    }


def read_opening(path: Path, flame: Flame) -> np.ndarray:
    """Coefficients npz with exp, pose and shape -> mouth opening (T,) in mm, head still.

    Raises:
        UserError: unreadable file, missing arrays or wrong sizes.
    """
    motion = load_motion(path)
    if motion.shape is None:
        raise UserError(f"{path}: has no 'shape', which the mouth opening depends on; use demo.py --save_coef")
    return opening_mm(flame, motion)


def score_folder(coefs: Path, audio: Path, rule: ClosureRule, head: Path | None = None) -> list[MouthScore]:
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
        scores.append(score_mouth(name, phones, read_opening(coefs / f"{name}.npz", flame), rule))
    return scores


def score_existing(flags: SpeechFlags, folder: Path) -> None:
    """Print and write the scores of --coefs."""
    rule = ClosureRule(flags.closed_mm, flags.tolerance)
    scores = score_folder(folder, flags.audio, rule, flags.head)
    scores.append(pool_mouths(scores))
    print(f"closure: opening <= {rule.closed_mm} mm within {rule.tolerance} frames of the phone")
    print(table(scores))
    write_json(flags.json, {"rule": rule, "scores": scores})


@cli
def main(argv: list[str] | None = None) -> None:
    began, asked = time.monotonic(), read_flags(SpeechFlags, __doc__, argv)
    if asked.coefs is not None:
        score_existing(asked, asked.coefs)
        return
    session = Session.start(SpeechFlags, __doc__, argv)
    flags, name = session.flags, session.subject.name
    clips = read_clips(flags.audio, flags.recordings)
    result = evaluate(session.subject, clips, flags.style, session.config, flags.samples)
    print(f"{name}: {counted(len(clips), 'recording')}, {result['bilabials']} p/b/m, "
          f"{counted(flags.samples, 'sample')}, {flags.style}")  # fmt: skip
    print(measure_table({**result["clips"], "all": result["all"], "viseme track": result["viseme_track"]}))
    for row in result["misses"][:8]:
        text = "{clip} {phone} at {start:.2f} s: open in {missed:.0%} of the samples, by {opening_mm:.1f} mm"
        print("missed: " + text.format(**row))
    print(f"{time.monotonic() - began:.0f} s")
    write_json(flags.json, result)


if __name__ == "__main__":
    main()
