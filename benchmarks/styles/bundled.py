"""Do styles show? Mouth opening and head motion of generated motion, style by style.

Every bundled style drives the same recordings:

    python -m benchmarks.styles.bundled [--exp_name embedded] [--iter N] [--scale_style 3] [--samples 2]
                                        [--json out.json]
    python -m benchmarks.styles.bundled --scales [--samples 4]

Opening: height between the inner lips with the head still, mm, 90th percentile over frames. Head: standard deviation of
the head's rotation vector over time, degrees (root of the summed variances of its three components), mean over clips.

`--scales` asks what the guidance scales do instead: the same at style scales 0 to 3 in the four extreme styles (a style
with a large mouth or head must grow with the scale, one with a small mouth or head must shrink: that is the monotony in
the output), and lip sync at several audio scales in the style normal. Quick look: --samples 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from benchmarks.report import Spread, column, table, write_json
from benchmarks.speech.real_speech import measure_table, read_clips, score_motions
from benchmarks.speech.speech_scores import Clip, pool
from benchmarks.subject import INPUT, ModelFlags, Session, Subject
from models.generation.windows import GenerationConfig
from models.heads.flame import Flame
from models.heads.mouth import opening_mm
from utils.config import flag
from utils.errors import cli
from utils.media.audio import load_audio
from utils.motion_file import Motion
from utils.reports.wording import counted

CLIPS = ("librivox_austen_0870", "librivox_austen_0920", "arctic_a0009")
PAIRS = (
    ("opening_p90_mm", "big_mouth", "small_mouth"),
    ("head_std_deg", "large_head_movements", "small_head_movements"),
)
RECORDINGS = ("librivox_austen_0890", "arctic_a0009")
STYLE_SCALES = (0.0, 1.0, 2.0, 3.0)
AUDIO_SCALES = (0.0, 0.5, 1.0, 1.15, 1.5, 2.0)
# measure, style that must grow with the scale, style that must shrink
SCALE_PAIRS = (
    ("opening_p90", "big_mouth", "small_mouth"),
    ("head_deg", "large_head_movements", "small_head_movements"),
)
MEASURES = ("opening_p90", "head_deg", "correlation", "recall_1")

Figures = dict[str, Spread]


@dataclass(frozen=True, kw_only=True)
class StyleFlags(ModelFlags):
    """What is generated."""

    samples: int | None = flag(None, known=("2, with --scales 4",))
    """Samples of each clip (default: {known})."""
    scales: bool = False
    """Vary the guidance scales."""
    recordings: str = ",".join(RECORDINGS)
    """With --scales: bundled recordings, comma separated."""


@dataclass(frozen=True)
class StyleScore:
    """One style over all clips and samples."""

    style: str = column("style")
    opening_p90_mm: float = column("opening p90 mm", "{:.1f}")
    head_std_deg: float = column("head std deg", "{:.2f}")
    smile: float = column("smile", "{:.2f}")
    """Mean of mouthSmileLeft and mouthSmileRight."""
    brow_down: float = column("brows down", "{:.2f}")
    """Mean of browDownLeft and browDownRight."""
    frown: float = column("frown", "{:.2f}")
    """Mean of mouthFrownLeft and mouthFrownRight."""


def head_std_deg(motion: Motion) -> float:
    """Size of the head motion in degrees."""
    return float(np.degrees(np.sqrt(motion.pose[:, :3].var(0).sum())))


def score(style: str, motions: list[Motion], flame: Flame) -> StyleScore:
    """Pool the motions of one style."""
    names = flame.head.exp_names

    def mean(unit: str) -> float:
        columns = [names.index(unit + side) for side in ("Left", "Right")]
        return float(np.mean([motion.exp[:, columns].mean() for motion in motions]))

    opening = np.concatenate([opening_mm(flame, motion) for motion in motions])
    head = float(np.mean([head_std_deg(motion) for motion in motions]))
    units = [mean(unit) for unit in ("mouthSmile", "browDown", "mouthFrown")]
    return StyleScore(style, float(np.percentile(opening, 90)), head, *units)


def score_styles(subject: Subject, config: GenerationConfig, samples: int) -> list[StyleScore]:
    """Generate and score every bundled style."""
    clips = [load_audio(INPUT / "audio" / f"{name}.flac") for name in CLIPS]
    scores = []
    for path in sorted((INPUT / "motion").glob("*.npz")):
        style = subject.style(path.stem)
        motions = [motion for clip in clips for motion in subject.motions(clip, style, config, samples)]
        scores.append(score(path.stem, motions, subject.flame))
    return scores


def show_styles(session: Session, samples: int) -> dict:
    """Print the bundled styles, and how far the opposite ones lie from each other."""
    scores = score_styles(session.subject, session.config, samples)
    print(session.subject.name, table(scores), sep="\n")
    by_style = {s.style: s for s in scores}
    for field, large, small in PAIRS:
        if large in by_style and small in by_style and getattr(by_style[small], field) > 0:  # 0: no head motion at all
            ratio = getattr(by_style[large], field) / getattr(by_style[small], field)
            print(f"{field}: {large} / {small} = {ratio:.2f}")
    return {"model": session.subject.name, "samples": samples, "styles": scores}


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
    style = subject.style(trial.style)
    motions = [subject.motions(clip.audio, style, config, samples) for clip in clips]
    heads = np.mean([[head_std_deg(motion) for motion in drawn] for drawn in motions], axis=0)
    scores = zip(*(score_motions(subject, clip, drawn) for clip, drawn in zip(clips, motions)))
    values = [{**pool(sample), "head_deg": float(head)} for sample, head in zip(scores, heads)]
    return {name: Spread.of([v[name] for v in values]) for name in MEASURES}


def trials(audio_scale: float, style_scale: float) -> list[Trial]:
    """The style scales in the four extreme styles, then the audio scales in the style normal."""
    styles = [style for _, large, small in SCALE_PAIRS for style in (large, small)]
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
    for name, large, small in SCALE_PAIRS:
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
    named = {f"{t.style}, style {t.style_scale:g}, audio {t.audio_scale:g}": row for t, row in rows.items()}
    return measure_table(named, MEASURES)


def as_json(subject: Subject, samples: int, rows: dict[Trial, Figures]) -> dict:
    """Plain data of a run."""
    table_rows = [{**vars(trial), **row} for trial, row in rows.items()]
    return {"model": subject.name, "samples": samples, "rows": table_rows, "monotone": verdicts(rows)}


def show_scales(session: Session, samples: int) -> dict:
    """Print every trial, and whether the styles grow with their scale."""
    subject, clips = session.subject, read_clips(INPUT / "audio", session.flags.recordings)
    rows = run(subject, clips, session.config, samples)
    print(f"{subject.name}: {counted(len(clips), 'recording')}, {counted(samples, 'sample')}")
    print(trial_table(rows))
    for v in verdicts(rows):
        values = " ".join(f"{value:.2f}" for value in v["values"])
        print(f"{v['measure']:12} {v['what']:46} {values:24} {v['expected']}: {'yes' if v['monotone'] else 'NO'}")
    return as_json(subject, samples, rows)


@cli
def main(argv: list[str] | None = None) -> None:
    session = Session.start(StyleFlags, __doc__, argv)
    session.subject.check_style()
    flags = session.flags
    show, usual = (show_scales, 4) if flags.scales else (show_styles, 2)
    write_json(flags.json, show(session, flags.samples or usual))


if __name__ == "__main__":
    main()
