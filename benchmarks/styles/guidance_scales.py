"""What the guidance scales do: mouth opening and head motion at style scales 0 to 3, lip sync at several audio scales.

    python -m benchmarks.styles.guidance_scales [--exp_name embedded] [--iter N] [--samples 4] [--json out.json]

Opening: 90th percentile over frames, mm. Head: standard deviation of the rotation vector over time, degrees (root of
the summed variances of its components), mean over clips. A style with a large mouth or head must grow with the
scale, one with a small mouth or head must shrink: that is the monotony in the output. Quick look: --samples 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from benchmarks.report import Spread, text_table, write_json
from benchmarks.speech.real_speech import cell, read_clips
from benchmarks.speech.speech_scores import Clip, pool, score_clip, viseme_track
from benchmarks.styles.bundled import head_std_deg
from benchmarks.subject import INPUT, ModelFlags, Session, Subject
from models.generation.windows import GenerationConfig
from utils.errors import cli

RECORDINGS = ("librivox_austen_0890", "arctic_a0009")
STYLE_SCALES = (0.0, 1.0, 2.0, 3.0)
AUDIO_SCALES = (0.0, 0.5, 1.0, 1.15, 1.5, 2.0)
# measure, style that must grow with the scale, style that must shrink
PAIRS = (
    ("opening_p90", "big_mouth", "small_mouth"),
    ("head_deg", "large_head_movements", "small_head_movements"),
)
MEASURES = ("opening_p90", "head_deg", "correlation", "recall_1")
UNITS = ("opening mm", "head deg", "corr.", "shut p/b/m %")

Figures = dict[str, Spread]


@dataclass(frozen=True, kw_only=True)
class ScaleFlags(ModelFlags):
    """What is generated."""

    samples: int = 4
    """Samples of each clip."""
    recordings: str = ",".join(RECORDINGS)
    """Bundled recordings, comma separated."""


@dataclass(frozen=True)
class Trial:
    """One setting of the scales in one style."""

    style: str
    style_scale: float
    audio_scale: float


def score_trial(subject: Subject, clips: list[Clip], trial: Trial, config: GenerationConfig, samples: int) -> Figures:
    """Generate `samples` of every clip and pool the clips: mean and standard deviation over the samples."""
    guidance = replace(config.guidance, scales={"audio": trial.audio_scale, "style": trial.style_scale})
    config = replace(config, guidance=guidance)
    scores: list[list] = [[] for _ in range(samples)]
    heads: list[list[float]] = [[] for _ in range(samples)]
    for clip in clips:
        truth = viseme_track(clip, subject.flame, subject.shape)
        motions = subject.motions(clip.audio, subject.style(trial.style), config, samples)
        for k, opening in enumerate(subject.openings(motions)):
            scores[k].append(score_clip(clip, opening, truth[: len(opening)]))
            heads[k].append(head_std_deg(motions[k]))
    values = [{**pool(sample), "head_deg": float(np.mean(head))} for sample, head in zip(scores, heads)]
    return {name: Spread.of([v[name] for v in values]) for name in MEASURES}


def trials(audio_scale: float, style_scale: float) -> list[Trial]:
    """The style scales in the four extreme styles, then the audio scales in the style normal."""
    styles = [style for _, large, small in PAIRS for style in (large, small)]
    return [Trial(style, scale, audio_scale) for style in styles for scale in STYLE_SCALES] + [
        Trial("normal", style_scale, scale) for scale in AUDIO_SCALES
    ]


def run(subject: Subject, clips: list[Clip], config: GenerationConfig, samples: int) -> dict[Trial, Figures]:
    """All trials. A guided style counts for nothing at scale 0, so that setting is generated once for all styles."""
    guidance, known, rows = config.guidance, {}, {}
    shared = "style" in guidance.guided
    for trial in tqdm(trials(guidance.scales["audio"], guidance.scales["style"]), desc=subject.name, unit="setting"):
        key = replace(trial, style="any") if shared and trial.style_scale == 0 else trial
        if key not in known:
            known[key] = score_trial(subject, clips, trial, config, samples)
        rows[trial] = known[key]
    return rows


def monotone(values: list[float], rising: bool) -> bool:
    """Whether every step goes in the direction; never true with a NaN."""
    steps = np.diff(values) if rising else -np.diff(values)
    return bool((steps > 0).all())


def verdicts(rows: dict[Trial, Figures]) -> list[dict]:
    """Per measure the means over the style scales of both extremes and of their ratio, and if they are monotone."""
    found = []
    for name, large, small in PAIRS:
        # trials keep the order of the scales
        curves = {style: [rows[t][name].mean for t in rows if t.style == style] for style in (large, small)}
        if not any(curves[large]):  # a model without head motion
            continue
        ratio = [a / b if b else math.nan for a, b in zip(curves[large], curves[small])]
        for label, values, rising in (
            (large, curves[large], True),
            (small, curves[small], False),
            (f"{large} / {small}", ratio, True),
        ):
            verdict = {"measure": name, "what": label, "scales": list(STYLE_SCALES), "values": values}
            found.append({**verdict, "expected": "rise" if rising else "fall", "monotone": monotone(values, rising)})
    return found


def trial_table(rows: dict[Trial, Figures]) -> str:
    """One line per trial."""
    lines = [("style", "style scale", "audio scale", *UNITS)]
    for trial, row in rows.items():
        scales = (f"{trial.style_scale:g}", f"{trial.audio_scale:g}")
        lines.append((trial.style, *scales, *(cell(name, row[name]) for name in MEASURES)))
    return text_table(lines)


def as_json(subject: Subject, samples: int, rows: dict[Trial, Figures]) -> dict:
    """Plain data of a run."""
    table_rows = [{**vars(trial), **row} for trial, row in rows.items()]
    return {"model": subject.name, "samples": samples, "rows": table_rows, "monotone": verdicts(rows)}


@cli
def main(argv: list[str] | None = None) -> None:
    session = Session.start(ScaleFlags, __doc__, argv)
    flags, subject = session.flags, session.subject
    subject.check_style()
    clips = read_clips(INPUT / "audio", flags.recordings.split(","))
    rows = run(subject, clips, session.config, flags.samples)
    print(f"{subject.name}: {len(clips)} recordings, {flags.samples} samples")
    print(trial_table(rows))
    for v in verdicts(rows):
        values = " ".join(f"{value:.2f}" for value in v["values"])
        print(f"{v['measure']:12} {v['what']:46} {values:24} {v['expected']}: {'yes' if v['monotone'] else 'NO'}")
    if flags.json:
        write_json(flags.json, as_json(subject, flags.samples, rows))


if __name__ == "__main__":
    main()
